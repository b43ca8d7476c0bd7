#include "agent-api/forward/stream_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include "agent-api/forward/framed_relay.h"
#include "agent-api/forward/loopback.h"
#include "agent-api/forward/vsock.h"

namespace rum {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

// For who connects and says nothing.
constexpr auto kPatience = std::chrono::seconds(10);
// After a failed accept: descriptors may have run out.
constexpr auto kPause = std::chrono::milliseconds(100);

}  // namespace

// From the accept to the relay.
class StreamServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::io_context& io, int stream)
      : io_(io), stream_(io), tcp_(io), limit_(io, kPatience) {
    error_code error;
    if (stream_.assign(stream, error)) close(stream);
  }

  void Start() {
    if (!stream_.is_open()) return;
    limit_.async_wait([weak = weak_from_this()](error_code cancelled) {
      const auto self = weak.lock();
      if (!cancelled && self) self->Close();
    });
    ReadRequest();
  }

 private:
  void Close() {
    error_code ignored;
    limit_.cancel(ignored);
    stream_.close(ignored);
    tcp_.close(ignored);
  }

  void ReadRequest() {
    stream_.async_wait(Descriptor::wait_read, [self = shared_from_this()](error_code error) {
      if (!error) self->Readable();
    });
  }

  void Readable() {
    const ssize_t got = recv(stream_.native_handle(), request_.data() + read_,
                             request_.size() - read_, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return Close();
    if (got > 0) read_ += static_cast<size_t>(got);
    if (read_ < request_.size()) return ReadRequest();
    limit_.cancel();
    if (kind() == StreamRequest::kHello) return Answer(0);
    connect_.emplace(static_cast<uint16_t>(request_[1] << 8 | request_[2]));
    Connect();
  }

  StreamRequest kind() const { return static_cast<StreamRequest>(request_[0]); }

  void Connect() {
    for (int socket = connect_->Next(); socket >= 0; socket = connect_->Next()) {
      error_code error;
      if (tcp_.assign(socket, error)) {
        connect_->Failed(error.value());
        close(socket);
        continue;
      }
      return tcp_.async_wait(Descriptor::wait_write,
                             [self = shared_from_this()](error_code cancelled) {
                               if (!cancelled) self->Connected();
                             });
    }
    Answer(connect_->error());
  }

  void Connected() {
    const int error = LoopbackConnect::Outcome(tcp_.native_handle());
    if (error == 0) return Answer(0);
    connect_->Failed(error);
    error_code ignored;
    tcp_.close(ignored);
    Connect();
  }

  void Answer(int error) {
    const std::array<uint8_t, kStreamAnswerSize> answer = {static_cast<uint8_t>(error >> 8),
                                                           static_cast<uint8_t>(error & 0xff)};
    const ssize_t sent =
        send(stream_.native_handle(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    // The first bytes on it: that they do not fit is as good as that nobody reads them.
    if (error != 0 || kind() != StreamRequest::kCarry || sent != kStreamAnswerSize) return Close();
    std::make_shared<FramedRelay>(io_, tcp_.release(), stream_.release(), FramedRelay::Events())
        ->Start();
  }

  asio::io_context& io_;
  Descriptor stream_;
  Descriptor tcp_;
  asio::steady_timer limit_;
  std::array<uint8_t, kStreamRequestSize> request_{};
  size_t read_ = 0;
  std::optional<LoopbackConnect> connect_;
};

StreamServer::StreamServer(asio::io_context& io, int listening)
    : io_(io), listening_(io, listening), pause_(io) {
  Accept();
}

void StreamServer::Accept() {
  listening_.async_wait(Descriptor::wait_read, [this](error_code error) {
    if (error) return;
    int socket = -1;
    while ((socket = accept4(listening_.native_handle(), nullptr, nullptr,
                             SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
      if (!FromHostOrHere(socket)) {
        close(socket);
        continue;
      }
      std::make_shared<Connection>(io_, socket)->Start();
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return Accept();
    pause_.expires_after(kPause);
    pause_.async_wait([this](error_code cancelled) {
      if (!cancelled) Accept();
    });
  });
}

}  // namespace rum
