#include "agent-api/client/guest_agent.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "agent-api/agent.grpc.pb.h"
#include "agent-api/channel/host_link.h"
#include "agent-api/channel/pump.h"
#include "agent-api/client/change_stream.h"
#include "agent-api/client/greeting.h"
#include "agent-api/client/rpc_status.h"
#include "agent-api/client/stream_forwards.h"

namespace rum {
namespace {

using agent::Agent;

constexpr auto kUnaryDeadline = std::chrono::seconds(10);
constexpr auto kStorageDeadline = std::chrono::minutes(30);  // terabytes on an emulated CPU
constexpr auto kReplacement = std::chrono::seconds(20);      // until the next agent is heard of
constexpr auto kFirstBackOff = std::chrono::milliseconds(50);
// A session may break while a replacement is on its way.
constexpr int kMostReplacements = 3;
constexpr auto kMostBackOff = std::chrono::milliseconds(2000);

// Everything that lives as long as one session: RPCs that are under way keep it.
struct Session {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<Agent::Stub> stub;
  uint32_t protocol = 0;                  // the agent's
  std::string not_replaced;               // see Observation
  std::unique_ptr<ChangeStream> changes;  // ends before the stub
};

class GrpcGuestAgent : public GuestAgent {
 public:
  GrpcGuestAgent(ChannelOpener open, std::function<void()> on_change, std::string program)
      : open_(std::move(open)),
        on_change_(std::move(on_change)),
        program_(std::move(program)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    link_ = std::thread([this] { KeepLink(); });
    notifier_ = std::thread([this] { Notify(); });
    greeter_ = std::thread([this] { GreetAll(); });
  }

  ~GrpcGuestAgent() override {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      stopping_ = true;
    }
    forwards_.Close();
    const uint64_t one = 1;
    if (write(wake_, &one, sizeof one) < 0) std::abort();  // an eventfd takes a one
    changed_.notify_all();
    link_.join();
    notifier_.join();
    greeter_.join();
    session_.reset();  // its stream's last word takes the lock
    close(wake_);
  }

  absl::Status WaitConnected(absl::Duration timeout) override {
    std::unique_lock<std::mutex> guard(mutex_);
    const bool there = changed_.wait_for(guard, absl::ToChronoMilliseconds(timeout),
                                         [this] { return session_ != nullptr || stopping_; });
    if (there && !stopping_) return absl::OkStatus();
    return absl::DeadlineExceededError(absl::StrCat("the agent did not answer within ",
                                                    absl::FormatDuration(timeout),
                                                    last_error_.empty() ? "" : ": " + last_error_));
  }

  bool Pushes() const override {
    const std::lock_guard<std::mutex> guard(mutex_);
    return session_ != nullptr && session_->changes->open();
  }

  bool Arriving() const override {
    const std::lock_guard<std::mutex> guard(mutex_);
    return session_ == nullptr &&
           (greeted_ != nullptr || std::chrono::steady_clock::now() < replaced_ + kReplacement);
  }

