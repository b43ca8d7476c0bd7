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

#include "absl/strings/str_cat.h"
#include "agent-api/agent.pb.h"
#include "controller/service/control.grpc.pb.h"

namespace rum {
namespace {

using control::ApplyEvent;

control::Outcome ToProto(const ApplyOutcome& outcome) {
  control::Outcome message;
  *message.mutable_plan() = outcome.plan;
  message.set_failed(outcome.failed);
  message.set_error(outcome.error);
  message.set_already_running(outcome.already_running);
  for (const std::string& removed : outcome.removed) message.add_removed(removed);
  message.set_actions(outcome.actions);
  return message;
}

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// The reconciler reports on its own thread, yet nothing promises that it is one thread.
class EventWriter {
 public:
  explicit EventWriter(grpc::ServerWriter<ApplyEvent>* writer) : writer_(writer) {}

  EventSink Sink() {
    return {[this](const std::string& text) {
              ApplyEvent event;
              event.set_progress(text);
              Write(event);
            },
            [this](const ActionResult& result) {
              ApplyEvent event;
              *event.mutable_result() = result;
              Write(event);
            },
            [this](const std::string& bytes) {
              ApplyEvent event;
              event.set_script_output(bytes);
              Write(event);
            }};
  }

  grpc::Status End(const ApplyOutcome& outcome) {
    ApplyEvent event;
    *event.mutable_outcome() = ToProto(outcome);
    Write(event);
    return grpc::Status::OK;
  }

 private:
  // A client that has gone away stops nothing: what was begun is finished.
  void Write(const ApplyEvent& event) {
    const std::lock_guard<std::mutex> guard(mutex_);
    writer_->Write(event);
  }

  std::mutex mutex_;
  grpc::ServerWriter<ApplyEvent>* const writer_;
};

class ControlService final : public control::Control::Service {
 public:
  ControlService(Controller* controller, std::function<void()> on_stop)
      : controller_(controller), on_stop_(std::move(on_stop)) {}

  grpc::Status Apply(grpc::ServerContext*, const control::ApplyRequest* request,
                     grpc::ServerWriter<ApplyEvent>* writer) override {
    EventWriter events(writer);
    ApplyOptions options;
    options.dry_run = request->dry_run();
    options.force = request->force();
    options.up = request->up();
    options.reset = request->reset();
    return events.End(controller_->Apply(request->config_path(), options, events.Sink()));
  }

  grpc::Status Status(grpc::ServerContext*, const control::MachineRequest* request,
                      MachineStatus* reply) override {
    auto status = controller_->Status(request->config_path());
    if (!status.ok()) return ToGrpc(status.status());
    *reply = *std::move(status);
    return grpc::Status::OK;
  }

  grpc::Status Down(grpc::ServerContext*, const control::MachineRequest* request,
                    grpc::ServerWriter<ApplyEvent>* writer) override {
    EventWriter events(writer);
    return events.End(controller_->Down(request->config_path(), events.Sink()));
  }

  grpc::Status Destroy(grpc::ServerContext*, const control::MachineRequest* request,
                       grpc::ServerWriter<ApplyEvent>* writer) override {
    EventWriter events(writer);
    return events.End(controller_->Destroy(request->config_path(), events.Sink()));
  }

  grpc::Status Exec(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<control::ExecMessage, control::ExecMessage>* stream) override {
    control::ExecMessage message;
    if (!stream->Read(&message)) return {grpc::StatusCode::INVALID_ARGUMENT, "no command"};
    const auto agent = controller_->Agent(message.config_path());
    if (!agent.ok()) return ToGrpc(agent.status());
    bool first = true;
    bool hung_up = false;
    const absl::Status status = (*agent)->Exec(
        [&](agent::ExecInput* input) {
          if (!first && !stream->Read(&message)) {
            // A client that is gone, not one that has said all: the command hears it as from a lost
            // terminal.
            if (hung_up || !context->IsCancelled()) return false;
            hung_up = true;
            input->set_signal(SIGHUP);
            return true;
          }
          first = false;
          return input->ParseFromString(message.agent_message());
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

 private:
  Controller* const controller_;
  const std::function<void()> on_stop_;
  const int64_t started_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count();
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

std::string ControllerSocketPath() { return RuntimeDir() + "/controller.sock"; }

}  // namespace rum
