#ifndef RUM_AGENT_API_CLIENT_GUEST_AGENT_H_
#define RUM_AGENT_API_CLIENT_GUEST_AGENT_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent-api/agent.pb.h"

namespace rum {

// One machine's agent as the host sees it. Thread-safe. Unavailable: there is no session now; one
// is being looked for.
class GuestAgent {
 public:
  virtual ~GuestAgent() = default;
  // Blocks until a session is there; DeadlineExceeded when none came in `timeout`.
  virtual absl::Status WaitConnected(absl::Duration timeout) = 0;
  virtual absl::StatusOr<agent::Observation> Observe(const agent::ObserveRequest& request) = 0;
  // Asks the same and does not wait: what it returns waits for the answer, once. Who drops that
  // instead waits for nothing. It must not outlive this. Here nobody is asked before he waits.
  virtual std::function<absl::StatusOr<agent::Observation>()> BeginObserve(
      const agent::ObserveRequest& request);
  virtual absl::Status SetHostname(const std::string& hostname) = 0;
  virtual absl::Status SetGroups(const agent::SetGroupsRequest& request) = 0;
  virtual absl::Status SetAuthorizedKeys(const agent::SetAuthorizedKeysRequest& request) = 0;
  // What Observation.settings tells can be set.
  virtual absl::Status Set(const agent::Settings& settings) = 0;
  // What Observation.resources tells can be set: so many CPUs online (0: as they are), and all
  // memory that is there.
  virtual absl::Status SetResources(const agent::SetResourcesRequest& request) = 0;
  // Makes volumes hold; formatting may take minutes. Returns the states of the volumes in the order
  // of the request, also those that could not be made.
  virtual absl::StatusOr<agent::SetStorageReply> SetStorage(
      const agent::SetStorageRequest& request) = 0;
  // What Observation.sets_up_cards tells can be asked. Waits for cards that are on their way.
  virtual absl::Status SetCards(const agent::SetCardsRequest& request) = 0;
  // `output` gets every chunk of output, from the calling thread; the result is the ended run, also
  // a failed one.
  virtual absl::StatusOr<agent::ScriptRun> RunScript(
      const agent::RunScriptRequest& request,
      const std::function<void(const agent::RunScriptEvent&)>& output) = 0;
  // The same for a run that the guest knows, from an offset of its output on; starts nothing.
  // `output` is called each second at least; false: Cancelled, and the run goes on.
  virtual absl::StatusOr<agent::ScriptRun> FollowRun(
      const agent::FollowRunRequest& request,
      const std::function<bool(const agent::RunScriptEvent&)>& output) = 0;
  // Does not wait for its end, which comes within 10 s.
  virtual absl::Status CancelRun(const std::string& run_id) = 0;
  virtual absl::Status SetBootScript(const agent::SetBootScriptRequest& request) = 0;
  // Runs a command. `next_input` blocks for the next message to send and returns false when there
  // is none left (it is called on a thread of the implementation, which is joined before Exec
  // returns; it must return once `output` has seen the exit). `output` sees every message, the last
  // one with exit_status or signal.
  virtual absl::Status Exec(const std::function<bool(agent::ExecInput*)>& next_input,
                            const std::function<void(const agent::ExecOutput&)>& output) = 0;
  // Copies a tree, in the same manner, but asks for the first message on the calling thread; once
  // it is sent, the last message that `output` sees is an end, which also tells of a session that
  // broke. FailedPrecondition: the agent is too old to resume a copy.
  virtual absl::Status Copy(const std::function<bool(agent::CopyMessage*)>& next_input,
                            const std::function<void(const agent::CopyMessage&)>& output) = 0;
  // The guest's ssh host keys, each as "TYPE DATA"; none: it has no sshd.
  virtual absl::StatusOr<std::vector<std::string>> ReadHostKeys() = 0;
  // Connects to 127.0.0.1, then ::1, `port` in the guest. `done` is called once, on any thread,
  // with a stream socket that the callee owns, or Unavailable (no agent) or FailedPrecondition
  // (refused). Its half-close is the connection's; closing both ways before the other side's end
  // was read resets the connection, and the other way round.
  virtual void Dial(uint16_t port, std::function<void(absl::StatusOr<int>)> done) = 0;
  // The same for the other end of `socket`, a stream socket that is the agent's from now on; what
  // has no such way is Unimplemented.
  virtual void DialOn(uint16_t port, int socket, std::function<void(absl::Status)> done);
  // True: `on_change` is also called when Observe would be answered differently now.
  virtual bool Pushes() const { return false; }
  // No session yet, but an agent that is being asked who it is, or replaced: one is on its way.
  virtual bool Arriving() const { return false; }
  // What streams past the sessions, by vsock, are to prove that they know
  // (agent-api/forward/stream_secret.h); empty: there is no session, or the agent is too old.
  virtual std::string StreamSecret() const { return ""; }
};

// Opens the host's end of the guest channel: a stream socket that the caller owns.
using ChannelOpener = std::function<absl::StatusOr<int>()>;

// The rum-agent that a guest is to have (agent-api/protocol.h).
struct AgentProgram {
  std::string build_id;  // empty: whichever the guest has
  std::function<std::string()> read = nullptr;
};
// `path` empty: none is named.
AgentProgram AgentProgramAt(const std::string& path);

// How it stands with the session.
struct AgentState {
  bool connected = false;
  bool pushes = false;                     // see GuestAgent
  bool greeted = false;                    // an agent is being asked who it is
  std::chrono::milliseconds replacing{0};  // for so long another one is on its way, if none comes
  std::string why;                         // not connected: why, as far as known
  std::string stream_secret;               // see GuestAgent
  uint32_t protocol = 0;                   // the agent's
};

struct GuestAgentParts {
  ChannelOpener open;
  // Called when a session begins or ends and when the guest tells that something changed in it, on
  // a thread of its own. May be empty.
  std::function<void()> on_change;
  // Asked at the beginning of each session. May be empty: whichever the guest has.
  std::function<AgentProgram()> program;
  // Called on the thread of `on_change`, before that, when the state is another one. May be empty.
  std::function<void(const AgentState& state)> on_state;
};

// Keeps a session with the agent behind `open` for as long as it lives: connects, resynchronises
// (channel/frame.h), reconnects with back-off. All that the guest says is parsed in this process:
// the controller has one for each guest (controller/guests).
std::unique_ptr<GuestAgent> ConnectGuestAgent(GuestAgentParts parts);
// `program`: the path of an AgentProgram.
std::unique_ptr<GuestAgent> ConnectGuestAgent(ChannelOpener open, std::function<void()> on_change,
                                              const std::string& program = "");

// FailedPrecondition: an agent of that protocol is too old for it.
absl::Status MayCopy(const agent::CopyStart& start, uint32_t protocol);

// What a command's end is that nobody will tell any more: its last outputs.
void TellLost(const std::function<void(const agent::ExecOutput&)>& output);
// The same of a copy: whoever blocks in next_input must learn it; why, says the status.
void TellLost(const std::function<void(const agent::CopyMessage&)>& output);

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_GUEST_AGENT_H_
