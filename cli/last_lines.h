#ifndef RUM_CLI_LAST_LINES_H_
#define RUM_CLI_LAST_LINES_H_

#include <deque>
#include <string>

#include "cli/terminal_text.h"

namespace rum {

// The last lines of a script that runs, as a terminal may show them.
class LastLines {
 public:
  explicit LastLines(bool utf8) : text_(utf8) {}
  void Add(const std::string& bytes);
  void Clear();
  const std::deque<std::string>& lines() const { return lines_; }

 private:
  OutputText text_;
  std::deque<std::string> lines_;
  bool open_ = false;  // the last line may go on
};

}  // namespace rum

#endif  // RUM_CLI_LAST_LINES_H_
