#include "agent-api/guest/service.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/agent.grpc.pb.h"
#include "agent-api/budget.h"
#include "agent-api/build_id.h"
#include "agent-api/channel/socket_io.h"
#include "agent-api/forward/loopback.h"
#include "agent-api/guest/authorized_keys.h"
#include "agent-api/guest/calls.h"
#include "agent-api/guest/card_setup.h"
#include "agent-api/guest/cards.h"
#include "agent-api/guest/changes.h"
#include "agent-api/guest/cpus.h"
#include "agent-api/guest/drives.h"
#include "agent-api/guest/exec.h"
#include "agent-api/guest/files.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/host_keys.h"
#include "agent-api/guest/hostname.h"
#include "agent-api/guest/hosts_file.h"
#include "agent-api/guest/memory.h"
#include "agent-api/guest/mount_users.h"
#include "agent-api/guest/setting.h"
#include "agent-api/guest/shares.h"
#include "agent-api/guest/staged_program.h"
#include "agent-api/guest/storage.h"
#include "agent-api/guest/text_file.h"
#include "agent-api/guest/timezone.h"
#include "agent-api/guest/told.h"
#include "agent-api/protocol.h"
#include "agent-api/threads.h"

namespace rum::guest {
namespace {

constexpr size_t kMostPiece = 32 * 1024;
// Commands of a session that is over are killed within a moment.
constexpr std::chrono::seconds kCallsEnd{5};
// How soon the end of a session is noticed by a stream that has nothing to say.
constexpr std::chrono::seconds kLookForHost{10};
// How long a thread waits for a call until it looks whether it is one too many.
constexpr int kHourMs = 3'600'000;

const std::vector<Setting>& Settings() {
  static const auto* const settings = new std::vector<Setting>{TimezoneSetting()};
  return *settings;
}

std::vector<std::string> FilesOfSettings() {
  std::vector<std::string> files;
  for (const Setting& setting : Settings()) {
    files.insert(files.end(), setting.files.begin(), setting.files.end());
  }
  return files;
}

// Of a file in the guest that could not be read or written, or is held: whoever uses the guest may
// have cured it by the next try. Unavailable is gRPC's word for a connection that was lost.
absl::Status Curable(const absl::Status& status) {
  const bool curable = absl::IsInternal(status) || absl::IsUnavailable(status) ||
                       absl::IsNotFound(status);  // a table that is gone
  return curable ? absl::AbortedError(status.message()) : status;
}

// Of a reason, a host takes in so much.
grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message().substr(0, kMostReasonBytes)));
}

// Connected to the port on 127.0.0.1, else on ::1; -1 with errno.
int ConnectLocally(uint16_t port) {
  LoopbackConnect attempt(port);
  for (int fd = attempt.Next(); fd >= 0; fd = attempt.Next()) {
    pollfd connected{fd, POLLOUT, 0};
    while (poll(&connected, 1, -1) < 0 && errno == EINTR) {
    }
    const int error = LoopbackConnect::Outcome(fd);
    if (error == 0) {
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
      return fd;
    }
    close(fd);
    attempt.Failed(error);
  }
  errno = attempt.error();
  return -1;
}

bool HungUp(int fd) {
  pollfd ask{fd, 0, 0};
  return poll(&ask, 1, 0) == 1 && (ask.revents & POLLHUP) != 0;
}

class Service final : public agent::Agent::Service {
 public:
  Service(Scripts* scripts, AgentProgram program, ToldSecret* secret, int replaced)
      : scripts_(scripts),
        secret_(secret),
        program_(std::move(program)),
        build_id_(BuildIdOf("/proc/self/exe")),
        replaced_(replaced),
        changes_([this](const auto& request) { return Look(request); }, FilesOfSettings()) {
    scripts_->OnEnd([this] { changes_.Notice(); });
  }

  grpc::Status Observe(grpc::ServerContext*, const agent::ObserveRequest* request,
                       agent::Observation* reply) override {
    if (request->stream_secret().size() == kStreamSecretSize) {
      secret_->Set(request->stream_secret());
    }
    *reply = Look(*request);
    changes_.Told(*request, *reply);
    return grpc::Status::OK;
  }

