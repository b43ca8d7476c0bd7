#include "controller/service/server.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/call_deadline.h"
#include "agent-api/descriptors.h"
#include "agent-api/steady_now.h"
#include "agent-api/threads.h"
#include "controller/listeners/inherited.h"
#include "controller/service/control_service.h"
#include "controller/service/own_socket.h"

namespace rum {
namespace {

// Longer than a wait for an agent takes to notice that the controller stops.
constexpr std::chrono::milliseconds kGrace{1300};
// After an accept that failed or took the spares: the socket stays readable.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);
// What a question of the last one who was let in may open.
constexpr size_t kSpares = 8;

absl::StatusOr<int> ListenOn(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the path of the controller's socket is too long (", path.size(),
        " bytes, 107 are possible): ", path, "; set RUM_RUNTIME_DIR to a shorter folder"));
  }
  path.copy(address.sun_path, path.size());
  // Of the controller before, with those who have connected meanwhile.
  Fd inherited =
      TakeInherited(reinterpret_cast<sockaddr*>(&address),
                    static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1));
  if (inherited.ok()) return inherited.Release();
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink(path.c_str());  // of a controller that was killed: the lock says that none lives
  const mode_t before = umask(0177);
  const bool ok = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                  listen(fd, SOMAXCONN) == 0;
  const int error = errno;
  umask(before);
  if (ok) return fd;
  if (fd >= 0) close(fd);
  return absl::InternalError(absl::StrCat(path, ": ", std::strerror(error)));
}

// Whether it is also the socket of a process that lives: systemd's, which starts a controller for
// whoever comes next. The kernel knows who began to listen.
bool IsListenedAtByAnother(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || who.pid <= 0) return false;
  return who.pid != getpid() && (kill(who.pid, 0) == 0 || errno == EPERM);
}

}  // namespace

struct ControlServer::Parts {
  Parts(Controller* controller, std::function<void()> stop, absl::Duration limit,
        std::function<absl::Time()> clock)
      : service(MakeControlService(controller, stop)),
        on_stop(std::move(stop)),
        idle_limit(limit),
        now(std::move(clock)) {}

  // Only this thread lets clients in, so that it alone can tell that there is none: it closes the
  // door, and whoever is before it finds nobody, instead of somebody who is about to go.
  void Accept() {
    // Ends of connections are seen on duplicates: gRPC owns the sockets.
    std::vector<pollfd> fds = {{wake, POLLIN, 0}, {listening, POLLIN, 0}};
    absl::Time idle_since = now();
    while (fds[0].revents == 0) {
      fds[1].fd = SteadyNow() < next_accept ? -1 : listening;
      const bool idle = fds.size() == 2 && service->Idle();
      if (!idle) idle_since = now();
      if (idle && now() - idle_since >= idle_limit) {
        Close();
        return on_stop();
      }
      if (poll(fds.data(), fds.size(), PollTimeout()) < 0) continue;
      for (size_t i = fds.size(); i-- > 2;) {
        if (fds[i].revents == 0) continue;
        close(fds[i].fd);
        fds.erase(fds.begin() + static_cast<ptrdiff_t>(i));
        spares.Refill();
      }
      if ((fds[1].revents & POLLIN) != 0) AcceptOne(&fds);
    }
    for (size_t i = 2; i < fds.size(); ++i) close(fds[i].fd);
    Close();
  }

  // Looks at the clock four times in the time that it may be idle.
  int PollTimeout() const {
    const absl::Duration pause =
        next_accept > SteadyNow() ? kAcceptPause : absl::InfiniteDuration();
    const absl::Duration timeout = std::min(idle_limit / 4, pause);
    if (timeout == absl::InfiniteDuration()) return -1;
    return static_cast<int>(std::max<int64_t>(absl::ToInt64Milliseconds(timeout), 5));
  }

  void AcceptOne(std::vector<pollfd>* fds) {
    int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const bool out = fd < 0 ? IsOutOfDescriptors(errno) : IsAmongLast(fd, kSpares);
    if (out) {
      spdlog::warn("hardly any descriptors left limit={}", DescriptorLimit());
      spares.GiveUp();
    }
    if (out && fd < 0) fd = spares.Accept(listening);
    if (out || fd < 0) next_accept = SteadyNow() + kAcceptPause;
    if (fd < 0) return;
    if (const absl::Status judged = JudgePeer(fd, path); !judged.ok()) {
      spdlog::warn("refused a connection reason=\"{}\"", std::string(judged.message()));
      close(fd);
      return;
    }
    const int end = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (end >= 0) fds->push_back({end, POLLRDHUP, 0});
    grpc::AddInsecureChannelFromFd(server.get(), fd);
  }

  void Close() {
    if (given_up) return;
    if (!IsListenedAtByAnother(listening)) unlink(path.c_str());
    close(std::exchange(listening, -1));
  }

  void EndAccepting() {
    const uint64_t one = 1;
    if (write(wake, &one, sizeof one) < 0) spdlog::error("waking the acceptor failed");
    if (acceptor.joinable()) acceptor.join();
  }

  const std::unique_ptr<ControlService> service;
  std::unique_ptr<grpc::Server> server;
  std::function<void()> on_stop;
  const absl::Duration idle_limit;
  const std::function<absl::Time()> now;
  std::string path;
  int listening = -1;
  std::atomic<bool> given_up = false;  // the socket stays
  int wake = -1;
  absl::Time next_accept = absl::InfinitePast();
  SpareDescriptors spares{kSpares};
  std::thread acceptor;
};

ControlServer::ControlServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(
    const std::string& path, Controller* controller, std::function<void()> on_stop,
    absl::Duration idle_limit, std::function<absl::Time()> now) {
  auto parts = std::make_unique<Parts>(controller, std::move(on_stop), idle_limit, std::move(now));
  const absl::StatusOr<int> listening = ListenOn(path);
  if (!listening.ok()) return listening.status();
  parts->listening = *listening;
  parts->path = path;
  parts->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  grpc::ServerBuilder builder;
  builder.RegisterService(parts->service.get());
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr) return absl::InternalError("the gRPC server did not start");
  absl::StatusOr<std::thread> acceptor = StartThread([raw = parts.get()] { raw->Accept(); });
  if (!acceptor.ok()) return acceptor.status();
  parts->acceptor = *std::move(acceptor);
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(parts)));
}

Fd ControlServer::GiveUpListening() {
  parts_->given_up = true;
  parts_->EndAccepting();
  return Fd(parts_->listening);
}

ControlServer::~ControlServer() {
  parts_->EndAccepting();
  close(parts_->wake);
  parts_->server->Shutdown(After(kGrace));
}

}  // namespace rum
