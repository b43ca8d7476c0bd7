#ifndef RUM_TESTS_CLI_SCREEN_H_
#define RUM_TESTS_CLI_SCREEN_H_

#include <set>
#include <string>
#include <vector>

namespace rum {

// What a person sees of what was written to a terminal: as much of one as rum uses.
class Screen {
 public:
  Screen(size_t width, size_t height) : width_(width), height_(height) {}

  void Write(const std::string& text);
  // Its window has another width now, as terminals of two kinds have that: one cuts what does not
  // fit (xterm, screen), the other goes on with it in further rows, and joins them again (most).
  void Cut(size_t width);
  void Reflow(size_t width);
  // Line by line, without what is empty at their ends and below.
  std::string Text() const;
  // The same for Pango, colours and all.
  std::string Markup() const;
  // Of escape sequences that it does not know.
  const std::vector<std::string>& unknown() const { return unknown_; }

 private:
  struct Cell {
    std::string character = " ";
    std::string look;  // what was chosen by \033[...m; empty: nothing
  };
  void Put(const std::string& character);
  void LineFeed();
  void Obey(const std::string& parameters, char command);
  std::vector<Cell>& Row(size_t row);

  size_t width_;
  const size_t height_;
  std::vector<std::vector<Cell>> rows_;  // all that ever were; those on the screen are the last
  std::set<size_t> goes_on_;             // rows whose line did not fit
  size_t top_ = 0;
  size_t row_ = 0;
  size_t column_ = 0;
  std::string look_;
  std::vector<std::string> unknown_;
};

}  // namespace rum

#endif  // RUM_TESTS_CLI_SCREEN_H_
