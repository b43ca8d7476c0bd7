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
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/agent.pb.h"
#include "agent-api/call_deadline.h"
#include "agent-api/descriptors.h"
#include "agent-api/steady_now.h"
#include "agent-api/threads.h"
#include "controller/listeners/inherited.h"
#include "controller/service/call_status.h"
#include "controller/service/control.grpc.pb.h"
#include "controller/service/event_writer.h"
#include "controller/service/guest_calls.h"
#include "controller/service/launch.h"
#include "controller/service/list_calls.h"
#include "controller/service/log_sender.h"
#include "controller/service/own_socket.h"
#include "controller/service/stats_calls.h"
#include "controller/service/trust_calls.h"
#include "controller/service/watch_stream.h"
#include "controller/utf8.h"

namespace rum {
namespace {

using control::ApplyEvent;

// Longer than a wait for an agent takes to notice that the controller stops.
constexpr std::chrono::milliseconds kGrace{1300};
// After an accept that failed or took the spares: the socket stays readable.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);
constexpr size_t kKeptForQuestions = 32;
// What a question of the last one who was let in may open.
constexpr size_t kSpares = 8;

// Linux says so (proc(5), /proc/PID/exe): an upgrade or a build puts a new file in the old one's
// place.
bool ProgramWasReplaced() {
  std::error_code error;
  return absl::EndsWith(std::filesystem::read_symlink("/proc/self/exe", error).string(),
                        " (deleted)");
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
    if (absl::Status room = Room(); !room.ok()) return ToGrpc(room);
    const auto events = EventsTo(writer);
    if (!events.ok()) return ToGrpc(events.status());
    ApplyOptions options;
    options.dry_run = request->dry_run();
    options.force = request->force();
    options.up = request->up();
    options.reset = request->reset();
    options.reset_drives = request->reset_drives();
    options.rerun_system = request->rerun_system();
    options.rerun_boot = request->rerun_boot();
    options.default_uri = request->default_uri();
    options.recorded = request->recorded();
    options.take_over = request->take_over();
    options.no_live = request->no_live();
    options.new_machine = request->new_machine();
    options.trust.assign(request->trust().begin(), request->trust().end());
    (*events)->End(controller_->Apply(request->config_path(), options, (*events)->Sink()));
    return grpc::Status::OK;
  }

  grpc::Status ListMachines(grpc::ServerContext*, const control::ListMachinesRequest* request,
                            control::ListMachinesReply* reply) override {
    const Call call(&calls_);
    return ServeList(controller_, *request, reply);
  }

  grpc::Status Adopt(grpc::ServerContext*, const control::AdoptRequest* request,
                     control::AdoptReply* reply) override {
    const Call call(&calls_);
    return ServeAdopt(controller_, *request, reply);
  }

  grpc::Status Status(grpc::ServerContext*, const control::MachineRequest* request,
                      MachineStatus* reply) override {
    const Call call(&calls_);
    auto status = controller_->Status(request->config_path(), &request->default_uri());
    if (!status.ok()) return ToGrpc(status.status());
    *reply = *std::move(status);
    MakeUtf8(reply);
    return grpc::Status::OK;
  }

  grpc::Status Trust(grpc::ServerContext*, const control::TrustRequest* request,
                     control::TrustReply* reply) override {
    const Call call(&calls_);
    return ServeTrust(controller_, *request, reply);
  }

  grpc::Status Watch(grpc::ServerContext* context, const control::WatchRequest* request,
                     grpc::ServerWriter<control::WatchEvent>* writer) override {
    const Call call(&calls_);
    if (absl::Status room = Room(); !room.ok()) return ToGrpc(room);
    return ToGrpc(ServeWatch(controller_, *request, context, writer));
  }

  grpc::Status Down(grpc::ServerContext*, const control::MachineRequest* request,
                    grpc::ServerWriter<ApplyEvent>* writer) override {
    const Call call(&calls_);
    const auto events = EventsTo(writer);
    if (!events.ok()) return ToGrpc(events.status());
    (*events)->End(controller_->Down(request->config_path(), (*events)->Sink(), request->force()));
    return grpc::Status::OK;
  }

  grpc::Status Destroy(grpc::ServerContext*, const control::MachineRequest* request,
                       grpc::ServerWriter<ApplyEvent>* writer) override {
    const Call call(&calls_);
    const auto events = EventsTo(writer);
    if (!events.ok()) return ToGrpc(events.status());
    (*events)->End(
        controller_->Destroy(request->config_path(), (*events)->Sink(), request->force()));
    return grpc::Status::OK;
  }

  grpc::Status Exec(grpc::ServerContext* context, TunnelStream* stream) override {
    const Call call(&calls_);
    if (absl::Status room = Room(); !room.ok()) return ToGrpc(room);
    return ServeExec(controller_, context, stream);
  }

  grpc::Status Copy(grpc::ServerContext*, TunnelStream* stream) override {
    const Call call(&calls_);
    if (absl::Status room = Room(); !room.ok()) return ToGrpc(room);
    return ServeCopy(controller_, stream);
  }

  grpc::Status Ssh(grpc::ServerContext*, const control::MachineRequest* request,
                   control::SshReply* reply) override {
    const Call call(&calls_);
    return ServeSsh(controller_, *request, reply);
  }

  grpc::Status Dial(grpc::ServerContext*, DialStream* stream) override {
    const Call call(&calls_);
    if (absl::Status room = Room(); !room.ok()) return ToGrpc(room);
    return ServeDial(controller_, stream);
  }

