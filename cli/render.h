#ifndef RUM_CLI_RENDER_H_
#define RUM_CLI_RENDER_H_

#include <google/protobuf/repeated_field.h>

#include <string>

#include "cli/style.h"
#include "controller/aspects/plan.pb.h"
#include "controller/service/control.pb.h"

namespace rum {

// Says what standard output takes: the locale's character set; `color` is auto, always or never
// (NO_COLOR: https://no-color.org).
Style StyleOf(const std::string& color);

// Lines for a person, each with its mark and its end of line. Pure.
std::string RenderResult(const ActionResult& result, const Style& style);
std::string RenderWaiting(const Change& change, const Style& style);
std::string RenderAsk(const Item& ask, const Style& style);
std::string RenderTrust(const control::TrustReply& trust, const Style& style);
std::string RenderPlan(const Plan& plan, const Style& style);  // of a dry run
std::string RenderStatus(const MachineStatus& status, int64_t now_ms, const Style& style);
std::string RenderEvent(const Event& event, const Style& style);  // one line

// "Ready, not Synced (Pending), ...": what needs a restart only when something does.
std::string ConditionsText(const google::protobuf::RepeatedPtrField<Condition>& conditions);
std::string PhaseText(MachineStatus::Phase phase);  // "running"

// A table: a row for each image, its columns in line.
std::string RenderImages(const control::ImagesReply& images, const Style& style);

// behaviour.md's exit status of --exit-code: 0 in sync, 4 live or opt-in changes or consent
// pending, 5 restart or recreate needed, 6 not running or not reachable.
int ExitCode(const Plan& plan);
int ExitCode(const MachineStatus& status);

}  // namespace rum

#endif  // RUM_CLI_RENDER_H_