  absl::StatusOr<agent::Observation> Observe(const agent::ObserveRequest& request) override {
    agent::Observation reply;
    const auto session = Current();
    const absl::Status status = Unary(&Agent::Stub::Observe, request, &reply);
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

  absl::StatusOr<agent::SetStorageReply> SetStorage(
      const agent::SetStorageRequest& request) override {
    agent::SetStorageReply reply;
    const absl::Status status = Unary(&Agent::Stub::SetStorage, request, &reply, kStorageDeadline);
    if (!status.ok()) return status;
    return reply;
  }

  absl::StatusOr<agent::ScriptRun> RunScript(
      const agent::RunScriptRequest& request,
      const std::function<void(const agent::RunScriptEvent&)>& output) override {
    const auto session = Current();
    if (session == nullptr) return NoSession();
    grpc::ClientContext context;
    return FollowTo(&context, session->stub->RunScript(&context, request).get(),
                    [&](const agent::RunScriptEvent& event) {
                      if (output) output(event);
                      return true;
                    });
  }

  absl::StatusOr<agent::ScriptRun> FollowRun(
      const agent::FollowRunRequest& request,
      const std::function<bool(const agent::RunScriptEvent&)>& output) override {
    const auto session = Current();
    if (session == nullptr) return NoSession();
    grpc::ClientContext context;
    return FollowTo(&context, session->stub->FollowRun(&context, request).get(), output);
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
    const auto session = Current();
    if (session == nullptr) return NoSession();
    grpc::ClientContext context;
    context.set_initial_metadata_corked(true);  // one message with the start
    const auto stream = session->stub->Exec(&context);
    std::mutex telling;
    std::thread sender([&] {
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
    agent::ExecOutput event;
    bool ended = false;
    while (stream->Read(&event)) {
      ended = ended || event.has_exit_status() || event.has_signal();
      const std::lock_guard<std::mutex> guard(telling);
      output(event);
    }
    if (!ended) {
      const std::lock_guard<std::mutex> guard(telling);
      // The session broke: whoever blocks in next_input learns it as the end of the command.
      agent::ExecOutput lost;
      lost.set_standard_error("rum: the connection to the agent was lost\n");
      output(lost);
      lost.set_exit_status(255);
      output(lost);
    }
    sender.join();
    const grpc::Status status = stream->Finish();
    return ended ? absl::OkStatus() : ToAbsl(status);
  }

  absl::Status Copy(const std::function<bool(agent::CopyMessage*)>& next_input,
                    const std::function<void(const agent::CopyMessage&)>& output) override {
    const auto session = Current();
    if (session == nullptr) return NoSession();
    agent::CopyMessage start;
    if (!next_input(&start)) return absl::CancelledError("nothing to copy");
    if (start.start().resume() && session->protocol < 3) {
      return absl::FailedPreconditionError(
          absl::StrCat("the agent in the guest is of an older rum (protocol ", session->protocol,
                       ") and cannot resume a copy: copy without --resume, or restart the machine, "
                       "which brings it this rum's"));
    }
    grpc::ClientContext context;
    context.set_initial_metadata_corked(true);  // one message with the start
    const auto stream = session->stub->Copy(&context);
    std::thread sender([&] {
      agent::CopyMessage input = std::move(start);
      while (stream->Write(input) && next_input(&input)) {
      }
      stream->WritesDone();
    });
    agent::CopyMessage message;
    bool ended = false;
    while (stream->Read(&message)) {
      ended = ended || message.has_end();
      output(message);
    }
    if (!ended) {  // whoever blocks in next_input must learn it; why, says the status
      message.mutable_end()->set_error("the connection to the agent was lost");
      output(message);
    }
    sender.join();
    const grpc::Status status = stream->Finish();
    return ended ? absl::OkStatus() : ToAbsl(status);
  }

  absl::StatusOr<std::vector<std::string>> ReadHostKeys() override {
    agent::ReadHostKeysReply reply;
    const absl::Status status =
        Unary(&Agent::Stub::ReadHostKeys, agent::ReadHostKeysRequest(), &reply);
    if (!status.ok()) return status;
    return std::vector<std::string>(reply.keys().begin(), reply.keys().end());
  }

  void Dial(uint16_t port, std::function<void(absl::StatusOr<int>)> done) override {
    const auto session = Current();
    if (session == nullptr) return done(NoSession());
    agent::Agent::Stub* const stub = session->stub.get();
    forwards_.Dial(session, stub, port, std::move(done));
  }

 private:
  static absl::StatusOr<agent::ScriptRun> FollowTo(
      grpc::ClientContext* context, grpc::ClientReader<agent::RunScriptEvent>* reader,
      const std::function<bool(const agent::RunScriptEvent&)>& output) {
    agent::ScriptRun run;
    bool ended = false;
    agent::RunScriptEvent event;
    while (reader->Read(&event)) {
      if (event.has_ended()) run = event.ended(), ended = true;
      if (!event.has_ended() && !output(event)) context->TryCancel();
    }
    const grpc::Status status = reader->Finish();
    if (ended) return run;
    if (!status.ok()) return ToAbsl(status);
    return absl::UnavailableError("agent: the run's stream ended without an outcome");
  }

  std::shared_ptr<Session> Current() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return session_;
  }

  absl::Status NoSession() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return absl::UnavailableError(
        absl::StrCat("the agent is not connected", last_error_.empty() ? "" : ": " + last_error_));
  }

  template <typename Request, typename Reply>
  absl::Status Unary(grpc::Status (Agent::Stub::*method)(grpc::ClientContext*, const Request&,
                                                         Reply*),
                     const Request& request, Reply* reply,
                     std::chrono::seconds deadline = kUnaryDeadline) {
    const auto session = Current();
    if (session == nullptr) return NoSession();
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    return ToAbsl((session->stub.get()->*method)(&context, request, reply));
  }

  void KeepLink() {
    auto back_off = kFirstBackOff;
    for (;;) {
      bool worked = false;
      const absl::StatusOr<int> channel = open_();
      if (channel.ok()) {
        fcntl(*channel, F_SETFL, fcntl(*channel, F_GETFL) | O_NONBLOCK);
        worked = ServeHostLink(
            *channel, wake_, [this](int socket) { BeginSession(socket); },
            [this] { EndSession("the session ended"); }, {[this] { return HasCalls(); }});
        close(*channel);
      } else {
        EndSession(std::string(channel.status().message()));
      }
      back_off = worked ? kFirstBackOff : std::min(back_off * 2, kMostBackOff);
      pollfd stop{wake_, POLLIN, 0};
      if (poll(&stop, 1, static_cast<int>(back_off.count())) == 1) return;
    }
  }

  bool HasCalls() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return session_ != nullptr && session_.use_count() > 1;
  }

