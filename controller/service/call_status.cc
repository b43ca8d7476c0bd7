#include "controller/service/call_status.h"

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

// Goes along with each failure that is an answer: what gRPC itself says of a connection has none.
constexpr char kAnswered[] = "controller";

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
  return IsLost(status) ? absl::StrCat("the controller went away: ", status.error_message())
                        : status.error_message();
}

}  // namespace rum
