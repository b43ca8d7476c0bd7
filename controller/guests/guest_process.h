#ifndef RUM_CONTROLLER_GUESTS_GUEST_PROCESS_H_
#define RUM_CONTROLLER_GUESTS_GUEST_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/client/guest_agent.h"
#include "controller/guests/channel_opening.h"
#include "controller/guests/pending_calls.h"
#include "controller/guests/process_carrier.h"
#include "controller/guests/process_link.h"

namespace rum {

// One machine's agent, and the ways of its forwards, by a process of their own (zygote.h), which
// parses all that the guest says. What the process says is judged as the guest's own words; one
// that says what no process says is ended. While there is none, there is no session, and another
// one is made.
class GuestProcess : public GuestAgent {
 public:
  // `machine`: its name, for `ps`. `open`, `on_change`, `program`: as of ConnectGuestAgent().
  GuestProcess(std::string machine, ChannelOpener open, std::function<void()> on_change,
               std::string program, ProcessMaker make = SpawnGuestProcess);
  ~GuestProcess() override;  // not on the io thread

  // A way for forwards, in place of the one before. `connect`: gives a socket that is being
  // connected to the guest, as one for each client, or -1 with errno; empty: the machine has no
  // such way. Close() it before this goes.
  std::shared_ptr<ProcessCarrier> Forwards(ChannelOpener open, std::function<int()> connect);
  // Returns the process's; -1: there is none.
  pid_t pid() const { return link_.pid(); }

  absl::Status WaitConnected(absl::Duration timeout) override;
  absl::StatusOr<agent::Observation> Observe(const agent::ObserveRequest& request) override;
  std::function<absl::StatusOr<agent::Observation>()> BeginObserve(
      const agent::ObserveRequest& request) override;
  absl::Status SetHostname(const std::string& hostname) override;
  absl::Status SetGroups(const agent::SetGroupsRequest& request) override;
  absl::Status SetAuthorizedKeys(const agent::SetAuthorizedKeysRequest& request) override;
  absl::StatusOr<agent::SetStorageReply> SetStorage(
      const agent::SetStorageRequest& request) override;
  absl::StatusOr<agent::ScriptRun> RunScript(
      const agent::RunScriptRequest& request,
      const std::function<void(const agent::RunScriptEvent&)>& output) override;
  absl::StatusOr<agent::ScriptRun> FollowRun(
      const agent::FollowRunRequest& request,
      const std::function<bool(const agent::RunScriptEvent&)>& output) override;
  absl::Status CancelRun(const std::string& run_id) override;
  absl::Status Set(const agent::Settings& settings) override;
  absl::Status SetResources(const agent::SetResourcesRequest& request) override;
  absl::Status SetCards(const agent::SetCardsRequest& request) override;
  absl::Status SetBootScript(const agent::SetBootScriptRequest& request) override;
  absl::Status Exec(const std::function<bool(agent::ExecInput*)>& next_input,
                    const std::function<void(const agent::ExecOutput&)>& output) override;
  absl::Status Copy(const std::function<bool(agent::CopyMessage*)>& next_input,
                    const std::function<void(const agent::CopyMessage&)>& output) override;
  absl::StatusOr<std::vector<std::string>> ReadHostKeys() override;
  void Dial(uint16_t port, std::function<void(absl::StatusOr<int>)> done) override;
  bool Pushes() const override;
  bool Arriving() const override;
  std::string StreamSecret() const override;

 private:
  using Clock = std::chrono::steady_clock;
  using Message = google::protobuf::Message;
  struct Dialing {
    Fd socket;
    std::function<void(absl::StatusOr<int>)> done;
  };

  absl::Status Begin();
  absl::Status None() const;
  absl::StatusOr<uint32_t> Protocol() const;  // the agent's, or None()
  // What the process tells; on its link's thread.
  std::vector<guests::ToProcess> FirstWords();
  absl::Status Take(const guests::FromProcess& message);
  absl::Status TakeState(const guests::FromProcess::State& state);
  absl::Status TakeWanted(guests::Channel channel);
  absl::Status TakeOfCarrier(const guests::FromProcess& message);
  void ConnectStream(uint64_t number);
  void Lose(const absl::Status& why);
  void Opened(guests::Channel channel, const absl::StatusOr<int>& opened);
  void Dialed(uint64_t number, const absl::Status& connected);
  void Change();
  void Notify();
  // Calls.
  absl::StatusOr<std::shared_ptr<PendingCall>> Call(guests::Method method, const Message& request);
  absl::Status Unary(guests::Method method, const Message& request, Message* reply,
                     absl::Duration patience);
  absl::Status Await(PendingCall* call, Message* reply, absl::Duration patience);
  absl::StatusOr<agent::Observation> TakeObservation(const agent::ObserveRequest& request,
                                                     PendingCall* call);
  absl::Status Refuse(const absl::Status& said);
  absl::StatusOr<agent::ScriptRun> Follow(
      guests::Method method, const Message& request, const std::string& run_id,
      const std::function<bool(const agent::RunScriptEvent&)>& output);
  void Cancel(const PendingCall& call);
  bool Next(PendingCall* call, std::string* message);
  template <typename Input>
  void SendAll(PendingCall* call, const std::function<bool(Input*)>& next_input);
  template <typename Input, typename Output>
  absl::Status Stream(guests::Method method, const std::function<bool(Input*)>& next_input,
                      const std::function<void(const Output&)>& output,
                      const std::function<bool(const Output&)>& is_end);

  const std::function<void()> on_change_;
  const std::string program_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  guests::FromProcess::State state_;  // as the process told it last
  absl::Status refused_;  // what the user is to know of the last process, until it is mended
  std::string unfit_;     // what it said before it ended, if anything
  Clock::time_point replacing_until_ = Clock::time_point::min();
  std::map<uint64_t, Dialing> dialing_;
  std::shared_ptr<ProcessCarrier> carrier_;  // null: none was asked for
  std::function<int()> connect_;
  int changes_ = 0;
  bool stopping_ = false;
  PendingCalls calls_;
  std::thread notifier_;
  ProcessLink link_;
  // Their answers go by the link.
  ChannelOpening agent_channel_;
  ChannelOpening forward_channel_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_GUEST_PROCESS_H_
