#ifndef RUM_AGENT_API_CLIENT_AGENT_SESSIONS_H_
#define RUM_AGENT_API_CLIENT_AGENT_SESSIONS_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent-api/agent.grpc.pb.h"
#include "agent-api/client/change_stream.h"
#include "agent-api/client/guest_agent.h"

namespace rum {

// Everything that lives as long as one session: RPCs that are under way keep it.
struct AgentSession {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<agent::Agent::Stub> stub;
  uint32_t protocol = 0;                  // the agent's
  std::string not_replaced;               // see Observation
  std::unique_ptr<ChangeStream> changes;  // ends before the stub
};

// Keeps a session with the agent over a channel that comes and goes, and sees to it that the agent
// is the right one. Thread-safe.
class AgentSessions {
 public:
  explicit AgentSessions(GuestAgentParts parts);
  ~AgentSessions();
  AgentSessions(const AgentSessions&) = delete;
  AgentSessions& operator=(const AgentSessions&) = delete;

  std::shared_ptr<AgentSession> Current();  // nullptr: none
  absl::Status None() const;                // why there is none
  // Do what GuestAgent says.
  absl::Status WaitConnected(absl::Duration timeout);
  bool Pushes() const;
  bool Arriving() const;
  std::string StreamSecret() const;

 private:
  void Begin();
  bool BeginThread(std::thread* thread, void (AgentSessions::*work)());
  void KeepLink();
  bool HasCalls() const;
  void BeginSession(int socket);
  void GreetAll();
  void TellChange();
  void EndSession(const std::string& why);
  void Notify();
  AgentState State() const;

  const GuestAgentParts parts_;
  const std::string stream_secret_;
  int wake_ = -1;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::shared_ptr<AgentSession> session_;
  std::shared_ptr<AgentSession> greeted_;  // one whose agent is not known yet
  std::shared_ptr<AgentSession> refused_;  // one that nobody is given
  // The last agent, by ours.
  std::chrono::steady_clock::time_point replaced_ = std::chrono::steady_clock::time_point::min();
  std::string last_error_;
  int changes_ = 0;  // that parts_.on_change is told of
  int states_ = 0;   // and parts_.on_state
  bool stopping_ = false;
  std::thread link_;
  std::thread notifier_;
  std::thread greeter_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_AGENT_SESSIONS_H_
