#include <string>

#include "absl/strings/str_cat.h"
#include "controller/report.h"
#include "controller/script_ledger.h"

namespace rum {
namespace {

void ReportChanged(const std::string& kind, const std::string& field, const ScriptVerdict& verdict,
                   Report* report) {
  const std::string ran = verdict.ran_hash.substr(0, 12);
  const std::string wanted = verdict.content_hash.substr(0, 12);
  if (kind == "boot") {
    report->AddCurable(field, field, Item::FILE, ran, wanted,
                       absl::StrCat("changed: ", report->Remedy("run again")));
    return;
  }
  const bool tried = !verdict.last_failure.run_id().empty();
  report
      ->Add(field, Item::OPT_IN, Item::FILE, ran, wanted,
            absl::StrCat(tried ? FailureText(verdict.last_failure) : "changed since it ran",
                         ": `rum reload --force` runs it again"))
      ->set_reason(ReasonOf(field));
}

void ReportScript(const std::string& kind, const std::string& script, Report* report) {
  const std::string field = absl::StrCat("provision.", kind, ".script");
  const ScriptVerdict verdict = JudgeScript(kind, script, *report->observed().guest);
  const std::string wanted = verdict.content_hash.substr(0, 12);
  switch (verdict.state) {
    case ScriptVerdict::kNone:
      return;
    case ScriptVerdict::kHolds:
      report->AddHolding(field, kind == "boot" ? "ran in this boot" : "ran");
      return;
    case ScriptVerdict::kRunning:
      report->AddCurable(field, field, report->MovedBy(field, wanted, Item::GUEST), "running",
                         wanted, "is running");
      return;
    case ScriptVerdict::kFailed:
      report->Add(field, Item::FAILING, Item::NOBODY, FailureText(verdict.last_failure), wanted,
                  absl::StrCat(FailureText(verdict.last_failure), ": `rum apply` tries again"));
      return;
    case ScriptVerdict::kNeverRan:
      // A guest that booted again moved it, when the file did not.
      report->AddCurable(field, field, report->MovedBy(field, wanted, Item::GUEST), "", wanted,
                         absl::StrCat("has not run: ", report->Remedy("run")));
      return;
    case ScriptVerdict::kChanged:
      ReportChanged(kind, field, verdict, report);
      return;
  }
}

}  // namespace

void ReportScripts(Report* report) {
  ReportScript("system", report->desired().provision().system().script(), report);
  ReportScript("boot", report->desired().provision().boot().script(), report);
}

}  // namespace rum
