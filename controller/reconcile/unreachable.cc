#include "controller/reconcile/unreachable.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "controller/base/console_text.h"

namespace rum {
namespace {

constexpr size_t kConsoleLines = 20;
constexpr size_t kMostOfItsConsole = 16 * 1024;  // bytes that they are looked for in

}  // namespace

std::optional<Unreachable> WhyUnreachable(const Observed& observed, MachineStatus::Phase phase,
                                          const std::string& standing, bool up, bool started) {
  const DomainState& domain = observed.domain;
  if (!domain.running) {
    if (phase == MachineStatus::NOT_DEFINED && !up) {
      return Unreachable{absl::FailedPreconditionError(standing), standing};
    }
    if (!started) return std::nullopt;
    return Unreachable{absl::UnavailableError(standing),
                       absl::StrCat("it went off while it booted: ", standing)};
  }
  if (domain.cause == DomainCause::kPausedForNow) {
    return Unreachable{absl::UnavailableError(standing), standing};
  }
  if (StandsStill(domain)) return Unreachable{absl::FailedPreconditionError(standing), standing};
  const std::string error =
      absl::StrCat(observed.guest_refused.empty() ? "the agent in the guest does not answer"
                                                  : observed.guest_refused,
                   ": hostname, groups and scripts are as they were");
  return Unreachable{absl::UnavailableError(error), error, true};
}

std::string WhereItGotTo(Hypervisor* hypervisor, const MachineIdentity& machine) {
  const absl::StatusOr<std::string> said = hypervisor->ConsoleLog(machine, kMostOfItsConsole);
  const std::string lines = said.ok() ? LastConsoleLines(*said, kConsoleLines) : "";
  if (lines.empty()) return "; `rum console` shows what it does";
  return absl::StrCat("; `rum console` shows what it does. Its console ends with:\n    ",
                      absl::StrReplaceAll(absl::StripSuffix(lines, "\n"), {{"\n", "\n    "}}));
}

}  // namespace rum
