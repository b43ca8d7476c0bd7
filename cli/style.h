#ifndef RUM_CLI_STYLE_H_
#define RUM_CLI_STYLE_H_

#include <cstddef>

namespace rum {

// How text is shown: marks and arrows need UTF-8, colours a terminal.
struct Style {
  bool utf8 = true;
  bool color = false;
  bool utc = false;  // times; else the local ones
  bool plain =
      false;  // for a reader of the screen: words for marks, names at values, nothing drawn anew
  size_t width = 0;  // of the terminal, in characters; 0: there is none, and no line is too long
};

}  // namespace rum

#endif  // RUM_CLI_STYLE_H_
