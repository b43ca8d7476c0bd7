#ifndef RUM_AGENT_API_CLIENT_CHANGE_STREAM_H_
#define RUM_AGENT_API_CLIENT_CHANGE_STREAM_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "agent-api/agent.grpc.pb.h"

namespace rum {

// Listens to what a guest tells by itself, for as long as the session of `stub` lasts; an agent
// that is too old to tell anything is no error, nor is it when no thread is to be had. `on_change`
// is called on a thread of its own, which ends with this, ten times at once and then five times a
// second at most: what the guest tells faster, it keeps.
class ChangeStream {
 public:
  ChangeStream(agent::Agent::Stub* stub, std::function<void()> on_change);
  ~ChangeStream();
  ChangeStream(const ChangeStream&) = delete;
  ChangeStream& operator=(const ChangeStream&) = delete;

  // The guest tells: it has begun to, and has not stopped.
  bool open() const { return open_; }

 private:
  void Listen(agent::Agent::Stub* stub, const std::function<void()>& on_change);

  std::atomic<bool> open_ = false;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  grpc::ClientContext context_;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_CHANGE_STREAM_H_
