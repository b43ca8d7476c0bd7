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
// Of those who have not proved yet who they are: anybody on the host can come.
constexpr int kMostUnproven = 64;

std::string Bytes(int number) {
  return {static_cast<char>(number >> 8 & 0xff), static_cast<char>(number & 0xff)};
}

}  // namespace

std::string StreamRequestOf(StreamRequest kind, uint16_t port, const std::string& nonce,
                            const std::string& secret) {
  const std::string request = static_cast<char>(kind) + Bytes(port) + nonce;
  return request + HostProof(secret, request);
}

std::string StreamAnswerOf(int error, const std::string& nonce, const std::string& secret) {
  return Bytes(error) + AgentProof(secret, nonce, Bytes(error));
}

// From the accept to the relay.
class StreamServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::io_context& io, int stream, const std::function<std::string()>& secret,
             std::shared_ptr<int> unproven)
      : io_(io),
        stream_(io),
        tcp_(io),
        limit_(io, kPatience),
        secret_(secret),
        unproven_(std::move(unproven)) {
    ++*unproven_;
    error_code error;
    if (stream_.assign(stream, error)) close(stream);
  }
  ~Connection() {
    if (unproven_ != nullptr) --*unproven_;
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
    if (read_ > 0 && kind() < StreamRequest::kCarry) return Close();  // nothing more would come
    if (read_ < request_.size()) return ReadRequest();
    limit_.cancel();
    if (!Proven()) return Close();
    if (kind() == StreamRequest::kHello) return Answer(0);
    const auto byte = [this](size_t at) { return static_cast<uint8_t>(request_[at]); };
    connect_.emplace(static_cast<uint16_t>(byte(1) << 8 | byte(2)));
    Connect();
  }

  bool Proven() {
    asked_with_ = secret_();
    const std::string request(request_.data(), request_.size() - kStreamProofSize);
    const std::string proof(request_.data() + request.size(), kStreamProofSize);
    if (asked_with_.empty() || !IsProof(proof, HostProof(asked_with_, request))) return false;
    --*std::exchange(unproven_, nullptr);
    return kind() >= StreamRequest::kCarry && kind() <= StreamRequest::kHello;
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
    const std::string nonce(request_.data() + kStreamHeadSize, kStreamNonceSize);
    const std::string answer = StreamAnswerOf(error, nonce, asked_with_);
    const ssize_t sent =
        send(stream_.native_handle(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    // The first bytes on it: that they do not fit is as good as that nobody reads them.
    const bool told = sent == static_cast<ssize_t>(answer.size());
    if (error != 0 || kind() != StreamRequest::kCarry || !told) return Close();
    std::make_shared<FramedRelay>(io_, tcp_.release(), stream_.release(), FramedRelay::Events())
        ->Start();
  }

  asio::io_context& io_;
  Descriptor stream_;
  Descriptor tcp_;
  asio::steady_timer limit_;
  const std::function<std::string()> secret_;
  std::shared_ptr<int> unproven_;  // null: it is proven
  std::string asked_with_;         // the secret
  std::array<char, kStreamRequestSize> request_{};
  size_t read_ = 0;
  std::optional<LoopbackConnect> connect_;
};

StreamServer::StreamServer(asio::io_context& io, int listening, std::function<std::string()> secret)
    : io_(io), listening_(io, listening), pause_(io), secret_(std::move(secret)) {
  Accept();
}

void StreamServer::Accept() {
  listening_.async_wait(Descriptor::wait_read, [this](error_code error) {
    if (!error) AcceptAll();
  });
}

void StreamServer::AcceptAll() {
  int socket = -1;
  while ((socket = accept4(listening_.native_handle(), nullptr, nullptr,
                           SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    if (!FromHostOrHere(socket) || *unproven_ >= kMostUnproven) {
      close(socket);
      continue;
    }
    std::make_shared<Connection>(io_, socket, secret_, unproven_)->Start();
  }
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return Accept();
  if (IsOutOfDescriptors(errno)) RefuseOne();
  AcceptLater();
}

// Who waits longest is told why nothing comes of it.
void StreamServer::RefuseOne() {
  const int socket = spare_.Accept(listening_.native_handle());
  if (socket >= 0) {
    const std::string answer = Bytes(EMFILE);
    send(socket, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(socket);
  }
  spare_.Refill();
}

void StreamServer::AcceptLater() {
  pause_.expires_after(kPause);
  pause_.async_wait([this](error_code cancelled) {
    if (!cancelled) AcceptAll();
  });
}

}  // namespace rum
