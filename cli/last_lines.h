#ifndef RUM_CLI_LAST_LINES_H_
#define RUM_CLI_LAST_LINES_H_

#include <cstddef>
#include <deque>
#include <string>

#include "cli/terminal_text.h"

namespace rum {

// The last lines of a script that runs, at the bottom of a terminal: each piece of output redraws
// them, and the end of the script takes them away again.
class LastLines {
 public:
  explicit LastLines(bool utf8) : text_(utf8) {}
  // What to write for more output; `width`: the terminal's, in characters.
  std::string Next(const std::string& bytes, size_t width);
  // Takes what is shown away; empty: there is nothing.
  std::string Erase();

 private:
  OutputText text_;
  std::deque<std::string> lines_;
  bool open_ = false;  // the last line may go on
  size_t shown_ = 0;
};

}  // namespace rum

#endif  // RUM_CLI_LAST_LINES_H_
