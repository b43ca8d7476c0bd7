#ifndef RUM_AGENT_API_PROTOCOL_H_
#define RUM_AGENT_API_PROTOCOL_H_

#include <cstdint>
#include <string>

// How agents and hosts of different builds get on. The rule:
//
// * agent.proto only grows: no field or call changes its meaning or its number. Who gets a field
//   that it does not know passes over it; a call that it does not know is Unimplemented.
// * kProtocol grows by one when a host has to know whether the agent understands something, and the
//   host asks before it uses that (2: Copy, Upgrade, ReadHostKeys, ExecStart.input_window and
//   timeout_ms; 3: CopyStart.resume; 4: ObserveRequest.stream_secret). A setting needs none: that
//   the agent tells it in Observation.settings says that it can be set.
// * A host replaces an older agent, or another build of the same version, at the beginning of a
//   session, before anything else is done in it; one of protocol 1 has no Upgrade and is replaced
//   at the next boot. Until then, or if that fails, it works with what the agent understands, down
//   to kOldestAgent.
// * A newer agent is never replaced by an older one. It says which hosts it still serves
//   (kOldestHost); an older host than that refuses the session and says that rum must be updated.
namespace rum {

inline constexpr uint32_t kProtocol = 4;
inline constexpr uint32_t kOldestAgent = 1;
inline constexpr uint32_t kOldestHost = 1;
inline constexpr uint32_t kTakesStreamSecret = 4;
inline constexpr char kAgentVersion[] = "0.1.0";

struct AgentBuild {
  std::string version;  // numbers with dots between them
  uint32_t protocol = 0;
  uint32_t oldest_protocol = 0;  // of a host; 0: 1
  std::string build_id;          // empty: not known
};

enum class AgentFit {
  kSame,     // the host's own
  kUse,      // another one, that is left as it is
  kReplace,  // older, or another build of the same version
  kRefuse,   // the two do not understand each other
};

// Pure. `own`: the agent that the host would put in its place; without a build id it has none.
AgentFit FitOf(const AgentBuild& agent, const AgentBuild& own);

// How much of a call either end takes in before it is read, by HTTP/2's windows. They do not grow
// by themselves: that the agent's memory is bounded must not hang on how busy its guest is. A call
// then holds so much for each direction, and what is being read and written of it: two messages
// more.
inline constexpr int kWindowBytes = 1 << 20;

}  // namespace rum

#endif  // RUM_AGENT_API_PROTOCOL_H_
