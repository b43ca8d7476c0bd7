#include "controller/listeners/listener_set.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>

#include "absl/strings/str_cat.h"
#include "controller/listeners/io_thread.h"
#include "controller/listeners/listener_set_options.h"
#include "controller/listeners/port_owner.h"
#include "controller/listeners/relay.h"

namespace rum {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kAcceptBackOff = std::chrono::milliseconds(100);

std::string Where(const Forward& forward) {
  const bool v6 = forward.bind.find(':') != std::string::npos;
  return v6 ? absl::StrCat("[", forward.bind, "]:", forward.host)
            : absl::StrCat(forward.bind, ":", forward.host);
}

absl::Status BindError(const Forward& forward, const error_code& error) {
  std::string text = absl::StrCat(Where(forward), ": ", error.message());
  if (error == asio::error::address_in_use) {
    const std::string owner = PortOwner(forward.host);
    if (!owner.empty()) absl::StrAppend(&text, ": in use by ", owner);
    return absl::UnavailableError(text);
  }
  if (error == asio::error::access_denied) {
    if (forward.host < 1024) {
      absl::StrAppend(
          &text, ": ports below 1024 need root or a lower net.ipv4.ip_unprivileged_port_start");
    }
    return absl::PermissionDeniedError(text);
  }
  return absl::UnavailableError(text);
}

// One listening socket and its connections. Lives as long as its handlers; io thread only.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(Forward forward, Dialer dial, ListenerSetOptions options)
      : forward_(std::move(forward)),
        dial_(std::move(dial)),
        options_(options),
        acceptor_(IoContext()),
        pause_(IoContext()),
        drain_(IoContext()) {}

  absl::Status Open() {
    error_code error;
    const asio::ip::address address = asio::ip::make_address(forward_.bind, error);
    if (error)
      return absl::InvalidArgumentError(absl::StrCat(forward_.bind, ": not an IP address"));
    const tcp::endpoint endpoint(address, forward_.host);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    // Else :: would take 0.0.0.0's ports as well, where the system says so.
    if (!error && address.is_v6()) acceptor_.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      error_code ignored;
      acceptor_.close(ignored);
      return BindError(forward_, error);
    }
    Accept();
    return absl::OkStatus();
  }

  void Retarget(uint16_t guest) { forward_.guest = guest; }

  // Stops accepting; connections may go on for the drain time.
  void Drain() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel(ignored);
    drain_.expires_after(options_.drain);
    drain_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->CloseConnections("the forward was removed");
    });
    EndDrainIfIdle();
  }

  void Close() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel(ignored);
    drain_.cancel(ignored);
    CloseConnections("the listener was closed");
  }

  ForwardState State() const {
    return {forward_,
            accept_error_,
            counters_->open_connections,
            counters_->bytes_in,
            counters_->bytes_out,
            counters_->last_error};
  }

 private:
  void Accept() {
    acceptor_.async_accept([self = shared_from_this()](error_code error, tcp::socket client) {
      if (!self->acceptor_.is_open()) return;
      if (error) return self->AcceptLater(error);
      self->accept_error_ = absl::OkStatus();
      const auto relay =
          Relay::Start(std::move(client), self->forward_.guest, self->dial_, self->counters_,
                       self->options_.patience, [self](Relay* ended) {
                         self->relays_.erase(ended);
                         self->EndDrainIfIdle();
                       });
      self->relays_[relay.get()] = relay;
      self->Accept();
    });
  }

  // Out of descriptors, most often: the socket stays readable, so that accepting at once would
  // spin.
  void AcceptLater(const error_code& error) {
    accept_error_ =
        absl::ResourceExhaustedError(absl::StrCat(Where(forward_), ": accept: ", error.message()));
    pause_.expires_after(kAcceptBackOff);
    pause_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (!cancelled && self->acceptor_.is_open()) self->Accept();
    });
  }

  void EndDrainIfIdle() {
    error_code ignored;
    if (!acceptor_.is_open() && relays_.empty()) drain_.cancel(ignored);
  }

  void CloseConnections(const std::string& why) {
    std::vector<std::shared_ptr<Relay>> open;
    for (const auto& [key, relay] : relays_) {
      if (const auto alive = relay.lock()) open.push_back(alive);
    }
    for (const auto& relay : open) relay->Reset(why);
  }

  Forward forward_;
  const Dialer dial_;
  const ListenerSetOptions options_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  asio::steady_timer drain_;
  absl::Status accept_error_;
  std::shared_ptr<ForwardCounters> counters_ = std::make_shared<ForwardCounters>();
  std::map<Relay*, std::weak_ptr<Relay>> relays_;
};

