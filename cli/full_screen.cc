#include "cli/full_screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "agent-api/threads.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

constexpr std::chrono::milliseconds kBetweenSizes{200};

winsize WindowOfOutput() {
  winsize size{};
  const bool told =
      ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
  return told ? size : winsize{24, 80, 0, 0};
}

}  // namespace

bool CanRedraw(const Globals& globals) {
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && term != nullptr && std::string(term) != "dumb" &&
         !globals.plain;
}

void DrawScreen(const std::string& text, const Globals& globals) {
  const winsize size = WindowOfOutput();
  std::fputs(FullScreen(text, size.ws_col, size.ws_row, StyleOf(globals).utf8).c_str(), stdout);
  std::fflush(stdout);
}

WindowWatch::WindowWatch(std::function<void()> draw)
    : draw_(std::move(draw)), last_(WindowOfOutput()) {
  absl::StatusOr<std::thread> thread = StartThread([this] { Look(); });
  if (thread.ok()) thread_ = *std::move(thread);
}

WindowWatch::~WindowWatch() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    ended_ = true;
  }
  end_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void WindowWatch::Look() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!end_.wait_for(lock, kBetweenSizes, [this] { return ended_; })) {
    const winsize now = WindowOfOutput();
    if (now.ws_col == last_.ws_col && now.ws_row == last_.ws_row) continue;
    last_ = now;
    draw_();
  }
}

}  // namespace rum
