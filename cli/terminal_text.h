#ifndef RUM_CLI_TERMINAL_TEXT_H_
#define RUM_CLI_TERMINAL_TEXT_H_

#include <string>
#include <vector>

#include "controller/base/shown_text.h"

namespace rum {

// Rows of as many cells each, every cell as OneLine(), its columns in line.
std::string Columns(std::vector<std::vector<std::string>> rows, bool utf8);

// Lines() for output that comes in pieces: a character may be cut in two.
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
