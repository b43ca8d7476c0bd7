#ifndef RUM_CLI_TERMINAL_TEXT_H_
#define RUM_CLI_TERMINAL_TEXT_H_

#include <string>
#include <vector>

namespace rum {

// Text of files, guests and libvirt as a terminal may see it. What could move its cursor, change
// its colours or turn the order of letters round is spelled out: \x1b, \u202e. Bytes that are not
// UTF-8 are \xff; without a UTF-8 terminal our own arrows become "->" and all else \u00e9.
std::string OneLine(const std::string& text, bool utf8);  // line ends are spelled out too
std::string Lines(const std::string& text, bool utf8);    // keeps line ends and tabs

// Rows of as many cells each, every cell as OneLine(), its columns in line.
std::string Columns(std::vector<std::vector<std::string>> rows, bool utf8);

// The same for output that comes in pieces: a character may be cut in two.
class OutputText {
 public:
  explicit OutputText(bool utf8) : utf8_(utf8) {}
  std::string Next(const std::string& bytes);  // what can be shown now
  std::string End();                           // the rest

 private:
  const bool utf8_;
  std::string kept_;
};

}  // namespace rum

#endif  // RUM_CLI_TERMINAL_TEXT_H_
