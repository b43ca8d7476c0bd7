#ifndef RUM_AGENT_API_GUEST_SERVICE_H_
#define RUM_AGENT_API_GUEST_SERVICE_H_

#include <memory>
#include <string>

#include "agent-api/guest/scripts.h"

namespace rum::guest {

inline constexpr char kAgentVersion[] = "0.1.0";

// The gRPC server of the agent: one for all sessions.
class AgentServer {
 public:
  explicit AgentServer(Scripts* scripts);
  ~AgentServer();
  // Serves one session on a connected non-blocking socket, which it owns from now on.
  void Serve(int socket);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SERVICE_H_
