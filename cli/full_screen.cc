#include "cli/full_screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cli/terminal_text.h"

namespace rum {

bool CanRedraw(const Globals& globals) {
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && term != nullptr && std::string(term) != "dumb" &&
         !globals.plain;
}

void DrawScreen(const std::string& text, const Globals& globals) {
  winsize size{};
  const bool told =
      ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
  std::fputs(
      FullScreen(text, told ? size.ws_col : 80, told ? size.ws_row : 24, StyleOf(globals).utf8)
          .c_str(),
      stdout);
  std::fflush(stdout);
}

}  // namespace rum
