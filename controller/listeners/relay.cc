#include "controller/listeners/relay.h"

#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "controller/listeners/io_thread.h"

namespace rum {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr auto kRedial = std::chrono::milliseconds(50);

}  // namespace

std::shared_ptr<Relay> Relay::Start(asio::ip::tcp::socket client, uint16_t guest_port,
                                    const Dialer& dial, std::shared_ptr<ForwardCounters> counters,
                                    std::chrono::milliseconds patience,
                                    std::function<void(Relay*)> on_end) {
  auto relay = std::make_shared<Relay>(std::move(client), guest_port, dial, std::move(counters),
                                       patience, std::move(on_end));
  ++relay->counters_->open_connections;
  error_code ignored;
  relay->client_.set_option(asio::ip::tcp::no_delay(true), ignored);
  relay->Dial();
  return relay;
}

Relay::Relay(asio::ip::tcp::socket client, uint16_t guest_port, Dialer dial,
             std::shared_ptr<ForwardCounters> counters, std::chrono::milliseconds patience,
             std::function<void(Relay*)> on_end)
    : client_(std::move(client)),
      guest_(IoContext()),
      retry_(IoContext()),
      guest_port_(guest_port),
      dial_(std::move(dial)),
      counters_(std::move(counters)),
      give_up_(Clock::now() + patience),
      on_end_(std::move(on_end)) {}

void Relay::Dial() {
  // The dialer may answer on any thread, and after this relay has ended: then the socket is closed.
  dial_(guest_port_, [self = shared_from_this()](absl::StatusOr<int> socket) {
    asio::post(IoContext(), [self, socket = std::move(socket)] { self->Dialed(socket); });
  });
}

void Relay::Dialed(absl::StatusOr<int> socket) {
  if (ended_) {
    if (socket.ok()) close(*socket);
    return;
  }
  if (!socket.ok()) {
    if (!absl::IsUnavailable(socket.status()) || Clock::now() >= give_up_) {
      return Reset(std::string(socket.status().message()));
    }
    retry_.expires_after(kRedial);
    retry_.async_wait([self = shared_from_this()](error_code error) {
      if (!error && !self->ended_) self->Dial();
    });
    return;
  }
  error_code error;
  guest_.assign(asio::local::stream_protocol(), *socket, error);
  if (error) {
    close(*socket);
    return Reset(error.message());
  }
  Copy(client_, guest_, to_guest_, counters_->bytes_in);
  Copy(guest_, client_, to_client_, counters_->bytes_out);
}

template <typename From, typename To>
void Relay::Copy(From& from, To& to, Buffer& buffer, int64_t& bytes) {
  from.async_read_some(asio::buffer(buffer), [this, self = shared_from_this(), &from, &to, &buffer,
                                              &bytes](error_code error, size_t size) {
    if (ended_) return;
    if (error == asio::error::eof) {
      to.shutdown(asio::socket_base::shutdown_send, error);
      return DirectionEnded();
    }
    if (error) return Reset(error.message());
    bytes += static_cast<int64_t>(size);
    asio::async_write(to, asio::buffer(buffer, size),
                      [this, self, &from, &to, &buffer, &bytes](error_code failed, size_t) {
                        if (ended_) return;
                        if (failed) return Reset(failed.message());
                        Copy(from, to, buffer, bytes);
                      });
  });
}

void Relay::DirectionEnded() {
  if (--directions_ == 0) End();
}

void Relay::Reset(const std::string& why) {
  if (ended_) return;
  counters_->last_error = why;
  error_code ignored;
  client_.set_option(asio::socket_base::linger(true, 0), ignored);
  End();
}

void Relay::End() {
  ended_ = true;
  error_code ignored;
  client_.close(ignored);
  guest_.close(ignored);
  retry_.cancel(ignored);
  --counters_->open_connections;
  if (on_end_) on_end_(this);
}

}  // namespace rum
