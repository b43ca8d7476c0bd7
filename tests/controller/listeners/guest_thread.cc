#include "tests/controller/listeners/guest_thread.h"

#include <fcntl.h>

#include "tests/controller/listeners/sockets.h"

namespace rum {
namespace {

class TellingEnd : public GuestEnd {
 public:
  using GuestEnd::GuestEnd;
  using GuestEnd::last_heard;
};

}  // namespace

GuestThread::GuestThread() {
  SocketPair(&port_, &channel_);
  fcntl(port_.get(), F_SETFL, O_NONBLOCK);
  Start();
}

void GuestThread::Start() {
  stop_ = false;
  thread_ = std::thread([this] {
    TellingEnd end(fcntl(port_.get(), F_DUPFD_CLOEXEC, 0));
    while (!stop_) {
      if (frozen_) {
        usleep(1000);
      } else {
        end.Run(20);
        last_heard_ = end.last_heard();
      }
    }
    end.Vanish();
  });
}

void GuestThread::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<int> GuestThread::OpenChannel() const {
  return fcntl(channel_.get(), F_DUPFD_CLOEXEC, 0);
}

}  // namespace rum
