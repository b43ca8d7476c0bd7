#include "agent-api/client/guest_agent.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent-api/agent.grpc.pb.h"
#include "agent-api/channel/socket_io.h"
#include "agent-api/client/agent_sessions.h"
#include "agent-api/client/checked_reply.h"
#include "agent-api/client/rpc_status.h"
#include "agent-api/client/stream_forwards.h"
#include "agent-api/quiet_grpc.h"
#include "agent-api/threads.h"

namespace rum {
namespace {

using agent::Agent;

constexpr auto kUnaryDeadline = std::chrono::seconds(10);
constexpr auto kStorageDeadline = std::chrono::minutes(30);  // terabytes on an emulated CPU
constexpr auto kCardsDeadline =
    std::chrono::minutes(5);  // a network may give no address for a while

class GrpcGuestAgent : public GuestAgent {
 public:
  explicit GrpcGuestAgent(GuestAgentParts parts) : sessions_(std::move(parts)) {}

  ~GrpcGuestAgent() override { forwards_.Close(); }

  absl::Status WaitConnected(absl::Duration timeout) override {
    return sessions_.WaitConnected(timeout);
  }
  bool Pushes() const override { return sessions_.Pushes(); }
  bool Arriving() const override { return sessions_.Arriving(); }
  std::string StreamSecret() const override { return sessions_.StreamSecret(); }

  absl::StatusOr<agent::Observation> Observe(const agent::ObserveRequest& request) override {
    agent::Observation reply;
    const auto session = sessions_.Current();
    absl::Status status = Unary(&Agent::Stub::Observe, request, &reply);
    if (status.ok()) status = CheckReply(request, reply);
    if (!status.ok()) return status;
    if (session != nullptr) reply.set_not_replaced(session->not_replaced);
    return reply;
  }

  absl::Status SetHostname(const std::string& hostname) override {
    agent::SetHostnameRequest request;
    request.set_hostname(hostname);
    agent::SetHostnameReply reply;
    return Unary(&Agent::Stub::SetHostname, request, &reply);
  }

  absl::Status SetGroups(const agent::SetGroupsRequest& request) override {
    agent::SetGroupsReply reply;
    return Unary(&Agent::Stub::SetGroups, request, &reply);
  }

  absl::Status SetAuthorizedKeys(const agent::SetAuthorizedKeysRequest& request) override {
    agent::SetAuthorizedKeysReply reply;
    return Unary(&Agent::Stub::SetAuthorizedKeys, request, &reply);
  }

  absl::Status Set(const agent::Settings& settings) override {
    agent::SetRequest request;
    *request.mutable_settings() = settings;
    agent::SetReply reply;
    return Unary(&Agent::Stub::Set, request, &reply);
  }

  absl::Status SetResources(const agent::SetResourcesRequest& request) override {
    agent::SetResourcesReply reply;
    return Unary(&Agent::Stub::SetResources, request, &reply);
  }

  absl::StatusOr<agent::SetStorageReply> SetStorage(
      const agent::SetStorageRequest& request) override {
    agent::SetStorageReply reply;
    absl::Status status = Unary(&Agent::Stub::SetStorage, request, &reply, kStorageDeadline);
    if (status.ok()) status = CheckReply(request, reply);
    if (!status.ok()) return status;
    return reply;
  }

  absl::Status SetCards(const agent::SetCardsRequest& request) override {
    agent::SetCardsReply reply;
    return Unary(&Agent::Stub::SetCards, request, &reply, kCardsDeadline);
  }

  absl::StatusOr<agent::ScriptRun> RunScript(
      const agent::RunScriptRequest& request,
      const std::function<void(const agent::RunScriptEvent&)>& output) override {
    const auto session = sessions_.Current();
    if (session == nullptr) return sessions_.None();
    grpc::ClientContext context;
    return FollowTo(request.run_id(), &context, session->stub->RunScript(&context, request).get(),
                    [&](const agent::RunScriptEvent& event) {
                      if (output) output(event);
                      return true;
                    });
  }

  absl::StatusOr<agent::ScriptRun> FollowRun(
      const agent::FollowRunRequest& request,
      const std::function<bool(const agent::RunScriptEvent&)>& output) override {
    const auto session = sessions_.Current();
    if (session == nullptr) return sessions_.None();
    grpc::ClientContext context;
    return FollowTo(request.run_id(), &context, session->stub->FollowRun(&context, request).get(),
                    output);
  }

  absl::Status CancelRun(const std::string& run_id) override {
    agent::CancelRunRequest request;
    request.set_run_id(run_id);
    agent::CancelRunReply reply;
    return Unary(&Agent::Stub::CancelRun, request, &reply);
  }

  absl::Status SetBootScript(const agent::SetBootScriptRequest& request) override {
    agent::SetBootScriptReply reply;
    return Unary(&Agent::Stub::SetBootScript, request, &reply);
  }

  absl::Status Exec(const std::function<bool(agent::ExecInput*)>& next_input,
                    const std::function<void(const agent::ExecOutput&)>& output) override {
    const auto session = sessions_.Current();
    if (session == nullptr) return sessions_.None();
    grpc::ClientContext context;
    context.set_initial_metadata_corked(true);  // one message with the start
    const auto stream = session->stub->Exec(&context);
    std::mutex telling;
    absl::StatusOr<std::thread> sender = StartThread([&] {
      agent::ExecInput input;
      agent::ExecOutput taken;
      while (next_input(&input) && stream->Write(input)) {
        // An agent that does not count input takes it when the stream does.
        if (session->protocol < 2 && input.has_standard_input()) {
          taken.set_input_taken(taken.input_taken() + input.standard_input().size());
          const std::lock_guard<std::mutex> guard(telling);
          output(taken);
        }
        input.Clear();
      }
      stream->WritesDone();
    });
    if (!sender.ok()) {
      context.TryCancel();
      stream->Finish();
      return sender.status();
    }
    agent::ExecOutput event;
    bool ended = false;
    while (stream->Read(&event)) {
      ended = ended || event.has_exit_status() || event.has_signal();
      const std::lock_guard<std::mutex> guard(telling);
      output(event);
    }
    if (!ended) {
      const std::lock_guard<std::mutex> guard(telling);
      TellLost(output);
    }
    sender->join();
    const grpc::Status status = stream->Finish();
    return ended ? absl::OkStatus() : ToAbsl(status);
  }