  grpc::Status Console(grpc::ServerContext*, DialStream* stream) override {
    const Call call(&calls_);
    if (absl::Status room = Room(); !room.ok()) return ToGrpc(room);
    return ServeConsole(controller_, stream);
  }

  grpc::Status Stats(grpc::ServerContext*, const control::StatsRequest* request,
                     control::StatsReply* reply) override {
    const Call call(&calls_);
    return ServeStats(controller_, *request, reply);
  }

  grpc::Status ListRuns(grpc::ServerContext*, const control::MachineRequest* request,
                        control::RunsReply* reply) override {
    const Call call(&calls_);
    return Tell(controller_->Runs(request->config_path()), reply);
  }

  grpc::Status Log(grpc::ServerContext*, const control::LogRequest* request,
                   grpc::ServerWriter<control::LogEvent>* writer) override {
    const Call call(&calls_);
    return ToGrpc(SendLog(controller_, *request, [writer](const control::LogEvent& event) {
      return writer->Write(event);
    }));
  }

  grpc::Status CancelRuns(grpc::ServerContext*, const control::MachineRequest* request,
                          control::RunsReply* reply) override {
    const Call call(&calls_);
    return Tell(controller_->CancelRuns(request->config_path()), reply);
  }

  grpc::Status ListImages(grpc::ServerContext*, const control::ImagesRequest*,
                          control::ImagesReply* reply) override {
    const Call call(&calls_);
    return Tell(controller_->Images(), reply);
  }

  grpc::Status PullImage(grpc::ServerContext* context, const control::PullImageRequest* request,
                         grpc::ServerWriter<control::PullImageEvent>* writer) override {
    const Call call(&calls_);
    if (absl::Status room = Room(); !room.ok()) return ToGrpc(room);
    Image image;
    image.set_base(request->base());
    image.set_sha256(request->sha256());
    control::PullImageEvent event;
    const auto tell = [&](const std::string& text) {
      event.set_progress(text);
      MakeUtf8(&event);
      writer->Write(event);
    };
    const absl::StatusOr<FetchedImage> fetched =
        controller_->PullImage(image, Onlooker(tell, [context] { return context->IsCancelled(); }));
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
    reply->set_outdated(ProgramWasReplaced());
    return grpc::Status::OK;
  }

  grpc::Status Stop(grpc::ServerContext*, const control::StopRequest*,
                    control::StopReply*) override {
    on_stop_();
    return grpc::Status::OK;
  }

  grpc::Status Metrics(grpc::ServerContext*, const control::MetricsRequest*,
                       control::MetricsReply* reply) override {
    const Call call(&calls_);
    reply->set_text(MetricsText(controller_->CollectMetrics()));
    return grpc::Status::OK;
  }

  bool Idle() const { return calls_ == 0 && controller_->machines() == 0; }

 private:
  // Of what takes long or needs files and sockets of its own: the last descriptors are for those
  // who ask, and for the end.
  static absl::Status Room() {
    const Fd next(eventfd(0, EFD_CLOEXEC));
    const size_t limit = DescriptorLimit();
    if (next.ok() && !IsAmongLast(next.get(), std::min(kKeptForQuestions, limit / 8))) {
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError(absl::StrCat(
        "the controller has no file descriptors left for this: nearly all of the ", limit,
        " that it may have are open (`rum status` shows connections of forwards; more are to be "
        "had by `ulimit -n` or LimitNOFILE= of its service, and `rum controller restart`)"));
  }

  static absl::StatusOr<std::unique_ptr<EventWriter>> EventsTo(
      grpc::ServerWriter<ApplyEvent>* writer) {
    return EventWriter::Begin([writer](const ApplyEvent& event) { return writer->Write(event); });
  }

  static grpc::Status Tell(const absl::StatusOr<std::vector<agent::ScriptRun>>& runs,
                           control::RunsReply* reply) {
    if (!runs.ok()) return ToGrpc(runs.status());
    for (const agent::ScriptRun& run : *runs) *reply->add_runs() = run;
    MakeUtf8(reply);
    return grpc::Status::OK;
  }

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
  Parts(Controller* controller, std::function<void()> stop, absl::Duration idle)
      : service(controller, stop), on_stop(std::move(stop)), idle_limit(idle) {}

  // Only this thread lets clients in, so that it alone can tell that there is none: it closes the
  // door, and whoever is before it finds nobody, instead of somebody who is about to go.
  void Accept() {
    // Ends of connections are seen on duplicates: gRPC owns the sockets.
    std::vector<pollfd> fds = {{wake, POLLIN, 0}, {listening, POLLIN, 0}};
    absl::Time idle_since = SteadyNow();
    while (fds[0].revents == 0) {
      fds[1].fd = SteadyNow() < next_accept ? -1 : listening;
      const bool idle = fds.size() == 2 && service.Idle();
      if (!idle) idle_since = SteadyNow();
      if (idle && SteadyNow() - idle_since >= idle_limit) {
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

  ControlService service;
  std::unique_ptr<grpc::Server> server;
  std::function<void()> on_stop;
  absl::Duration idle_limit;
  std::string path;
  int listening = -1;
  std::atomic<bool> given_up = false;  // the socket stays
  int wake = -1;
  absl::Time next_accept = absl::InfinitePast();
  SpareDescriptors spares{kSpares};
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