class AsioListenerSet : public ListenerSet {
 public:
  AsioListenerSet(Dialer dial, ListenerSetOptions options)
      : dial_(std::move(dial)), options_(options) {}

  ~AsioListenerSet() override {
    OnIoThread([this] {
      for (const auto& [key, listener] : listeners_) listener->Close();
      for (const auto& weak : draining_) {
        if (const auto listener = weak.lock()) listener->Close();
      }
      listeners_.clear();
    });
  }

  std::vector<ForwardState> Apply(const std::vector<Forward>& wanted) override {
    return OnIoThread([&] { return ApplyHere(wanted); });
  }

  std::vector<ForwardState> Observe() override {
    return OnIoThread([&] {
      std::vector<ForwardState> states;
      for (const auto& [key, listener] : listeners_) states.push_back(listener->State());
      for (const auto& [key, failure] : failures_) states.push_back(failure);
      return states;
    });
  }

 private:
  using Key = std::pair<std::string, uint16_t>;  // bind, host

  std::vector<ForwardState> ApplyHere(const std::vector<Forward>& wanted) {
    failures_.clear();
    std::vector<Forward> second_try;
    for (const Forward& forward : wanted) {
      if (!Open(forward).ok()) second_try.push_back(forward);
    }
    for (auto it = listeners_.begin(); it != listeners_.end();) {
      const bool stays = std::any_of(wanted.begin(), wanted.end(), [&](const Forward& f) {
        return Key{f.bind, f.host} == it->first;
      });
      if (!stays) {
        it->second->Drain();
        draining_.push_back(it->second);
      }
      it = stays ? std::next(it) : listeners_.erase(it);
    }
    draining_.erase(std::remove_if(draining_.begin(), draining_.end(),
                                   [](const auto& weak) { return weak.expired(); }),
                    draining_.end());
    // New before old cannot be where the old one holds the port: 127.0.0.1 to 0.0.0.0.
    for (const Forward& forward : second_try) {
      const absl::Status status = Open(forward);
      if (!status.ok())
        failures_[{forward.bind, forward.host}] = {forward, status, 0,
                                                   0,       0,      std::string(status.message())};
    }
    std::vector<ForwardState> states;
    for (const Forward& forward : wanted) {
      const auto listener = listeners_.find({forward.bind, forward.host});
      states.push_back(listener != listeners_.end() ? listener->second->State()
                                                    : failures_[{forward.bind, forward.host}]);
    }
    return states;
  }

  absl::Status Open(const Forward& forward) {
    const Key key{forward.bind, forward.host};
    if (const auto old = listeners_.find(key); old != listeners_.end()) {
      old->second->Retarget(forward.guest);
      return absl::OkStatus();
    }
    const auto listener = std::make_shared<Listener>(forward, dial_, options_);
    const absl::Status status = listener->Open();
    if (status.ok()) listeners_[key] = listener;
    return status;
  }

  const Dialer dial_;
  const ListenerSetOptions options_;
  std::map<Key, std::shared_ptr<Listener>> listeners_;  // these three: io thread only
  std::map<Key, ForwardState> failures_;
  std::vector<std::weak_ptr<Listener>> draining_;
};

}  // namespace

std::unique_ptr<ListenerSet> MakeListenerSet(Dialer dial, ListenerSetOptions options) {
  return std::make_unique<AsioListenerSet>(std::move(dial), options);
}

std::unique_ptr<ListenerSet> MakeListenerSet(Dialer dial) {
  return MakeListenerSet(std::move(dial), ListenerSetOptions());
}

}  // namespace rum
