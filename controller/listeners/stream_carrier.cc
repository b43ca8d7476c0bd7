#include "controller/listeners/stream_carrier.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/forward/framed_relay.h"
#include "agent-api/forward/loopback.h"
#include "agent-api/forward/stream_server.h"
#include "controller/listeners/io_thread.h"

namespace rum {
namespace {

using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Descriptor = boost::asio::posix::stream_descriptor;

// The other carrier's numbers do not get there.
constexpr uint64_t kOwn = uint64_t{1} << 63;

}  // namespace

// One question to the guest, up to its answer, which may not come.
class StreamCarrier::Request : public std::enable_shared_from_this<Request> {
 public:
  // `reached`: the guest answered with `error`, else connecting to it failed with that. The stream
  // is the caller's where `error` is 0.
  using Done = std::function<void(bool reached, int error, Fd stream)>;
  Request(StreamRequest kind, uint16_t port, std::string secret, Done done)
      : secret_(std::move(secret)),
        request_(StreamRequestOf(kind, port, nonce_, secret_)),
        done_(std::move(done)),
        stream_(IoContext()),
        limit_(IoContext()) {}

  void Start(const StreamConnect& connect, std::chrono::milliseconds patience) {
    if (secret_.empty()) return Finish(false, ENOTCONN);
    limit_.expires_after(patience);
    limit_.async_wait([weak = weak_from_this()](error_code cancelled) {
      const auto self = weak.lock();
      if (!cancelled && self) self->Finish(false, ETIMEDOUT);
    });
    connect([self = shared_from_this()](int socket, int error) {
      self->Connecting(Fd(socket), error);
    });
  }

  void Cancel() {
    done_ = nullptr;
    error_code ignored;
    limit_.cancel(ignored);
    stream_.close(ignored);
  }

 private:
  void Connecting(Fd socket, int why_none) {
    if (!done_) return;  // it was given up meanwhile
    if (!socket.ok()) return Finish(false, why_none);
    error_code error;
    if (stream_.assign(socket.get(), error)) return Finish(false, error.value());
    socket.Release();
    stream_.async_wait(Descriptor::wait_write, [self = shared_from_this()](error_code cancelled) {
      if (!cancelled) self->Connected();
    });
  }

  void Connected() {
    const int error = LoopbackConnect::Outcome(stream_.native_handle());
    if (error != 0) return Finish(false, error);
    // The first bytes on it always fit.
    const ssize_t sent =
        send(stream_.native_handle(), request_.data(), request_.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(request_.size())) return Finish(false, errno);
    Await();
  }

  void Await() {
    stream_.async_wait(Descriptor::wait_read, [self = shared_from_this()](error_code cancelled) {
      if (!cancelled) self->Readable();
    });
  }

  void Readable() {
    const ssize_t got =
        recv(stream_.native_handle(), answer_.data() + read_, answer_.size() - read_, MSG_DONTWAIT);
    if (got == 0) return Finish(false, ErrnoAlone());
    if (got < 0 && errno != EAGAIN && errno != EINTR) return Finish(false, errno);
    if (got > 0) read_ += static_cast<size_t>(got);
    if (read_ < answer_.size()) return Await();
    const bool proven =
        IsProof({answer_.data(), answer_.size()}, StreamAnswerOf(Errno(), nonce_, secret_));
    proven ? Finish(true, Errno()) : Finish(false, EPROTO);
  }

  // Nobody has proved that it is the agent's, so that it can be no more than a reason.
  int ErrnoAlone() const {
    return read_ == kStreamErrnoSize && Errno() != 0 ? Errno() : ECONNRESET;
  }

  int Errno() const {
    return static_cast<uint8_t>(answer_[0]) << 8 | static_cast<uint8_t>(answer_[1]);
  }

  void Finish(bool reached, int error) {
    const Done done = std::exchange(done_, nullptr);
    if (!done) return;
    limit_.cancel();
    const bool open = stream_.is_open();
    Fd stream(open ? stream_.release() : -1);
    done(reached, error, error == 0 ? std::move(stream) : Fd());
  }

  const std::string nonce_ = NewStreamNonce();
  const std::string secret_;
  const std::string request_;
  Done done_;
  Descriptor stream_;
  boost::asio::steady_timer limit_;
  std::array<char, kStreamAnswerSize> answer_{};
  size_t read_ = 0;
};

// A client's connection: asks for its port until that is answered, then relays.
class StreamCarrier::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(StreamCarrier* carrier, Fd client, uint16_t port, std::chrono::milliseconds patience,
             CarryEvents events)
      : carrier_(*carrier),
        client_(std::move(client)),
        port_(port),
        until_(Clock::now() + patience),
        events_(std::move(events)),
        retry_(IoContext()) {}

  void Ask() {
    request_ =
        std::make_shared<Request>(StreamRequest::kCarry, port_, carrier_.secret_(),
                                  [weak = weak_from_this()](bool reached, int error, Fd stream) {
                                    if (const auto self = weak.lock())
                                      self->Answered(reached, error, std::move(stream));
                                  });
    request_->Start(carrier_.connect_, carrier_.times_.answer);
  }

