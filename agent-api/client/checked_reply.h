#ifndef RUM_AGENT_API_CLIENT_CHECKED_REPLY_H_
#define RUM_AGENT_API_CLIENT_CHECKED_REPLY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"

// The door through which all that a guest says comes in: nobody else sees an answer before it was
// found here to be one that an agent gives, in size and alphabet (agent-api/budget.h). Nothing is
// cut or mended: what is no agent's is DataLoss, "the guest says what no agent says: ...", and the
// answer is dropped as a whole. Pure.
namespace rum {

inline constexpr char kNoAgent[] = "the guest says what no agent says: ";

// Whether `status` is of here.
bool SaysWhatNoAgentSays(const absl::Status& status);

// Checks who the agent is. Its lists are not looked at: those of an older agent, which is about to
// be replaced, may be longer.
absl::Status CheckGreeting(const agent::Observation& seen);
absl::Status CheckReply(const agent::ObserveRequest& request, const agent::Observation& seen);
absl::Status CheckReply(const agent::SetStorageRequest& request,
                        const agent::SetStorageReply& reply);
absl::Status CheckReply(const agent::ReadHostKeysRequest& request,
                        const agent::ReadHostKeysReply& reply);
// The size of any answer as a whole, which the others do not look at again, but for CheckGreeting.
absl::Status CheckAnswer(const google::protobuf::Message& reply);
absl::Status CheckRun(const agent::ScriptRun& run);

// The events of one run's stream, in their order.
class RunEvents {
 public:
  explicit RunEvents(std::string run_id) : run_id_(std::move(run_id)) {}
  absl::Status Check(const agent::RunScriptEvent& event);

 private:
  const std::string run_id_;
  uint64_t end_ = 0;  // of the output so far
};

}  // namespace rum

#endif  // RUM_AGENT_API_CLIENT_CHECKED_REPLY_H_
