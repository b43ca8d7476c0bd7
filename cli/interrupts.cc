#include "cli/interrupts.h"

#include <unistd.h>

#include <utility>

#include "cli/live_output.h"

namespace rum {
namespace {

constexpr timespec kLook = {0, 100 * 1000 * 1000};  // how soon the end of the object is noticed
constexpr int kEndedByInterrupt = 130;

}  // namespace

Interrupts::Interrupts() {
  sigemptyset(&signals_);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  listener_ = std::thread([this] { Listen(); });
}

Interrupts::~Interrupts() {
  ending_ = true;
  listener_.join();
}

void Interrupts::SetAtWork(std::function<void()> interrupt) {
  std::lock_guard<std::mutex> lock(mutex_);
  interrupt_ = std::move(interrupt);
  if (any_ && interrupt_) interrupt_();
}

void Interrupts::Wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  came_.wait(lock, [this] { return any_.load(); });
}

void Interrupts::Listen() {
  while (!ending_) {
    if (sigtimedwait(&signals_, nullptr, &kLook) < 0) continue;
    if (any_) {
      ClearLiveOutput();
      _exit(kEndedByInterrupt);
    }
    std::lock_guard<std::mutex> lock(mutex_);
    any_ = true;
    if (interrupt_) interrupt_();
    came_.notify_all();
  }
}

}  // namespace rum
