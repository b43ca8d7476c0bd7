#ifndef RUM_AGENT_API_QUIET_GRPC_H_
#define RUM_AGENT_API_QUIET_GRPC_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <set>

namespace rum {

// Lets gRPC sleep while nothing happens: by itself it has two threads that wake once a second and
// look whether a timer is due. Once, before this process uses gRPC, and where each deadline of its
// calls is a CallDeadline; those of calls that it serves are not looked at, for who makes them
// does. Where there is no thread for it, gRPC stays as it is.
void QuietGrpc();

// Gives a call up when its time has come, whether gRPC looks at its timers or not. Lives as long as
// the call.
class CallDeadline {
 public:
  CallDeadline(grpc::ClientContext* context, std::chrono::milliseconds patience);
  ~CallDeadline();
  CallDeadline(const CallDeadline&) = delete;
  CallDeadline& operator=(const CallDeadline&) = delete;

 private:
  std::multiset<std::chrono::steady_clock::time_point>::iterator due_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_QUIET_GRPC_H_
