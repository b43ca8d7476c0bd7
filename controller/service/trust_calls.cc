#include "controller/service/trust_calls.h"

#include "controller/base/utf8.h"
#include "controller/decide/trust.h"
#include "controller/service/call_status.h"

namespace rum {

grpc::Status ServeTrust(Controller* controller, const control::TrustRequest& request,
                        control::TrustReply* reply) {
  Machine::TrustChange change;
  change.give.assign(request.give().begin(), request.give().end());
  change.revoke.assign(request.revoke().begin(), request.revoke().end());
  change.revoke_all = request.revoke_all();
  change.default_uri = request.default_uri();
  const absl::StatusOr<Machine::TrustState> state =
      controller->Trust(request.config_path(), change);
  if (!state.ok()) return ToGrpc(state.status());
  for (const Ask& ask : state->asks) *reply->add_asks() = AskItem(ask);
  for (const ConsentedValue& value : state->consented) *reply->add_consented() = value;
  reply->set_note(state->note);
  reply->set_config_error(state->config_error);
  MakeUtf8(reply);
  return grpc::Status::OK;
}

}  // namespace rum
