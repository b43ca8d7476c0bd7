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
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/agent.pb.h"
#include "controller/service/control.grpc.pb.h"
#include "controller/service/event_writer.h"
#include "controller/service/launch.h"
#include "controller/service/utf8.h"
#include "controller/service/watch_stream.h"

namespace rum {
namespace {

using control::ApplyEvent;

// Longer than a wait for an agent takes to notice that the controller stops.
constexpr std::chrono::milliseconds kGrace{1300};

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// Lives as long as a call.
class Call {
 public:
  explicit Call(std::atomic<int>* calls) : calls_(calls) { ++*calls_; }
  ~Call() { --*calls_; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  std::atomic<int>* const calls_;
};

class ControlService final : public control::Control::Service {
 public:
  ControlService(Controller* controller, std::function<void()> on_stop)
      : controller_(controller), on_stop_(std::move(on_stop)) {}

  grpc::Status Apply(grpc::ServerContext*, const control::ApplyRequest* request,
                     grpc::ServerWriter<ApplyEvent>* writer) override {
    const Call call(&calls_);
    EventWriter events([writer](const ApplyEvent& event) { return writer->Write(event); });
    ApplyOptions options;
    options.dry_run = request->dry_run();
    options.force = request->force();
    options.up = request->up();
    options.reset = request->reset();
    options.reset_drives = request->reset_drives();
    events.End(controller_->Apply(request->config_path(), options, events.Sink()));
    return grpc::Status::OK;
  }

  grpc::Status Status(grpc::ServerContext*, const control::MachineRequest* request,
                      MachineStatus* reply) override {
    const Call call(&calls_);
    auto status = controller_->Status(request->config_path());
    if (!status.ok()) return ToGrpc(status.status());
    *reply = *std::move(status);
    MakeUtf8(reply);
    return grpc::Status::OK;
  }

  grpc::Status Watch(grpc::ServerContext* context, const control::WatchRequest* request,
                     grpc::ServerWriter<control::WatchEvent>* writer) override {
    const Call call(&calls_);
    return ToGrpc(ServeWatch(controller_, *request, context, writer));
  }

  grpc::Status Down(grpc::ServerContext*, const control::MachineRequest* request,
                    grpc::ServerWriter<ApplyEvent>* writer) override {
    const Call call(&calls_);
    EventWriter events([writer](const ApplyEvent& event) { return writer->Write(event); });
    events.End(controller_->Down(request->config_path(), events.Sink()));
    return grpc::Status::OK;
  }

  grpc::Status Destroy(grpc::ServerContext*, const control::MachineRequest* request,
                       grpc::ServerWriter<ApplyEvent>* writer) override {
    const Call call(&calls_);
    EventWriter events([writer](const ApplyEvent& event) { return writer->Write(event); });
    events.End(controller_->Destroy(request->config_path(), events.Sink()));
    return grpc::Status::OK;
  }

  grpc::Status Exec(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<control::ExecMessage, control::ExecMessage>* stream) override {
    const Call call(&calls_);
    control::ExecMessage message;
    agent::ExecInput start;
    if (!stream->Read(&message) || !start.ParseFromString(message.agent_message()) ||
        !start.has_start()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "no command"};
    }
    const absl::StatusOr<GuestAccess> guest = controller_->Guest(message.config_path());
    if (!guest.ok()) return ToGrpc(guest.status());
    if (start.start().cwd().empty()) start.mutable_start()->set_cwd(guest->folder);
    bool first = true;
    bool hung_up = false;
    const absl::Status status = guest->agent->Exec(
        [&](agent::ExecInput* input) {
          if (std::exchange(first, false)) {
            *input = start;
            return true;
          }
          if (stream->Read(&message)) return input->ParseFromString(message.agent_message());
          // A client that is gone, not one that has said all: the command hears it as from a lost
          // terminal.
          if (hung_up || !context->IsCancelled()) return false;
          hung_up = true;
          input->set_signal(SIGHUP);
          return true;
        },
        [&](const agent::ExecOutput& output) {
          control::ExecMessage reply;
          output.SerializeToString(reply.mutable_agent_message());
          stream->Write(reply);
        });
    return ToGrpc(status);
  }

  grpc::Status ListImages(grpc::ServerContext*, const control::ImagesRequest*,
                          control::ImagesReply* reply) override {
    const Call call(&calls_);
    return Tell(controller_->Images(), reply);
  }

  grpc::Status PullImage(grpc::ServerContext*, const control::PullImageRequest* request,
                         grpc::ServerWriter<control::PullImageEvent>* writer) override {
    const Call call(&calls_);
    Image image;
    image.set_base(request->base());
    image.set_sha256(request->sha256());
    control::PullImageEvent event;
    const absl::StatusOr<FetchedImage> fetched =
        controller_->PullImage(image, [&](const std::string& text) {
          event.set_progress(text);
          MakeUtf8(&event);
          writer->Write(event);
        });
    if (!fetched.ok()) return ToGrpc(fetched.status());
    event.set_path(fetched->path);
    MakeUtf8(&event);
    writer->Write(event);
    return grpc::Status::OK;
  }

  grpc::Status DeleteImage(grpc::ServerContext*, const control::DeleteImageRequest* request,
                           control::ImagesReply*) override {
    const Call call(&calls_);
    return ToGrpc(controller_->DeleteImage(request->name()));
  }

