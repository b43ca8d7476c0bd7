#include "agent-api/client/rpc_status.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/budget.h"
#include "agent-api/client/checked_reply.h"

namespace rum {
namespace {

constexpr char kLost[] = "the connection to the agent in the guest was lost";

// Of INTERNAL and RESOURCE_EXHAUSTED, which an agent uses as well.
bool IsOfGrpc(const std::string& words) {
  for (const char* part :
       {"RST_STREAM", "Received message larger", "GOAWAY", "Stream removed", "stream error",
        "Failed to parse", "Failed to serialize", "Error in unary", "Missing :status",
        "Trailing metadata", "metadata size exceeds"}) {
    if (absl::StrContains(words, part)) return true;
  }
  return false;
}

}  // namespace

absl::Status ToAbsl(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  const std::string& words = status.error_message();
  if (code < absl::StatusCode::kCancelled || code > absl::StatusCode::kUnauthenticated ||
      words.size() > kMostReasonBytes) {
    return absl::DataLossError(absl::StrCat(kNoAgent, "an error of code ", static_cast<int>(code),
                                            " and ", words.size(), " bytes"));
  }
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      // An agent that is busy says so itself.
      if (absl::StartsWith(words, "the agent is ")) break;
      return absl::Status(code, kLost);
    case grpc::StatusCode::UNKNOWN:
      return absl::Status(code, kLost);
    case grpc::StatusCode::CANCELLED:
      return absl::Status(code, "the call to the agent in the guest was given up");
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return absl::Status(code, "the agent in the guest did not answer in time");
    case grpc::StatusCode::UNIMPLEMENTED:
      if (!words.empty() && !absl::StrContains(words, "RPC method")) break;
      return absl::Status(code,
                          "the agent in the guest is of another rum and does not know this: "
                          "`rum restart` brings this rum's");
    default:
      break;
  }
  if (IsOfGrpc(words)) {
    if (absl::StrContains(words, "larger") || absl::StrContains(words, "metadata size")) {
      return absl::DataLossError(absl::StrCat(kNoAgent, "an answer that is too large"));
    }
    return absl::Status(code, kLost);
  }
  return absl::Status(code, absl::StrCat("agent: ", words.empty() ? "it gave no reason" : words));
}

}  // namespace rum
