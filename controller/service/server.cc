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

#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/agent.pb.h"
#include "controller/service/control.grpc.pb.h"
#include "controller/service/event_writer.h"
#include "controller/service/launch.h"
#include "controller/service/utf8.h"

namespace rum {
namespace {

using control::ApplyEvent;

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// Calls under way, and how long there has been none.
class Activity {
 public:
  // Lives as long as a call.
  class Call {
   public:
    explicit Call(Activity* activity) : activity_(activity) {
      const std::lock_guard<std::mutex> guard(activity_->mutex_);
      ++activity_->calls_;
    }
    ~Call() {
      const std::lock_guard<std::mutex> guard(activity_->mutex_);
      --activity_->calls_;
      activity_->last_ = absl::Now();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Activity* const activity_;
  };

  absl::Duration IdleFor() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return calls_ > 0 ? absl::ZeroDuration() : absl::Now() - last_;
  }

 private:
  mutable std::mutex mutex_;
  int calls_ = 0;
  absl::Time last_ = absl::Now();
};

class ControlService final : public control::Control::Service {
 public:
  ControlService(Controller* controller, std::function<void()> on_stop)
      : controller_(controller), on_stop_(std::move(on_stop)) {}

  grpc::Status Apply(grpc::ServerContext*, const control::ApplyRequest* request,
                     grpc::ServerWriter<ApplyEvent>* writer) override {
    const Activity::Call call(&activity_);
    EventWriter events([writer](const ApplyEvent& event) { return writer->Write(event); });
    ApplyOptions options;
    options.dry_run = request->dry_run();
    options.force = request->force();
    options.up = request->up();
    options.reset = request->reset();
    events.End(controller_->Apply(request->config_path(), options, events.Sink()));
    return grpc::Status::OK;
  }

  grpc::Status Status(grpc::ServerContext*, const control::MachineRequest* request,
                      MachineStatus* reply) override {
    const Activity::Call call(&activity_);
    auto status = controller_->Status(request->config_path());
    if (!status.ok()) return ToGrpc(status.status());
    *reply = *std::move(status);
    MakeUtf8(reply);
    return grpc::Status::OK;
  }

  grpc::Status Down(grpc::ServerContext*, const control::MachineRequest* request,
                    grpc::ServerWriter<ApplyEvent>* writer) override {
    const Activity::Call call(&activity_);
    EventWriter events([writer](const ApplyEvent& event) { return writer->Write(event); });
    events.End(controller_->Down(request->config_path(), events.Sink()));
    return grpc::Status::OK;
  }

  grpc::Status Destroy(grpc::ServerContext*, const control::MachineRequest* request,
                       grpc::ServerWriter<ApplyEvent>* writer) override {
    const Activity::Call call(&activity_);
    EventWriter events([writer](const ApplyEvent& event) { return writer->Write(event); });
    events.End(controller_->Destroy(request->config_path(), events.Sink()));
    return grpc::Status::OK;
  }

  grpc::Status Exec(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<control::ExecMessage, control::ExecMessage>* stream) override {
    const Activity::Call call(&activity_);
    control::ExecMessage message;
    agent::ExecInput start;
    if (!stream->Read(&message) || !start.ParseFromString(message.agent_message()) ||
        !start.has_start()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "no command"};
    }
    const auto agent = controller_->Agent(message.config_path());
    if (!agent.ok()) return ToGrpc(agent.status());
    bool first = true;
    bool hung_up = false;
    const absl::Status status = (*agent)->Exec(
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

  grpc::Status Info(grpc::ServerContext*, const control::InfoRequest*,
                    control::InfoReply* reply) override {
    const Activity::Call call(&activity_);
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

  absl::Duration IdleFor() const { return activity_.IdleFor(); }

 private:
  Controller* const controller_;
  const std::function<void()> on_stop_;
  const int64_t started_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count();
  Activity activity_;
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
  Parts(Controller* controller, std::function<void()> on_stop)
      : service(controller, std::move(on_stop)) {}

  void Accept() {
    pollfd fds[2] = {{listening, POLLIN, 0}, {wake, POLLIN, 0}};
    while (fds[1].revents == 0) {
      if (poll(fds, 2, -1) < 0 || (fds[0].revents & POLLIN) == 0) continue;
      const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) continue;
      if (IsOurs(fd)) {
        grpc::AddInsecureChannelFromFd(server.get(), fd);
      } else {
        spdlog::warn("refused a connection of another user");
        close(fd);
      }
    }
  }

  ControlService service;
  std::unique_ptr<grpc::Server> server;
  std::string path;
  int listening = -1;
  int wake = -1;
  std::thread acceptor;
};

ControlServer::ControlServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(
    const std::string& path, Controller* controller, std::function<void()> on_stop) {
  auto parts = std::make_unique<Parts>(controller, std::move(on_stop));
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
  unlink(parts_->path.c_str());
  close(parts_->listening);
  close(parts_->wake);
  parts_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
}

absl::Duration ControlServer::IdleFor() const { return parts_->service.IdleFor(); }

}  // namespace rum
