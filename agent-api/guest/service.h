#ifndef RUM_AGENT_API_GUEST_SERVICE_H_
#define RUM_AGENT_API_GUEST_SERVICE_H_

#include <memory>
#include <string>

#include "agent-api/forward/stream_secret.h"
#include "agent-api/guest/scripts.h"

namespace rum::guest {

struct AgentProgram {
  std::string path;  // of the running agent, which an Upgrade replaces
  std::string version;
  std::string system;  // the kernel's folder of CPUs and memory; empty: they are not the agent's
};

// The gRPC server of the agent: one for all sessions.
class AgentServer {
 public:
  // `secret` gets what hosts tell.
  AgentServer(Scripts* scripts, const AgentProgram& program, ToldSecret* secret);
  ~AgentServer();
  // Serves one session on a connected non-blocking socket, which it owns from now on.
  void Serve(int socket);
  // Readable: the program has been replaced and is to be started in place of this one.
  int replaced() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_SERVICE_H_