  absl::Status Copy(const std::function<bool(agent::CopyMessage*)>& next_input,
                    const std::function<void(const agent::CopyMessage&)>& output) override {
    const auto session = sessions_.Current();
    if (session == nullptr) return sessions_.None();
    agent::CopyMessage start;
    if (!next_input(&start)) return absl::CancelledError("nothing to copy");
    if (absl::Status may = MayCopy(start.start(), session->protocol); !may.ok()) return may;
    grpc::ClientContext context;
    context.set_initial_metadata_corked(true);  // one message with the start
    const auto stream = session->stub->Copy(&context);
    absl::StatusOr<std::thread> sender = StartThread([&] {
      agent::CopyMessage input = std::move(start);
      while (stream->Write(input) && next_input(&input)) {
      }
      stream->WritesDone();
    });
    if (!sender.ok()) {
      context.TryCancel();
      stream->Finish();
      return sender.status();
    }
    agent::CopyMessage message;
    bool ended = false;
    while (stream->Read(&message)) {
      ended = ended || message.has_end();
      output(message);
    }
    if (!ended) TellLost(output);
    sender->join();
    const grpc::Status status = stream->Finish();
    return ended ? absl::OkStatus() : ToAbsl(status);
  }

  absl::StatusOr<std::vector<std::string>> ReadHostKeys() override {
    agent::ReadHostKeysReply reply;
    const agent::ReadHostKeysRequest request;
    absl::Status status = Unary(&Agent::Stub::ReadHostKeys, request, &reply);
    if (status.ok()) status = CheckReply(request, reply);
    if (!status.ok()) return status;
    return std::vector<std::string>(reply.keys().begin(), reply.keys().end());
  }

  void Dial(uint16_t port, std::function<void(absl::StatusOr<int>)> done) override {
    int ours = -1;
    int theirs = -1;
    if (!SocketPair(&ours, &theirs)) {
      return done(absl::ResourceExhaustedError(absl::StrCat("socketpair: ", strerror(errno))));
    }
    DialOn(port, ours, [theirs, done = std::move(done)](const absl::Status& connected) {
      if (connected.ok()) return done(theirs);
      close(theirs);
      done(connected);
    });
  }

  void DialOn(uint16_t port, int socket, std::function<void(absl::Status)> done) override {
    const auto session = sessions_.Current();
    if (session == nullptr) {
      close(socket);
      return done(sessions_.None());
    }
    agent::Agent::Stub* const stub = session->stub.get();
    forwards_.Dial(session, stub, port, socket, done);
  }

 private:
  static absl::StatusOr<agent::ScriptRun> FollowTo(
      const std::string& run_id, grpc::ClientContext* context,
      grpc::ClientReader<agent::RunScriptEvent>* reader,
      const std::function<bool(const agent::RunScriptEvent&)>& output) {
    agent::ScriptRun run;
    bool ended = false;
    bool given_up = false;
    agent::RunScriptEvent event;
    RunEvents events(run_id);
    absl::Status said;
    while (said.ok() && reader->Read(&event)) {
      said = events.Check(event);
      if (!said.ok()) {
        context->TryCancel();
        break;
      }
      event.DiscardUnknownFields();
      if (event.has_ended()) run = event.ended(), ended = true;
      if (event.has_ended() || given_up || output(event)) continue;
      given_up = true;
      context->TryCancel();
    }
    const grpc::Status status = reader->Finish();
    if (!said.ok()) return said;
    // Its end may have been on its way already.
    if (given_up) return absl::CancelledError("the call to the agent in the guest was given up");
    if (ended) return run;
    if (!status.ok()) return ToAbsl(status);
    return absl::UnavailableError("agent: the run's stream ended without an outcome");
  }

  template <typename Request, typename Reply>
  absl::Status Unary(grpc::Status (Agent::Stub::*method)(grpc::ClientContext*, const Request&,
                                                         Reply*),
                     const Request& request, Reply* reply,
                     std::chrono::seconds patience = kUnaryDeadline) {
    const auto session = sessions_.Current();
    if (session == nullptr) return sessions_.None();
    grpc::ClientContext context;
    const CallDeadline deadline(&context, patience);
    const absl::Status status = ToAbsl((session->stub.get()->*method)(&context, request, reply));
    if (!status.ok()) return status;
    const absl::Status said = CheckAnswer(*reply);
    reply->DiscardUnknownFields();  // a newer agent's, which nobody here looks at
    return said;
  }

  // The forwards hold sessions, and so end first.
  AgentSessions sessions_;
  StreamForwards forwards_;
};

}  // namespace

std::unique_ptr<GuestAgent> ConnectGuestAgent(GuestAgentParts parts) {
  return std::make_unique<GrpcGuestAgent>(std::move(parts));
}

std::unique_ptr<GuestAgent> ConnectGuestAgent(ChannelOpener open, std::function<void()> on_change,
                                              const std::string& program) {
  return ConnectGuestAgent({std::move(open), std::move(on_change),
                            [program] { return AgentProgramAt(program); }, nullptr});
}

}  // namespace rum
