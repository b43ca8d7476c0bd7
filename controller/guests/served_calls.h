#ifndef RUM_CONTROLLER_GUESTS_SERVED_CALLS_H_
#define RUM_CONTROLLER_GUESTS_SERVED_CALLS_H_

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "agent-api/client/guest_agent.h"
#include "controller/guests/call_stream.h"
#include "controller/guests/outlet.h"

namespace rum {

// Makes the controller's calls to the agent, in the guest's process, each on a thread of its own.
// What the controller says about one that is over is for nobody. Thread-safe.
class ServedCalls {
 public:
  ServedCalls(GuestAgent* agent, Outlet* outlet) : agent_(*agent), outlet_(*outlet) {}

  void Begin(const guests::ToProcess::Call& call);
  void Take(const guests::Piece& piece);
  void Grow(const guests::Taken& taken);
  void Cancel(uint64_t number);
  // All, and waits for their ends.
  void EndAll();

 private:
  std::shared_ptr<CallStream> Find(uint64_t number);
  void End(uint64_t number, const absl::Status& status, const std::string& reply);
  void Serve(const guests::ToProcess::Call& call, CallStream* stream);
  absl::Status Make(const guests::ToProcess::Call& call, CallStream* stream, std::string* reply);
  absl::Status Exec(uint64_t number, CallStream* stream);
  absl::Status Copy(uint64_t number, CallStream* stream);
  bool Tell(uint64_t number, CallStream* stream, const google::protobuf::MessageLite& message);
  bool Next(uint64_t number, CallStream* stream, google::protobuf::MessageLite* message);

  GuestAgent& agent_;
  Outlet& outlet_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::shared_ptr<CallStream>> streams_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_SERVED_CALLS_H_
