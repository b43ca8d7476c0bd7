#include "cli/live_output.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
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
TerminalSize SizeNow() {
  winsize told{};
  TerminalSize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &told) != 0) return size;
  if (told.ws_col > 10) size.width = told.ws_col;
  if (told.ws_row > 0) size.height = told.ws_row;
  return size;
}

std::atomic<bool> something_moves = false;  // below the cursor

void OnSignal(int signal);

// Of who handles them himself, or ignores them, nothing is taken.
void HandleSignal(int signal) {
  struct sigaction action {};
  if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) return;
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESETHAND | SA_NODEFER | SA_RESTART;
  sigaction(signal, &action, nullptr);
}

void OnSignal(int signal) {
  const int error = errno;
  ClearLiveOutput();
  raise(signal);         // whose disposition is the default again
  HandleSignal(signal);  // somebody goes on with what was stopped
  errno = error;
}

}  // namespace

void ClearLiveOutput() {
  constexpr char kClear[] = "\r\033[J";
  if (something_moves && write(STDERR_FILENO, kClear, sizeof kClear - 1) < 0) return;
}

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

void LiveOutput::Draw(const std::string& text, std::FILE* stream) {
  std::fputs(text.c_str(), stream);
  something_moves = region_.shown();
}

void LiveOutput::Step(const std::string& text) {
  if (quiet_) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!live_) {
    std::fputs(lines_.Next(text, SteadyNow()).c_str(), stderr);
    return;
  }
  Draw(region_.Step(text, SteadyNow(), SizeNow()), stderr);
  if (ticks_) return;
  ticks_ = true;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) HandleSignal(signal);
  // Without a thread it moves when something happens.
  absl::StatusOr<std::thread> ticker = StartThread([this] { KeepAlive(); });
  if (ticker.ok()) ticker_ = *std::move(ticker);
}

void LiveOutput::Script(const std::string& bytes) {
  if (!live_) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  Draw(region_.Script(bytes, SteadyNow(), SizeNow()), stderr);
}

void LiveOutput::Result(const std::string& lines) {
  const std::lock_guard<std::mutex> guard(mutex_);
  lines_.Interrupted();
  if (live_ && isatty(STDOUT_FILENO) != 0) {
    // In one go with what moves below it.
    Draw(region_.Stay(lines, SteadyNow(), SizeNow()), stdout);
  } else {
    if (live_) Draw(region_.Stay("", SteadyNow(), SizeNow()), stderr);
    std::fputs(lines.c_str(), stdout);
  }
  std::fflush(stdout);
}

void LiveOutput::End() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (live_) Draw(region_.End(SteadyNow(), SizeNow()), stderr);
}

void LiveOutput::KeepAlive() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!end_.wait_for(lock, kBetweenTicks, [this] { return ended_; }))
    Draw(region_.Tick(SteadyNow(), SizeNow()), stderr);
}

}  // namespace rum
