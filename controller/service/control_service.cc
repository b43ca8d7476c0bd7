#include "controller/service/control_service.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/agent.pb.h"
#include "agent-api/descriptors.h"
#include "controller/base/fd.h"
#include "controller/base/utf8.h"
#include "controller/service/call_status.h"
#include "controller/service/event_writer.h"
#include "controller/service/guest_calls.h"
#include "controller/service/launch.h"
#include "controller/service/list_calls.h"
#include "controller/service/log_sender.h"
#include "controller/service/stats_calls.h"
#include "controller/service/trust_calls.h"
#include "controller/service/watch_stream.h"

namespace rum {
namespace {

using control::ApplyEvent;

constexpr size_t kKeptForQuestions = 32;

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

class AnsweringService final : public ControlService {
 public:
  AnsweringService(Controller* controller, std::function<void()> on_stop)
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
    const auto machine = controller_->FindMade(request->config_path());
    if (!machine.ok()) return ToGrpc(machine.status());
    return Tell((*machine)->archive().Runs(), reply);
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
    const auto machine = controller_->FindMade(request->config_path());
    if (!machine.ok()) return ToGrpc(machine.status());
    return Tell((*machine)->archive().Cancel(), reply);
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

  bool Idle() const override { return calls_ == 0 && controller_->machines() == 0; }

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

}  // namespace

std::unique_ptr<ControlService> MakeControlService(Controller* controller,
                                                   std::function<void()> on_stop) {
  return std::make_unique<AnsweringService>(controller, std::move(on_stop));
}

}  // namespace rum
