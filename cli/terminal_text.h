#ifndef RUM_CLI_TERMINAL_TEXT_H_
#define RUM_CLI_TERMINAL_TEXT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "cli/style.h"
#include "controller/base/shown_text.h"

namespace rum {

// How many columns of a terminal a text takes: none for what combines with the character before it
// and for escape sequences that choose colours, two for what East Asian writing and emoji take.
size_t DisplayWidth(const std::string& text);

// Its beginning that takes at most `width` columns, the last one an ellipsis where something is
// missing. Escape sequences that choose colours stay whole and take none.
std::string CutTo(const std::string& text, size_t width, bool utf8);

// Rows of as many cells each, the first one the heads, every cell as OneLine(), its columns in
// line. In a terminal's width as far as that goes: the widest cells are cut, those of paths at
// their front. Plain: a line for each row, its cells by their heads.
std::string Columns(std::vector<std::vector<std::string>> rows, const Style& style);

// Of rows for Columns() whose cells say nothing when they are cut, as numbers do: without the
// columns of `dispensable`, the first of them first, as far as the rows are wider than `width` (0:
// endless).
void LeaveOut(const std::vector<size_t>& dispensable, size_t width,
              std::vector<std::vector<std::string>>* rows);

// `text` after `first`, a line's beginning that takes `indent` columns: goes on below itself where
// the terminal's line ends, between words. Ends a line.
std::string Hanging(const std::string& first, size_t indent, const std::string& text,
                    const Style& style);

// What replaces a terminal's whole screen by a text's first lines, without a moment in which it is
// empty.
std::string FullScreen(const std::string& text, size_t width, size_t height, bool utf8);

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
