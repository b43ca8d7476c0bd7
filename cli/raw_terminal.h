#ifndef RUM_CLI_RAW_TERMINAL_H_
#define RUM_CLI_RAW_TERMINAL_H_

#include <termios.h>

#include <string>

namespace rum {

// Makes the terminal at standard input pass every key on, and puts it back at the end. What stands
// between (an `_exit`, a signal) has to end this first.
class RawTerminal {
 public:
  explicit RawTerminal(bool wanted);  // not wanted, or no terminal: it does nothing
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool active_;
};

// False: with errno.
bool WriteAll(int fd, const std::string& bytes);

}  // namespace rum

#endif  // RUM_CLI_RAW_TERMINAL_H_
