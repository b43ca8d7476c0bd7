#include "agent-api/guest/exec_input.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace rum::guest {
namespace {

constexpr size_t kMostPending = 1024 * 1024;
constexpr char kEndOfFile = '\x04';  // ^D, as a terminal has it

}  // namespace

ExecInputQueue::ExecInputQueue(const std::function<bool(agent::ExecInput*)>& read,
                               ExecStreams* streams, pid_t pid)
    : read_(read),
      streams_(streams),
      pid_(pid),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      done_(streams->in() < 0) {}

ExecInputQueue::~ExecInputQueue() {
  if (reader_.joinable()) reader_.join();
  close(wake_);
}

void ExecInputQueue::Start() {
  reader_ = std::thread([this] { Read(); });
}

void ExecInputQueue::Read() {
  agent::ExecInput input;
  while (read_(&input)) Take(input);
  input.Clear();
  input.set_close_input(true);
  Take(input);
}

void ExecInputQueue::Take(const agent::ExecInput& input) {
  if (input.has_signal()) return Signal(input.signal());
  if (input.has_start()) return streams_->SetWindow(input.start().rows(), input.start().columns());
  std::unique_lock<std::mutex> guard(mutex_);
  room_.wait(guard, [this] { return ended_ || done_ || pending_.size() < kMostPending; });
  if (input.has_close_input()) closed_ = true;
  if (done_ || ended_) {
    taken_ += input.standard_input().size();  // by nobody, but whoever counts must not wait
  } else {
    pending_ += input.standard_input();
  }
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof one);
}

bool ExecInputQueue::HasInput() {
  uint64_t ignored;
  (void)!read(wake_, &ignored, sizeof ignored);
  const std::lock_guard<std::mutex> guard(mutex_);
  return !done_ && (closed_ || !pending_.empty());
}

void ExecInputQueue::Feed() {
  const std::lock_guard<std::mutex> guard(mutex_);
  size_t sent = 0;
  while (!done_ && sent < pending_.size()) {
    const ssize_t n = write(streams_->in(), pending_.data() + sent, pending_.size() - sent);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {  // the command does not read any more
      done_ = true;
      sent = pending_.size();
    } else {
      sent += static_cast<size_t>(n);
    }
  }
  pending_.erase(0, sent);
  taken_ += sent;
  if (!done_ && closed_ && pending_.empty()) {
    done_ = !streams_->pty() || write(streams_->in(), &kEndOfFile, 1) == 1 || errno != EAGAIN;
  }
  if (done_) streams_->CloseInput();
  room_.notify_all();
}

uint64_t ExecInputQueue::taken() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return taken_;
}

void ExecInputQueue::Signal(int number) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!ended_) kill(-pid_, number);
}

void ExecInputQueue::SetEnded() {
  const std::lock_guard<std::mutex> guard(mutex_);
  ended_ = true;
  room_.notify_all();
}

}  // namespace rum::guest