  grpc::Status Watch(grpc::ServerContext* context, const agent::WatchRequest*,
                     grpc::ServerWriter<agent::Changed>* writer) override {
    uint64_t seen = changes_.count();
    // What changed before this stream began is not in it: so it begins with a reason to look.
    agent::Changed change;
    while (writer->Write(change)) {
      while (!changes_.Next(kLookForHost, &seen, &change)) {
        if (context->IsCancelled()) return grpc::Status::OK;
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status SetHostname(grpc::ServerContext*, const agent::SetHostnameRequest* request,
                           agent::SetHostnameReply*) override {
    return ToGrpc(Curable(guest::SetHostname(request->hostname())));
  }

  grpc::Status SetResources(grpc::ServerContext*, const agent::SetResourcesRequest* request,
                            agent::SetResourcesReply*) override {
    if (program_.system.empty())
      return ToGrpc(absl::UnimplementedError("this agent does not set CPUs and memory"));
    absl::Status status = BringMemoryOnline(program_.system);
    if (request->cpus() > 0) status.Update(SetOnlineCpus(program_.system, request->cpus()));
    return ToGrpc(Curable(status));
  }

  grpc::Status Set(grpc::ServerContext*, const agent::SetRequest* request,
                   agent::SetReply*) override {
    absl::Status status;
    for (const Setting& setting : Settings()) status.Update(setting.set(request->settings()));
    return ToGrpc(Curable(status));
  }

  grpc::Status SetGroups(grpc::ServerContext*, const agent::SetGroupsRequest* request,
                         agent::SetGroupsReply*) override {
    return ToGrpc(
        Curable(guest::SetGroups(request->user(), {request->add().begin(), request->add().end()},
                                 {request->remove().begin(), request->remove().end()})));
  }

  grpc::Status SetAuthorizedKeys(grpc::ServerContext*,
                                 const agent::SetAuthorizedKeysRequest* request,
                                 agent::SetAuthorizedKeysReply*) override {
    return ToGrpc(Curable(
        guest::SetAuthorizedKeys(request->user(), {request->add().begin(), request->add().end()},
                                 {request->remove().begin(), request->remove().end()})));
  }

  grpc::Status SetStorage(grpc::ServerContext*, const agent::SetStorageRequest* request,
                          agent::SetStorageReply* reply) override {
    const Calls::One call(&calls_);
    absl::Status done;
    DropLostShares({request->lost_shares().begin(), request->lost_shares().end()});
    const absl::Status kept = scripts_->Keep("drives", [&](std::string* output) {
      const auto states =
          guest::SetStorage({request->volumes().begin(), request->volumes().end()}, changes_.User(),
                            {request->arriving_shares().begin(), request->arriving_shares().end()},
                            reply->mutable_stale_problem());
      done = Curable(states.status());
      if (!done.ok()) return *output = absl::StrCat(done.message(), "\n"), 1;
      int failed = 0;
      for (const agent::VolumeState& state : *states) {
        *reply->add_volumes() = state;
        if (!state.holds()) failed = 1;
        absl::StrAppend(output, state.target(), ": ", state.holds() ? "mounted" : state.problem(),
                        "\n");
      }
      return failed;
    });
    if (done.ok() && kept.ok()) {
      const auto& wishes = request->drives();
      for (const agent::DriveState& state : SetDrives({wishes.begin(), wishes.end()})) {
        *reply->add_drives() = state;
      }
    }
    const auto& leaving = request->leaving_shares();
    *reply->mutable_shares() = ObserveShares({leaving.begin(), leaving.end()});
    FitToBudget(reply);
    return ToGrpc(done.ok() ? kept : done);
  }

  grpc::Status SetCards(grpc::ServerContext*, const agent::SetCardsRequest* request,
                        agent::SetCardsReply*) override {
    if (program_.system.empty())
      return ToGrpc(absl::UnimplementedError("this agent sets up no network cards"));
    const Calls::One call(&calls_);
    return ToGrpc(Curable(card_setup_.Set({request->macs().begin(), request->macs().end()},
                                          {request->awaited().begin(), request->awaited().end()})));
  }

  grpc::Status RunScript(grpc::ServerContext* context, const agent::RunScriptRequest* request,
                         grpc::ServerWriter<agent::RunScriptEvent>* writer) override {
    return ToGrpc(scripts_->Run(*request, SinkOf(context, writer),
                                [context] { return context->IsCancelled(); }));
  }

  grpc::Status FollowRun(grpc::ServerContext* context, const agent::FollowRunRequest* request,
                         grpc::ServerWriter<agent::RunScriptEvent>* writer) override {
    return ToGrpc(scripts_->Follow(request->run_id(), request->offset(), SinkOf(context, writer),
                                   [context] { return context->IsCancelled(); }));
  }

  grpc::Status CancelRun(grpc::ServerContext*, const agent::CancelRunRequest* request,
                         agent::CancelRunReply*) override {
    return ToGrpc(scripts_->Cancel(request->run_id()));
  }

  grpc::Status SetBootScript(grpc::ServerContext*, const agent::SetBootScriptRequest* request,
                             agent::SetBootScriptReply*) override {
    return ToGrpc(scripts_->SetBootScript(*request));
  }

  grpc::Status Exec(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<agent::ExecOutput, agent::ExecInput>* stream) override {
    const Calls::One call(&calls_);
    return ToGrpc(
        guest::Exec([&](agent::ExecInput* input) { return stream->Read(input); },
                    [&](const agent::ExecOutput& output) { return stream->Write(output); },
                    [&] { return context->IsCancelled(); }));
  }

  grpc::Status Copy(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<agent::CopyMessage, agent::CopyMessage>* stream) override {
    const Calls::One call(&calls_);
    guest::Copy([&](agent::CopyMessage* message) { return stream->Read(message); },
                [&](const agent::CopyMessage& message) { return stream->Write(message); });
    return grpc::Status::OK;
  }

  grpc::Status Forward(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<agent::ForwardChunk, agent::ForwardChunk>* stream) override {
    agent::ForwardChunk chunk;
    if (!stream->Read(&chunk) || chunk.port() < 1 || chunk.port() > 65535) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "the first message must name a port"};
    }
    const int fd = ConnectLocally(static_cast<uint16_t>(chunk.port()));
    if (fd < 0) {
      return {grpc::StatusCode::FAILED_PRECONDITION,
              absl::StrCat("port ", chunk.port(), ": ", std::strerror(errno))};
    }
    stream->Write(agent::ForwardChunk());  // connected
    Ends ends;
    absl::StatusOr<std::thread> sender =
        StartThread([&] { SendToHost(fd, &ends, context, stream); });
    if (!sender.ok()) {
      close(fd);
      return ToGrpc(Curable(sender.status()));
    }
    while (stream->Read(&chunk)) {
      if (!SendAll(fd, chunk.data())) {
        context->TryCancel();  // reset by the guest's side
        break;
      }
      if (chunk.end()) ends.of_host = true, shutdown(fd, SHUT_WR);
    }
    if (!ends.of_host || !ends.of_guest) {
      // It broke: close() resets it, not as if all had been said. Until then only our reader is
      // woken, for a closed sending side would tell the server a clean end.
      linger reset{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      shutdown(fd, SHUT_RD);
    }
    sender->join();
    close(fd);
    return grpc::Status::OK;
  }

  grpc::Status ReadHostKeys(grpc::ServerContext*, const agent::ReadHostKeysRequest*,
                            agent::ReadHostKeysReply* reply) override {
    for (const std::string& key : HostKeysIn("/etc/ssh")) {
      if (key.size() <= kMostKeyBytes && reply->keys_size() < kMostHostKeys) reply->add_keys(key);
    }
    return grpc::Status::OK;
  }

  grpc::Status Upgrade(grpc::ServerContext*, grpc::ServerReader<agent::UpgradeChunk>* reader,
                       agent::UpgradeReply*) override {
    StagedProgram staged(program_.path);
    agent::UpgradeChunk chunk;
    absl::Status status;
    while (status.ok() && reader->Read(&chunk)) status = staged.Take(chunk);
    if (status.ok() && !calls_.WaitUntilNone(kCallsEnd))
      status = absl::UnavailableError("the agent is busy (a filesystem is being made?)");
    if (status.ok()) status = staged.Replace();
    if (status.ok()) eventfd_write(replaced_, 1);
    return ToGrpc(status);
  }

 private:
  static Scripts::Sink SinkOf(grpc::ServerContext* context,
                              grpc::ServerWriter<agent::RunScriptEvent>* writer) {
    return [context, writer](const agent::RunScriptEvent& event) {
      return !context->IsCancelled() && writer->Write(event);
    };
  }

  agent::Observation Look(const agent::ObserveRequest& request) {
    agent::Observation seen;
    utsname names{};
    uname(&names);
    seen.set_agent_version(program_.version);
    seen.set_protocol(kProtocol);
    seen.set_oldest_protocol(kOldestHost);
    seen.set_build_id(build_id_);
    seen.set_boot_id(BootId());
    seen.set_hostname(names.nodename);
    seen.set_static_hostname(StaticHostname());
    seen.set_hosts_lack_name(!seen.static_hostname().empty() &&
                             !NamesHost(ReadFile("/etc/hosts"), seen.static_hostname()));
    const std::optional<Account> user = FindAccount(request.user());
    seen.set_user_exists(user.has_value());
    for (const std::string& group : GroupsOf(request.user())) seen.add_groups(group);
    for (const agent::ScriptRun& run : scripts_->Runs()) *seen.add_runs() = run;
    if (user.has_value())
      for (const std::string& key : AuthorizedKeysOf(*user)) seen.add_authorized_keys(key);
    const std::vector<agent::Card> cards = cards_.Now();
    for (const agent::Card& card : cards) *seen.add_cards() = card;
    LookAtCards({request.cards().begin(), request.cards().end()}, cards, &seen);
    const std::vector<agent::Volume> volumes(request.volumes().begin(), request.volumes().end());
    for (const agent::VolumeState& state : ObserveStorage(volumes, request.user()))
      *seen.add_volumes() = state;
    for (const std::string& target : StaleTargets(volumes)) {
      seen.add_stale_targets(target);
      const std::string users = KeptMountedBy(target);
      if (users.empty()) continue;
      seen.add_stale_users()->set_target(target);
      seen.mutable_stale_users()->rbegin()->set_users(users);
    }
    for (const agent::DriveState& drive :
         ObserveDrives({request.leaving().begin(), request.leaving().end()})) {
      *seen.add_drives() = drive;
    }
    const auto& leaving = request.leaving_shares();
    *seen.mutable_shares() = ObserveShares({leaving.begin(), leaving.end()});
    for (const Setting& setting : Settings()) setting.look(seen.mutable_settings());
    const agent::Resources resources = ResourcesNow();
    if (resources.cpus() > 0) *seen.mutable_resources() = resources;
    seen.set_boot_script_hash(scripts_->BootScriptHash());
    FitToBudget(request, &seen);
    return seen;
  }

  void LookAtCards(const std::vector<std::string>& macs, const std::vector<agent::Card>& cards,
                   agent::Observation* seen) const {
    if (program_.system.empty()) return;
    seen->set_sets_up_cards(true);
    for (const agent::CardState& state : card_setup_.Look(macs, cards))
      *seen->add_card_states() = state;
    for (const std::string& mac : card_setup_.Stale(macs)) seen->add_stale_cards(mac);
  }

  agent::Resources ResourcesNow() const {
    agent::Resources resources;
    if (program_.system.empty()) return resources;
    const MemoryUse memory = ReadMemoryUse("/proc/meminfo");
    const CpuCount cpus = CountCpus(program_.system);
    resources.set_cpus(cpus.online);
    resources.set_cpus_there(cpus.there);
    resources.set_memory_kib(memory.total);
    resources.set_available_kib(memory.available);
    resources.set_offline_kib(OfflineMemoryKib(program_.system));
    return resources;
  }

  // Which directions of a forward are over, with all said.
  struct Ends {
    std::atomic<bool> of_host = false;
    std::atomic<bool> of_guest = false;
  };

  static void SendToHost(
      int fd, Ends* ends, grpc::ServerContext* context,
      grpc::ServerReaderWriter<agent::ForwardChunk, agent::ForwardChunk>* stream) {
    std::string buffer(kMostPiece, '\0');
    agent::ForwardChunk chunk;
    for (;;) {
      const ssize_t n = read(fd, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      // Reset by the guest's side. When sending met the error first, there is only a hang-up left
      // of it, which is no such sign after our own end.
      if (n < 0 || (n == 0 && !ends->of_host && HungUp(fd))) return context->TryCancel();
      if (n == 0) break;
      chunk.set_data(buffer.data(), static_cast<size_t>(n));
      if (!stream->Write(chunk)) return;
    }
    ends->of_guest = true;
    chunk.clear_data();
    chunk.set_end(true);
    stream->Write(chunk);
  }

  Scripts* const scripts_;
  ToldSecret* const secret_;
  const AgentProgram program_;
  const std::string build_id_;
  const int replaced_;
  Calls calls_;
  Cards cards_;
  CardSetup card_setup_;
  Changes changes_;
};

}  // namespace

struct AgentServer::Parts {
  Parts(Scripts* scripts, const AgentProgram& program, ToldSecret* secret)
      : replaced(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        service(scripts, program, secret, replaced) {}
  ~Parts() { close(replaced); }
  const int replaced;
  Service service;
  std::unique_ptr<grpc::Server> server;
};

AgentServer::AgentServer(Scripts* scripts, const AgentProgram& program, ToldSecret* secret)
    : parts_(std::make_unique<Parts>(scripts, program, secret)) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&parts_->service);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  // A few threads stay, for the next calls.
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 4);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::CQ_TIMEOUT_MSEC, kHourMs);
  parts_->server = builder.BuildAndStart();
}

AgentServer::~AgentServer() = default;

int AgentServer::replaced() const { return parts_->replaced; }

void AgentServer::Serve(int socket) {
  grpc::AddInsecureChannelFromFd(parts_->server.get(), socket);
}

}  // namespace rum::guest
