#include <string>

#include "absl/strings/str_cat.h"
#include "controller/drift.h"
#include "controller/report.h"
#include "controller/restart_policy.h"
#include "controller/standing.h"

namespace rum {

// Of a machine that is wanted up and went by itself. One that somebody ended is as he wants it; the
// phase says so.
void ReportRun(int64_t now_ms, Report* report) {
  const Standing standing = StandingOf(report->observed());
  const bool fell =
      standing.phase == MachineStatus::CRASHED || standing.phase == MachineStatus::PANICKED;
  const RestartVerdict verdict =
      JudgeRestart(report->desired(), report->record(), report->observed().domain, false, now_ms);
  if (!report->record().want_running()) return;
  if (!fell && verdict.what == RestartVerdict::kNothing) return;
  const std::string was = PhaseName(standing.phase);
  const std::string why = standing.reason.empty() ? was : standing.reason;
  const Item::Author author =
      standing.phase == MachineStatus::PANICKED ? Item::GUEST : Item::LIBVIRT;
  switch (verdict.what) {
    case RestartVerdict::kNothing:
      report->Add(kRunItem, Item::FAILING, author, was, "running",
                  absl::StrCat(why, ": ", standing.remedy));
      return;
    case RestartVerdict::kGivenUp:
      report
          ->Add(kRunItem, Item::FAILING, author, was, "running",
                absl::StrCat(why, ", as after each of ", kMostRestarts,
                             " starts, so rum leaves it: ", standing.remedy))
          ->set_given_up(true);
      return;
    case RestartVerdict::kWait:
    case RestartVerdict::kStart:
      report
          ->Add(kRunItem, Item::DRIFTED, author, was, "running",
                absl::StrCat(why, ": will be started again (", verdict.number, " of ",
                             kMostRestarts, ")"))
          ->set_next_try_ms(verdict.due_ms);
      return;
  }
}

}  // namespace rum