  grpc::Status PruneImages(grpc::ServerContext*, const control::ImagesRequest*,
                           control::ImagesReply* reply) override {
    const Call call(&calls_);
    return Tell(controller_->PruneImages(), reply);
  }

  grpc::Status Info(grpc::ServerContext*, const control::InfoRequest*,
                    control::InfoReply* reply) override {
    const Call call(&calls_);
    reply->set_pid(getpid());
    reply->set_version(kVersion);
    reply->set_machines(controller_->machines());
    reply->set_started_ms(started_ms_);
    return grpc::Status::OK;
  }

  grpc::Status Stop(grpc::ServerContext*, const control::StopRequest*,
                    control::StopReply*) override {
    on_stop_();
    return grpc::Status::OK;
  }

  bool Idle() const { return calls_ == 0 && controller_->machines() == 0; }

 private:
  static grpc::Status Tell(const absl::StatusOr<std::vector<CachedImage>>& images,
                           control::ImagesReply* reply) {
    if (!images.ok()) return ToGrpc(images.status());
    for (const CachedImage& image : *images) {
      control::CachedImage* told = reply->add_images();
      told->set_name(image.name);
      told->set_url(image.url);
      told->set_path(image.path);
      told->set_bytes(image.bytes);
      told->set_fetched_ms(absl::ToUnixMillis(image.fetched));
      told->set_whole(image.whole);
      told->set_in_use(image.in_use);
    }
    MakeUtf8(reply);
    return grpc::Status::OK;
  }

  Controller* const controller_;
  const std::function<void()> on_stop_;
  const int64_t started_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count();
  std::atomic<int> calls_ = 0;
};

absl::StatusOr<int> ListenOn(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the path of the controller's socket is too long (", path.size(),
        " bytes, 107 are possible): ", path, "; set RUM_RUNTIME_DIR to a shorter folder"));
  }
  path.copy(address.sun_path, path.size());
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

bool IsOurs(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

}  // namespace

struct ControlServer::Parts {
  Parts(Controller* controller, std::function<void()> stop, absl::Duration idle)
      : service(controller, stop), on_stop(std::move(stop)), idle_limit(idle) {}

  // Only this thread lets clients in, so that it alone can tell that there is none: it closes the
  // door, and whoever is before it finds nobody, instead of somebody who is about to go.
  void Accept() {
    // Ends of connections are seen on duplicates: gRPC owns the sockets.
    std::vector<pollfd> fds = {{wake, POLLIN, 0}, {listening, POLLIN, 0}};
    absl::Time idle_since = absl::Now();
    while (fds[0].revents == 0) {
      const bool idle = fds.size() == 2 && service.Idle();
      if (!idle) idle_since = absl::Now();
      if (idle && absl::Now() - idle_since >= idle_limit) {
        Close();
        return on_stop();
      }
      if (poll(fds.data(), fds.size(), PollTimeout()) < 0) continue;
      for (size_t i = fds.size(); i-- > 2;) {
        if (fds[i].revents == 0) continue;
        close(fds[i].fd);
        fds.erase(fds.begin() + static_cast<ptrdiff_t>(i));
      }
      if ((fds[1].revents & POLLIN) != 0) AcceptOne(&fds);
    }
    for (size_t i = 2; i < fds.size(); ++i) close(fds[i].fd);
    Close();
  }

  // Looks at the clock four times in the time that it may be idle.
  int PollTimeout() const {
    if (idle_limit == absl::InfiniteDuration()) return -1;
    return static_cast<int>(std::max<int64_t>(absl::ToInt64Milliseconds(idle_limit / 4), 5));
  }

  void AcceptOne(std::vector<pollfd>* fds) {
    const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (!IsOurs(fd)) {
      spdlog::warn("refused a connection of another user");
      close(fd);
      return;
    }
    const int end = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (end >= 0) fds->push_back({end, POLLRDHUP, 0});
    grpc::AddInsecureChannelFromFd(server.get(), fd);
  }

  void Close() {
    unlink(path.c_str());
    close(listening);
  }

  ControlService service;
  std::unique_ptr<grpc::Server> server;
  std::function<void()> on_stop;
  absl::Duration idle_limit;
  std::string path;
  int listening = -1;
  int wake = -1;
  std::thread acceptor;
};

ControlServer::ControlServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& path,
                                                                     Controller* controller,
                                                                     std::function<void()> on_stop,
                                                                     absl::Duration idle_limit) {
  auto parts = std::make_unique<Parts>(controller, std::move(on_stop), idle_limit);
  const absl::StatusOr<int> listening = ListenOn(path);
  if (!listening.ok()) return listening.status();
  parts->listening = *listening;
  parts->path = path;
  parts->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  grpc::ServerBuilder builder;
  builder.RegisterService(&parts->service);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr) return absl::InternalError("the gRPC server did not start");
  parts->acceptor = std::thread([raw = parts.get()] { raw->Accept(); });
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(parts)));
}

ControlServer::~ControlServer() {
  const uint64_t one = 1;
  if (write(parts_->wake, &one, sizeof one) < 0) spdlog::error("waking the acceptor failed");
  parts_->acceptor.join();
  close(parts_->wake);
  parts_->server->Shutdown(std::chrono::system_clock::now() + kGrace);
}

}  // namespace rum
