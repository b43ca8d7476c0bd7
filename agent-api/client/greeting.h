#ifndef RUM_AGENT_API_CLIENT_GREETING_H_
#define RUM_AGENT_API_CLIENT_GREETING_H_

#include <cstdint>
#include <functional>
#include <string>

#include "agent-api/agent.grpc.pb.h"
#include "agent-api/client/guest_agent.h"

namespace rum {

// What a session begins with: host and agent see who the other is (agent-api/protocol.h).
struct Greeting {
  enum Outcome {
    kServe,     // the session is good
    kReplaced,  // another agent is about to begin the next session
    kRefused,   // the two do not understand each other, or no agent is there: `text` says so
    kLost,      // no answer
  };
  Outcome outcome = kLost;
  uint32_t protocol = 0;  // the agent's
  std::string build_id;   // the agent's
  std::string text;       // kServe: why an agent that is not our own goes on; empty: it is
};

// `program`: the agent to have in the guest. `stream_secret`: told to
// the agent (agent-api/forward/stream_secret.h). `in_vain`: whether an agent of that build is left
// alone, because such a one came back although it had been replaced, or because one after the other
// was.
Greeting Greet(agent::Agent::Stub* stub, const AgentProgram& program,
               const std::string& stream_secret,
               const std::function<bool(const std::string& build_id)>& in_vain);

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_GREETING_H_
