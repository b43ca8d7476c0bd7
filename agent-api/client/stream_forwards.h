#ifndef RUM_AGENT_API_CLIENT_STREAM_FORWARDS_H_
#define RUM_AGENT_API_CLIENT_STREAM_FORWARDS_H_

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"
#include "agent-api/agent.grpc.pb.h"

namespace rum {

// Connections to ports of the guest as a stream each of the control channel: for what is dialled
// now and then, where the forward channel is not there. Each has two threads. Thread-safe.
class StreamForwards {
 public:
  // Called once, on any thread.
  using Done = std::function<void(const absl::Status& connected)>;

  StreamForwards() = default;
  ~StreamForwards();  // breaks what is open, and waits until nothing of it is left
  StreamForwards(const StreamForwards&) = delete;
  StreamForwards& operator=(const StreamForwards&) = delete;

  // Breaks what is open; what is dialled from now on fails.
  void Close();
  // Carries what the other end of `socket` says, a stream socket that is this one's from now on.
  // `session` keeps `stub` for as long as the connection lasts.
  void Dial(std::shared_ptr<const void> session, agent::Agent::Stub* stub, uint16_t port,
            int socket, const Done& done);

 private:
  void Ended();
  void Forward(agent::Agent::Stub* stub, uint16_t port, int socket, const Done& done);
  void ForwardOn(agent::Agent::Stub* stub, grpc::ClientContext* context, uint16_t port, int socket,
                 const Done& done);
  void SetSocket(grpc::ClientContext* context, int socket);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<grpc::ClientContext*, int> sockets_;  // -1: not connected
  int dialing_ = 0;
  bool closed_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_STREAM_FORWARDS_H_
