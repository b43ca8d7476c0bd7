#include "controller/service/call_status.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

// Goes along with each failure that is an answer: what gRPC itself says of a connection has none.
constexpr char kAnswered[] = "controller";

std::string CodeName(grpc::StatusCode code) {
  return absl::AsciiStrToLower(
      absl::StatusCodeToString(static_cast<absl::StatusCode>(static_cast<int>(code))));
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message()), kAnswered};
}

bool IsLost(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::CANCELLED ||
         (status.error_code() == grpc::StatusCode::UNAVAILABLE &&
          status.error_details() != kAnswered);
}

std::string WhyItFailed(const grpc::Status& status) {
  if (IsLost(status)) {
    return "the controller went away before this was done";
  }
  const std::string words = status.error_message();
  if (status.error_details() == kAnswered) {
    return words.empty() ? "the controller failed at it and gave no reason; see controller.log"
                         : words;
  }
  // gRPC's own words are of its inside.
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "the controller did not answer in time; it may be busy, or hang "
             "(`rum controller restart`)";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "the controller that runs is of another rum and does not know this: "
             "`rum controller restart` brings this rum's";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (absl::StrContains(words, "Threadpool")) {
        return "the controller has no thread left for this: this user may have no more (`ulimit "
               "-u`, or TasksMax= of its service)";
      }
      return "the answer of the controller is too large";
    default:
      return absl::StrCat("the call to the controller failed (", CodeName(status.error_code()),
                          "); see controller.log");
  }
}

}  // namespace rum
