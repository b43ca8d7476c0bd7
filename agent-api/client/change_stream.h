#ifndef RUM_AGENT_API_CLIENT_CHANGE_STREAM_H_
#define RUM_AGENT_API_CLIENT_CHANGE_STREAM_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <thread>

#include "agent-api/agent.grpc.pb.h"

namespace rum {

// Listens to what a guest tells by itself, for as long as the session of `stub` lasts; an agent
// that is too old to tell anything is no error. `on_change` is called on a thread of its own, which
// ends with this.
class ChangeStream {
 public:
  ChangeStream(agent::Agent::Stub* stub, std::function<void(const agent::Changed&)> on_change);
  ~ChangeStream();
  ChangeStream(const ChangeStream&) = delete;
  ChangeStream& operator=(const ChangeStream&) = delete;

  // The guest tells: it has begun to, and has not stopped.
  bool open() const { return open_; }

 private:
  std::atomic<bool> open_ = false;
  grpc::ClientContext context_;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_CHANGE_STREAM_H_