  void Break(const std::string& why) {
    if (relay_ != nullptr) return relay_->Break(why);
    const linger at_once{1, 0};
    setsockopt(client_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    client_ = Fd();
    if (request_ != nullptr) request_->Cancel();
    retry_.cancel();
    Over(why);
  }

  void set_number(uint64_t number) { number_ = number; }

 private:
  void Answered(bool reached, int error, Fd stream) {
    if (!client_.ok()) return;
    if (!reached && Clock::now() < until_) {
      retry_.expires_after(carrier_.times_.retry);
      return retry_.async_wait([weak = weak_from_this()](error_code cancelled) {
        const auto self = weak.lock();
        if (!cancelled && self && self->client_.ok()) self->Ask();
      });
    }
    if (!reached) {
      if (carrier_.serving_) carrier_.AskLater();
      return Break(absl::StrCat("guest: ", std::strerror(error)));
    }
    if (error != 0) {
      return Break(absl::StrCat("guest port ", port_, ": ", std::strerror(error)));
    }
    FramedRelay::Events events;
    events.sent = events_.to_guest;
    events.received = events_.to_client;
    events.on_over = [weak = weak_from_this()](const std::string& why) {
      if (const auto self = weak.lock()) self->Over(why);
    };
    relay_ = std::make_shared<FramedRelay>(IoContext(), client_.Release(), stream.Release(),
                                           std::move(events));
    if (events_.on_connected) events_.on_connected();
    relay_->Start();
  }

  void Over(const std::string& why) {
    const auto self = shared_from_this();
    if (carrier_.connections_.erase(number_) == 0) return;
    if (const auto on_over = std::exchange(events_.on_over, nullptr)) on_over(why);
  }

  StreamCarrier& carrier_;
  Fd client_;
  const uint16_t port_;
  const Clock::time_point until_;
  CarryEvents events_;
  boost::asio::steady_timer retry_;
  std::shared_ptr<Request> request_;
  std::shared_ptr<FramedRelay> relay_;
  uint64_t number_ = 0;
};

StreamCarrier::StreamCarrier(StreamConnect connect, std::function<std::string()> secret,
                             std::shared_ptr<Carrier> otherwise, StreamCarrierTimes times)
    : connect_(std::move(connect)),
      secret_(std::move(secret)),
      otherwise_(std::move(otherwise)),
      times_(times),
      check_(IoContext()),
      next_check_(times.first_check) {}

StreamCarrier::~StreamCarrier() = default;

// Without waiting: whoever makes a way may hold what the io thread waits for.
void StreamCarrier::Start() {
  boost::asio::post(IoContext(), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self && !self->closed_) self->Ask();
  });
}

void StreamCarrier::Close() {
  OnIoThread([this] {
    closed_ = true;
    serving_ = false;
    check_.cancel();
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [number, connection] : connections_) all.push_back(connection);
    for (const auto& connection : all) connection->Break("the machine is off");
    return 0;
  });
}

void StreamCarrier::Ask() {
  std::string secret = secret_();
  if (secret.empty()) {  // the agent's next session may bring it
    next_check_ = times_.first_check;
    return AskLater();
  }
  auto request = std::make_shared<Request>(StreamRequest::kHello, 0, std::move(secret),
                                           [weak = weak_from_this()](bool reached, int error, Fd) {
                                             const auto self = weak.lock();
                                             if (self == nullptr || self->closed_) return;
                                             self->serving_ = reached && error == 0;
                                             if (!self->serving_) return self->AskLater();
                                             self->next_check_ = self->times_.first_check;
                                           });
  request->Start(connect_, times_.answer);
}

void StreamCarrier::AskLater() {
  serving_ = false;
  check_.expires_after(next_check_);
  next_check_ = std::min(next_check_ * 2, times_.longest_check);
  check_.async_wait([weak = weak_from_this()](error_code cancelled) {
    const auto self = weak.lock();
    if (!cancelled && self && !self->closed_) self->Ask();
  });
}

uint64_t StreamCarrier::Carry(Fd* client, uint16_t port, std::chrono::milliseconds patience,
                              CarryEvents events) {
  if (!serving_) {
    return otherwise_ == nullptr ? 0 : otherwise_->Carry(client, port, patience, std::move(events));
  }
  const uint64_t number = kOwn | ++last_;
  auto connection =
      std::make_shared<Connection>(this, std::move(*client), port, patience, std::move(events));
  connection->set_number(number);
  connections_[number] = connection;
  connection->Ask();
  return number;
}

void StreamCarrier::Abort(uint64_t connection, const std::string& why) {
  if ((connection & kOwn) == 0) return otherwise_->Abort(connection, why);
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  const std::shared_ptr<Connection> kept = found->second;
  kept->Break(why);
}

bool StreamCarrier::Probe(uint16_t port, std::function<void(int error)> done) {
  if (!serving_) return otherwise_ != nullptr && otherwise_->Probe(port, std::move(done));
  auto request =
      std::make_shared<Request>(StreamRequest::kProbe, port, secret_(),
                                [done = std::move(done)](bool, int error, Fd) { done(error); });
  request->Start(connect_, times_.answer);
  return true;
}

}  // namespace rum
