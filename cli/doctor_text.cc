#include "cli/doctor_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "agent-api/first_line.h"
#include "cli/host_cures.h"
#include "cli/host_judgement.h"
#include "cli/mark.h"
#include "cli/ssh_words.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

Mark MarkOfLevel(Finding::Level level) {
  switch (level) {
    case Finding::BROKEN:
      return Mark::kFailed;
    case Finding::WARNING:
      return Mark::kNeedsYou;
    case Finding::NOTE:
      return Mark::kWillApply;
    default:
      return Mark::kDone;
  }
}

std::string Summary(const doctor::Report& report) {
  const auto count = [&](Finding::Level level) {
    return std::count_if(report.findings().begin(), report.findings().end(),
                         [&](const Finding& finding) { return finding.level() == level; });
  };
  const auto things = [](int64_t number, const char* one, const char* many) {
    return absl::StrCat(number, number == 1 ? one : many);
  };
  const int64_t broken = count(Finding::BROKEN);
  const int64_t warnings = count(Finding::WARNING);
  const std::string better = things(warnings, " thing could be better", " things could be better");
  if (broken > 0) {
    return absl::StrCat(things(broken, " thing is broken", " things are broken"),
                        warnings > 0 ? ", " + better : "");
  }
  if (warnings > 0) return absl::StrCat("Nothing is broken; ", better);
  return "Nothing stands in the way";
}

std::string PhaseSentence(const MachineStatus& status) {
  std::string text = PhaseText(status.phase());
  if (!status.phase_reason().empty()) absl::StrAppend(&text, ": ", status.phase_reason());
  return text;
}

// As one types it anywhere.
std::string CommandOf(const MachineStatus& status, const std::string& command) {
  return absl::StrCat("rum -m ", ShortShellWord(status.name()), " ", command);
}

Finding OfPhase(const MachineStatus& status) {
  const std::string check = "machine " + status.name();
  const auto ails = [&](Finding::Level level, const std::string& command) {
    return Ails(check, level, PhaseSentence(status), "",
                {status.phase_remedy().empty() ? CommandOf(status, command)
                                               : "# " + status.phase_remedy()});
  };
  switch (status.phase()) {
    case MachineStatus::RUNNING:
    case MachineStatus::STARTING:
    case MachineStatus::SHUTTING_DOWN:
      return Fine(check, PhaseSentence(status));
    case MachineStatus::CRASHED:
    case MachineStatus::PANICKED:
      return ails(Finding::BROKEN, "up");
    case MachineStatus::UNREACHABLE:
    case MachineStatus::UNKNOWN:
      return ails(Finding::BROKEN, "status");
    default:
      return ails(Finding::NOTE, "up");
  }
}

Finding OfItem(const Item& item, const MachineStatus& status) {
  const std::string check = status.name() + " " + item.field();
  const std::string seen =
      item.reason().empty() ? item.text() : absl::StrCat(item.text(), " — ", item.reason());
  switch (item.state()) {
    case Item::FAILING:
      return Ails(check, Finding::BROKEN, seen, "", {CommandOf(status, "status")});
    case Item::NEEDS_CONSENT:
      return Ails(check, Finding::WARNING, seen, "it does not count before",
                  {CommandOf(status, "trust")});
    case Item::NEEDS_RESTART:
      return Ails(check, Finding::NOTE, seen, "it counts from the next start",
                  {CommandOf(status, "down"), CommandOf(status, "up")});
    default:
      return Ails(check, Finding::NOTE, seen, "", {CommandOf(status, "apply")});
  }
}

}  // namespace

std::string RenderReport(const doctor::Report& report, bool brief, const Style& style) {
  size_t width = 0;
  const auto shown = [&](const Finding& finding) {
    return !brief || finding.level() != Finding::FINE;
  };
  for (const Finding& finding : report.findings()) {
    if (shown(finding)) width = std::max(width, OneLine(finding.check(), style.utf8).size());
  }
  std::string text;
  for (const Finding& finding : report.findings()) {
    if (!shown(finding)) continue;
    const std::string check = OneLine(finding.check(), style.utf8);
    absl::StrAppend(&text, "  ", Marked(MarkOfLevel(finding.level()), style), " ", check,
                    std::string(width - check.size() + 2, ' '), OneLine(finding.seen(), style.utf8),
                    "\n");
    if (!finding.breaks().empty())
      absl::StrAppend(&text, "      ", OneLine(finding.breaks(), style.utf8), "\n");
    for (const std::string& cure : finding.cures())
      absl::StrAppend(&text, "      ", cure.rfind("# ", 0) == 0 ? "" : "$ ",
                      OneLine(cure, style.utf8), "\n");
  }
  return absl::StrCat(text, Summary(report), "\n");
}

void AddMachineFindings(const MachineStatus& status, bool file_gone, doctor::Report* report) {
  AddFinding(OfPhase(status), report);
  if (!status.error().empty()) {
    AddFinding(Ails("machine " + status.name(), Finding::BROKEN, status.error(), "", {}), report);
  }
  if (!status.config_error().empty() && !file_gone) {
    AddFinding(Ails("its file", Finding::BROKEN, FirstLine(status.config_error()),
                    "the machine goes on with the last good configuration",
                    {"rum check " + ShortShellWord(status.config_path())}),
               report);
  }
  for (const std::string& note : status.notes())
    AddFinding(Ails("its file", Finding::NOTE, note, "", {}), report);
  for (const Item& item : status.items()) {
    if (item.state() != Item::HOLDS) AddFinding(OfItem(item, status), report);
  }
}

}  // namespace rum
