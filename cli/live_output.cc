#include "cli/live_output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "agent-api/steady_now.h"
#include "agent-api/threads.h"

namespace rum {
namespace {

constexpr std::chrono::milliseconds kBetweenTicks{120};

bool CanMove() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && term != nullptr && std::string(term) != "dumb";
}

// Asked each time: a window changes.
size_t WidthNow() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

}  // namespace

LiveOutput::LiveOutput(const Style& style, bool quiet, bool moves)
    : quiet_(quiet),
      live_(moves && !quiet && !style.plain && CanMove()),
      region_(style),
      lines_(style.utf8) {}

LiveOutput::~LiveOutput() {
  End();
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    ended_ = true;
  }
  end_.notify_all();
  if (ticker_.joinable()) ticker_.join();
}

void LiveOutput::Write(const std::string& text) { std::fputs(text.c_str(), stderr); }

void LiveOutput::Step(const std::string& text) {
  if (quiet_) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!live_) return Write(lines_.Next(text, SteadyNow()));
  Write(region_.Step(text, SteadyNow(), WidthNow()));
  if (ticks_) return;
  ticks_ = true;
  // Without a thread it moves when something happens.
  absl::StatusOr<std::thread> ticker = StartThread([this] { KeepAlive(); });
  if (ticker.ok()) ticker_ = *std::move(ticker);
}

void LiveOutput::Script(const std::string& bytes) {
  if (!live_) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  Write(region_.Script(bytes, SteadyNow(), WidthNow()));
}

void LiveOutput::Result(const std::string& lines) {
  const std::lock_guard<std::mutex> guard(mutex_);
  lines_.Interrupted();
  if (live_ && isatty(STDOUT_FILENO) != 0) {
    // In one go with what moves below it.
    std::fputs(region_.Stay(lines, SteadyNow(), WidthNow()).c_str(), stdout);
  } else {
    if (live_) Write(region_.Stay("", SteadyNow(), WidthNow()));
    std::fputs(lines.c_str(), stdout);
  }
  std::fflush(stdout);
}

void LiveOutput::End() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (live_) Write(region_.End(SteadyNow(), WidthNow()));
}

void LiveOutput::KeepAlive() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!end_.wait_for(lock, kBetweenTicks, [this] { return ended_; }))
    Write(region_.Tick(SteadyNow(), WidthNow()));
}

}  // namespace rum