  void BeginSession(int socket) {
    auto session = std::make_shared<Session>();
    session->channel = grpc::CreateInsecureChannelFromFd("rum-agent", socket);
    session->stub = Agent::NewStub(session->channel);
    const std::lock_guard<std::mutex> guard(mutex_);
    greeted_ = std::move(session);
    changed_.notify_all();
  }

  // Nobody is given a session before it is known who is at its other end.
  void GreetAll() {
    std::map<std::string, int> sent;  // replacements, by the build that was there
    std::unique_lock<std::mutex> guard(mutex_);
    for (;;) {
      changed_.wait(guard, [this] { return stopping_ || greeted_ != nullptr; });
      if (stopping_) return;
      std::shared_ptr<Session> session = greeted_;
      guard.unlock();
      std::string in_vain;
      for (const auto& [build_id, times] : sent) {
        if (times >= kMostReplacements) in_vain = build_id;
      }
      const Greeting greeting = Greet(session->stub.get(), program_, in_vain);
      guard.lock();
      if (greeting.outcome == Greeting::kReplaced) {
        ++sent[greeting.build_id];
        replaced_ = std::chrono::steady_clock::now();
      }
      if (greeted_ != session) continue;  // it is over
      if (greeting.outcome != Greeting::kServe) {
        last_error_ = greeting.text;
        // An agent that does not answer is asked again; the others begin another session.
        if (greeting.outcome != Greeting::kLost) greeted_ = nullptr;
        if (greeting.outcome == Greeting::kLost) changed_.wait_for(guard, kFirstBackOff);
        continue;
      }
      session->protocol = greeting.protocol;
      session->not_replaced = greeting.text;
      session->changes = std::make_unique<ChangeStream>(
          session->stub.get(), [this](const agent::Changed&) { TellChange(); });
      std::shared_ptr<Session> before = std::exchange(session_, std::exchange(greeted_, nullptr));
      last_error_.clear();
      ++changes_;
      changed_.notify_all();
      guard.unlock();  // its stream's last word may wait for the lock
      before.reset();
      session.reset();
      guard.lock();
    }
  }

  void TellChange() {
    const std::lock_guard<std::mutex> guard(mutex_);
    ++changes_;
    changed_.notify_all();
  }

  void EndSession(const std::string& why) {
    std::shared_ptr<Session> ended;  // after the lock
    const std::lock_guard<std::mutex> guard(mutex_);
    last_error_ = why;
    greeted_ = nullptr;
    if (session_ == nullptr) return;
    session_.swap(ended);
    ++changes_;
    changed_.notify_all();
  }

  // A thread of its own, so that a slow observer never holds up the link.
  void Notify() {
    std::unique_lock<std::mutex> guard(mutex_);
    for (int seen = 0;;) {
      changed_.wait(guard, [&] { return stopping_ || changes_ != seen; });
      if (stopping_) return;
      seen = changes_;
      guard.unlock();
      if (on_change_) on_change_();
      guard.lock();
    }
  }

  const ChannelOpener open_;
  const std::function<void()> on_change_;
  const std::string program_;
  const int wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Session> session_;
  std::shared_ptr<Session> greeted_;  // one whose agent is not known yet
  // The last agent, by ours.
  std::chrono::steady_clock::time_point replaced_ = std::chrono::steady_clock::time_point::min();
  std::string last_error_;
  int changes_ = 0;
  bool stopping_ = false;
  StreamForwards forwards_;
  std::thread link_;
  std::thread notifier_;
  std::thread greeter_;
};

}  // namespace

std::unique_ptr<GuestAgent> ConnectGuestAgent(ChannelOpener open, std::function<void()> on_change,
                                              const std::string& program) {
  return std::make_unique<GrpcGuestAgent>(std::move(open), std::move(on_change), program);
}

}  // namespace rum
