#include "controller/listeners/listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "agent-api/descriptors.h"
#include "controller/listeners/inherited.h"
#include "controller/listeners/io_thread.h"
#include "controller/listeners/socket_file.h"
#include "state/bind_address.h"
#include "state/item_name.h"

namespace rum {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kAcceptBackOff = std::chrono::milliseconds(100);
// A guest's server that was reached is not asked again for so long: it would see a connection each
// time.
constexpr auto kUpHolds = std::chrono::seconds(5);
constexpr auto kDownHolds = std::chrono::milliseconds(500);
// After so many clients, the connections that are there have the thread.
constexpr int kMostAccepts = 64;

std::string Where(const std::string& bind, uint16_t port) {
  return absl::StrCat("port ", HostPort(bind, port));
}

absl::Status SocketError(const std::string& where, int error, const std::string& owner) {
  switch (error) {
    case ENOTSOCK:
      return absl::UnavailableError(
          absl::StrCat(where,
                       ": a file that rum did not make has this path, and stays: move it "
                       "away, or name another path"));
    case EADDRINUSE:
      return absl::UnavailableError(absl::StrCat(
          where, ": in use by ", owner.empty() ? "another program that listens there" : owner));
    case EEXIST:
      return absl::InvalidArgumentError(absl::StrCat(where, ": listed twice"));
    case EINVAL:
      return absl::InvalidArgumentError(absl::StrCat(where, ": not the path of a unix socket"));
    default:
      return absl::UnavailableError(absl::StrCat(where, ": ", std::strerror(error)));
  }
}

// By hand, for Asio's sockets would be inherited by every child of this process, and a child that
// outlives it would keep the port.
int MakeSocket(const tcp::endpoint& endpoint, Fd* made) {
  *made = TakeInherited(endpoint.data(), static_cast<socklen_t>(endpoint.size()));
  if (made->ok()) return 0;
  const int on = 1;
  Fd fd(socket(endpoint.data()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return errno;
  if (setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return errno;
  // A forward of :: has a second socket for IPv4, which can change hands on its own.
  if (endpoint.address().is_v6() &&
      setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
    return errno;
  }
  if (bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) return errno;
  if (listen(fd.get(), SOMAXCONN) != 0) return errno;
  *made = std::move(fd);
  return 0;
}

// The last descriptors are for those who ask the controller what is wrong, or end it.
size_t KeptDescriptors() { return std::min<size_t>(128, DescriptorLimit() / 4); }

constexpr char kNoDescriptors[] =
    "a client was refused: the controller has no more file descriptors for connections (`ulimit "
    "-n`, or LimitNOFILE= of its service)";

// io thread only.
SpareDescriptors& Spare() {
  static auto* const spare = new SpareDescriptors(1);
  return *spare;
}

// All that have an open socket. io thread only.
std::set<Listener*>& OpenListeners() {
  static auto* const open = new std::set<Listener*>;
  return *open;
}

}  // namespace

std::vector<Fd> GiveUpListening() {
  return OnIoThread([] {
    // A controller that ends before it came to a machine hands on what it got.
    std::vector<Fd> sockets = TakeInherited();
    const std::set<Listener*> open = OpenListeners();
    for (Listener* listener : open) sockets.push_back(listener->GiveUp());
    return sockets;
  });
}

std::string MachineAt(const std::string& bind, uint16_t port) {
  if (IsUnixBind(bind)) {
    return OnIoThread([&]() -> std::string {
      for (const Listener* listener : OpenListeners()) {
        if (listener->bind() == bind) return listener->machine();
      }
      return "";
    });
  }
  const auto address = ParseAddress(bind);
  if (!address) return "";
  return OnIoThread([&]() -> std::string {
    std::vector<ListeningSocket> sockets;
    std::vector<std::string> machines;
    for (const Listener* listener : OpenListeners()) {
      ListeningSocket socket = listener->where();
      // Ours are of one family each.
      if (IsV4(socket.address) != IsV4(*address)) continue;
      socket.inode = machines.size();
      sockets.push_back(socket);
      machines.push_back(listener->machine());
    }
    const auto blocker = FindBlocker(sockets, *address, port);
    return blocker ? machines[blocker->inode] : "";
  });
}

absl::Status BindError(const Forward& forward, int error, const std::string& owner) {
  const std::string where = Where(forward.bind, forward.host);
  if (IsUnixBind(forward.bind)) return SocketError(where, error, owner);
  const std::string why = std::strerror(error);
  switch (error) {
    case EINVAL:
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": not an IP address and a port from 1 to 65535"));
    case EEXIST:
      return absl::InvalidArgumentError(absl::StrCat(where, ": listed twice"));
    case EADDRINUSE:
      return absl::UnavailableError(
          absl::StrCat(where, ": in use by ", owner.empty() ? "another program" : owner));
    case EACCES:
      return absl::PermissionDeniedError(
          absl::StrCat(where, ": ", why,
                       "; a port below net.ipv4.ip_unprivileged_port_start (1024 by default) needs "
                       "root, CAP_NET_BIND_SERVICE or a lower start: use a port from 1024 up"));
    case EADDRNOTAVAIL:
      return absl::UnavailableError(absl::StrCat(where, ": no interface has this address"));
    default:
      return absl::UnavailableError(absl::StrCat(where, ": ", why));
  }
}

Listener::Listener(const Forward& forward, const GuestRoute& route,
                   const ListenerSetOptions& options, size_t* connections)
    : bind_(forward.bind),
      host_(forward.host),
      guest_(forward.guest),
      route_(route),
      options_(options),
      connections_(*connections),
      socket_(IoContext()),
      pause_(IoContext()),
      drain_(IoContext()) {}

int Listener::Open() {
  error_code error;
  Fd fd;
  if (IsUnixBind(bind_)) {
    if (const int failed = ListenAtPath(UnixPath(bind_), &fd); failed != 0) return failed;
  } else {
    const asio::ip::address address = asio::ip::make_address(bind_, error);
    if (error || host_ == 0) return EINVAL;
    const int failed = MakeSocket(tcp::endpoint(address, host_), &fd);
    if (failed != 0) return failed;
  }
  socket_.assign(fd.get(), error);
  if (error) return error.value();
  fd.Release();
  Spare();  // while there are descriptors
  OpenListeners().insert(this);
  drain_.cancel(error);
  WaitForClient();
  return 0;
}

ListeningSocket Listener::where() const {
  ListeningSocket socket;
  socket.address = ParseAddress(bind_).value_or(AddressBytes{});
  socket.port = host_;
  return socket;
}

void Listener::Drain() {
  StopAccepting();
  drain_.expires_after(options_.drain);
  drain_.async_wait([weak = weak_from_this()](error_code cancelled) {
    const auto self = weak.lock();
    if (self && !cancelled && !self->socket_.is_open()) {
      self->ResetConnections("the forward was removed");
    }
  });
}

void Listener::Close() {
  StopAccepting();
  error_code ignored;
  drain_.cancel(ignored);
  ResetConnections("the forward was closed");
}

void Listener::WaitForClient() {
  socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [weak = weak_from_this()](error_code error) {
                       const auto self = weak.lock();
                       if (self && !error && self->socket_.is_open()) self->AcceptAll();
                     });
}

