#ifndef RUM_CLI_FULL_SCREEN_H_
#define RUM_CLI_FULL_SCREEN_H_

#include <sys/ioctl.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "cli/commands.h"

namespace rum {

// Whether standard output is a terminal on which a picture may be drawn anew: one that can, and
// nobody who would hear all of it again.
bool CanRedraw(const Globals& globals);

// Draws the text in the place of all that is on the terminal of standard output.
void DrawScreen(const std::string& text, const Globals& globals);

// Calls `draw`, on a thread of its own, each time that the window of standard output has got
// another size. Without a thread nothing is drawn anew but by who has news.
class WindowWatch {
 public:
  explicit WindowWatch(std::function<void()> draw);
  ~WindowWatch();
  WindowWatch(const WindowWatch&) = delete;
  WindowWatch& operator=(const WindowWatch&) = delete;

 private:
  void Look();

  const std::function<void()> draw_;
  winsize last_;
  std::mutex mutex_;
  std::condition_variable end_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_CLI_FULL_SCREEN_H_
