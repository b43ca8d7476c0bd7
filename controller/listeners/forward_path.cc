#include "controller/listeners/forward_path.h"

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "agent-api/threads.h"
#include "controller/listeners/io_thread.h"

namespace rum {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr auto kFirstBackOff = std::chrono::milliseconds(50);
constexpr auto kMostBackOff = std::chrono::milliseconds(2000);
// A machine of before this channel gets it with its next start.
constexpr auto kAbsentBackOff = std::chrono::seconds(10);
// For so long a session is expected to come back before connections go another way.
constexpr auto kExpected = std::chrono::seconds(1);

// The host's end of the channel, driven by the io thread; belongs to it.
class Driver : public Carrier, public std::enable_shared_from_this<Driver> {
 public:
  using OnLost = std::function<void(bool worked, std::chrono::milliseconds pause)>;
  Driver(OnLost on_lost, HostEndTimes times)
      : end_(std::make_unique<HostEnd>([this] { Lost(); }, [this] { SessionChanged(); }, times)),
        on_lost_(std::move(on_lost)),
        ready_(IoContext()),
        timer_(IoContext()) {
    error_code error;
    ready_.assign(end_->fd(), error);
    if (error) status_ = absl::UnavailableError("forwards: epoll: " + error.message());
  }
  ~Driver() override {
    if (status_.ok()) ready_.release();
  }

  void Open(int channel) {
    if (closed_) return void(Fd(channel));
    worked_ = absent_ = false;
    end_->Open(channel);
    Watch();
    FitTimer();
  }

  // Whether it can be driven.
  const absl::Status& status() const { return status_; }
  void SetAbsent() { absent_ = true; }

  void Close() {
    closed_ = true;
    error_code ignored;
    ready_.cancel(ignored);
    timer_.cancel(ignored);
    end_->Close("the machine is off");
  }

  uint64_t Carry(Fd* client, uint16_t port, std::chrono::milliseconds patience,
                 CarryEvents events) override {
    if (!Usable()) return 0;
    const uint64_t number = end_->Carry(client->Release(), port, patience, std::move(events));
    FitTimer();
    return number;
  }

  void Abort(uint64_t connection, const std::string& why) override { end_->Abort(connection, why); }

  bool Probe(uint16_t port, std::function<void(int)> done) override {
    if (closed_ || !end_->up()) return false;
    end_->Probe(port, std::move(done));
    return true;
  }

 private:
  bool Usable() const {
    return !closed_ && (end_->up() || (!absent_ && Clock::now() < down_since_ + kExpected));
  }

  void Lost() { on_lost_(worked_, end_->pause()); }

  void SessionChanged() {
    worked_ = worked_ || end_->up();
    if (!end_->up()) down_since_ = Clock::now();
  }

  void Watch() {
    if (watching_ || closed_) return;
    watching_ = true;
    ready_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](error_code error) {
                        self->watching_ = false;
                        if (!error && !self->closed_) self->Run();
                      });
  }

  void Run() {
    const bool more = end_->Run(0);
    FitTimer();
    if (!more) return Watch();
    // After whoever else has something to do on this thread.
    asio::post(IoContext(), [self = shared_from_this()] {
      if (!self->closed_ && !self->watching_) self->Run();
    });
  }

  void FitTimer() {
    const Clock::time_point due = end_->deadline();
    if (due == due_ || closed_) return;
    due_ = due;
    if (due == Clock::time_point::max()) return void(timer_.cancel());
    timer_.expires_at(due);
    timer_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (cancelled || self->closed_) return;
      self->due_ = Clock::time_point::max();
      self->end_->Run(0);
      self->FitTimer();
    });
  }

  const std::unique_ptr<HostEnd> end_;
  const OnLost on_lost_;
  absl::Status status_;
  asio::posix::stream_descriptor ready_;
  asio::steady_timer timer_;
  Clock::time_point due_ = Clock::time_point::max();
  Clock::time_point down_since_ = Clock::now();
  bool absent_ = false;
  bool worked_ = false;
  bool watching_ = false;
  bool closed_ = false;
};

}  // namespace

class ForwardPath::Parts {
 public:
  Parts(std::function<absl::StatusOr<int>()> open, HostEndTimes times)
      // Not by the io thread: whoever makes a path may hold what that thread waits for.
      : driver_(std::make_shared<Driver>(
            [this](bool worked, std::chrono::milliseconds pause) { Lost(worked, pause); }, times)),
        open_(std::move(open)),
        status_(driver_->status()) {
    if (!status_.ok()) return;
    absl::StatusOr<std::thread> keeper = StartThread([this] { Keep(); });
    status_ = keeper.status();
    if (status_.ok()) keeper_ = *std::move(keeper);
  }

  ~Parts() {
    if (!status_.ok()) return;  // nothing was begun
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    keeper_.join();
    OnIoThread([this] {
      driver_->Close();
      return 0;
    });
  }

  std::shared_ptr<Carrier> carrier() const { return driver_; }
  const absl::Status& status() const { return status_; }

 private:
  void Lost(bool worked, std::chrono::milliseconds pause) {
    const std::lock_guard<std::mutex> guard(mutex_);
    attached_ = false;
    pause_ = pause;
    if (worked) back_off_ = kFirstBackOff;
    changed_.notify_all();
  }

  void Keep() {
    std::unique_lock<std::mutex> guard(mutex_);
    while (!stopping_) {
      guard.unlock();
      const absl::StatusOr<int> channel = open_();
      const bool absent = absl::IsNotFound(channel.status());
      guard.lock();
      attached_ = channel.ok();
      guard.unlock();
      OnIoThread([&] {
        if (channel.ok()) driver_->Open(*channel);
        if (absent) driver_->SetAbsent();
        return 0;
      });
      guard.lock();
      changed_.wait(guard, [this] { return !attached_ || stopping_; });
      const auto pause = absent ? std::chrono::milliseconds(kAbsentBackOff) : back_off_;
      changed_.wait_for(guard, std::max(pause, pause_), [this] { return stopping_; });
      back_off_ = std::min(back_off_ * 2, kMostBackOff);
    }
  }

  const std::shared_ptr<Driver> driver_;
  const std::function<absl::StatusOr<int>()> open_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool attached_ = false;
  bool stopping_ = false;
  std::chrono::milliseconds back_off_ = kFirstBackOff;
  std::chrono::milliseconds pause_{0};  // that the guest brought upon itself
  absl::Status status_;
  std::thread keeper_;
};

ForwardPath::ForwardPath(std::function<absl::StatusOr<int>()> open, HostEndTimes times)
    : parts_(std::make_shared<Parts>(std::move(open), times)) {}

ForwardPath::~ForwardPath() = default;

std::shared_ptr<Carrier> ForwardPath::carrier() const { return parts_->carrier(); }

const absl::Status& ForwardPath::status() const { return parts_->status(); }

}  // namespace rum