void Listener::AcceptAll() {
  for (int turn = 0; turn < kMostAccepts; ++turn) {
    Fd client(accept4(socket_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.ok() && IsAmongLast(client.get(), KeptDescriptors())) {
      Refuse(std::move(client), kNoDescriptors);
      return AcceptLater(EMFILE);
    } else if (client.ok()) {
      Admit(std::move(client));
    } else if (errno == EAGAIN) {
      SetAccepting(absl::OkStatus());
      break;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return AcceptLater(errno);
    }
  }
  WaitForClient();
}

void Listener::SetAccepting(const absl::Status& status) {
  const bool changed = accepting_.ok() != status.ok();
  accepting_ = status;
  if (changed && route_.on_change) route_.on_change();
}

// Out of descriptors, most often: the socket stays readable, so that accepting at once would spin.
// Who waits longest is told, by a reset.
void Listener::AcceptLater(int error) {
  if (IsOutOfDescriptors(error)) {
    Fd client(Spare().Accept(socket_.native_handle()));
    if (client.ok()) Refuse(std::move(client), kNoDescriptors);
    Spare().Refill();
  }
  SetAccepting(absl::ResourceExhaustedError(
      absl::StrCat(Where(bind_, host_), ": accept: ", std::strerror(error))));
  if (!IsOutOfDescriptors(error)) {
    counters_->last_error = absl::StrCat("accept: ", std::strerror(error));
  }
  pause_.expires_after(kAcceptBackOff);
  pause_.async_wait([weak = weak_from_this()](error_code cancelled) {
    const auto self = weak.lock();
    if (self && !cancelled && self->socket_.is_open()) self->AcceptAll();
  });
}

bool Listener::HasRoom() const {
  return connections_ < std::min(options_.most_connections, DescriptorLimit() / 4);
}

void Listener::Refuse(Fd client, const std::string& why) {
  counters_->last_error = why;
  const linger reset{1, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

void Listener::Admit(Fd client) {
  if (!HasRoom()) {
    return Refuse(std::move(client), absl::StrCat("a client was refused: ", connections_,
                                                  " connections of this machine are open"));
  }
  ++connections_;
  // A raw pointer, for Close ends every relay before the listener goes.
  const auto relay = std::make_shared<Relay>(std::move(client), guest_, route_, options_, counters_,
                                             [this](Relay* ended) {
                                               --connections_;
                                               relays_.erase(ended);
                                             });
  relays_[relay.get()] = relay;
  relay->Start();
}

Fd Listener::GiveUp() {
  OpenListeners().erase(this);
  pause_.cancel();
  return Fd(socket_.is_open() ? socket_.release() : -1);
}

void Listener::Probe(const std::function<void()>& done) {
  const ForwardCounters& known = *counters_;
  const auto age = std::chrono::steady_clock::now() - known.health_at;
  const bool up = known.health == ForwardHealth::kUp;
  if (up && (known.open_connections > 0 || age < kUpHolds)) return done();
  if (known.health == ForwardHealth::kDown && age < kDownHolds) return done();
  const std::weak_ptr<ForwardCounters> counters = counters_;
  const auto heard = [counters, done](ForwardHealth health) {
    if (const auto still = counters.lock()) still->SetHealth(health);
    done();
  };
  const auto carrier = route_.carrier ? route_.carrier() : nullptr;
  if (carrier != nullptr && carrier->Probe(guest_, [heard](int error) {
        heard(error == 0          ? ForwardHealth::kUp
              : error == ENOTCONN ? ForwardHealth::kUnknown
                                  : ForwardHealth::kDown);
      })) {
    return;
  }
  route_.dial(guest_, [heard](absl::StatusOr<int> socket) {
    const Fd connected(socket.ok() ? *socket : -1);
    const ForwardHealth health = socket.ok() ? ForwardHealth::kUp
                                 : absl::IsFailedPrecondition(socket.status())
                                     ? ForwardHealth::kDown
                                     : ForwardHealth::kUnknown;
    asio::post(IoContext(), [heard, health] { heard(health); });
  });
}

bool Listener::Lost() const {
  return IsUnixBind(bind_) && socket_.is_open() && !IsOwnSocketFile(UnixPath(bind_));
}

void Listener::StopAccepting() {
  OpenListeners().erase(this);
  error_code ignored;
  if (IsUnixBind(bind_) && socket_.is_open()) RemoveOwnSocketFile(UnixPath(bind_));
  socket_.close(ignored);
  pause_.cancel(ignored);
  accepting_ = absl::OkStatus();
}

void Listener::ResetConnections(const std::string& why) {
  const auto open = relays_;  // each one leaves the map as it ends
  for (const auto& [key, relay] : open) relay->Reset(why);
}

}  // namespace rum
