#include "controller/aspects/script_ledger.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "state/identity.h"

namespace rum {
namespace {

// Equal for equal ledgers, and new once the run of that name has ended. The boot is in it because
// the ledger outlives boots, and a name must never attach to a run of an older one.
std::string NextRunId(const std::string& kind, const std::string& hash,
                      const agent::Observation& guest) {
  const std::string stem = absl::StrCat(kind, "-", hash.substr(0, 12), "-",
                                        Sha256Hex(guest.boot_id()).substr(0, 8), "-");
  std::set<std::string> known;
  int count = 0;
  for (const agent::ScriptRun& run : guest.runs()) {
    known.insert(run.run_id());
    if (run.kind() == kind && run.content_hash() == hash && run.boot_id() == guest.boot_id()) {
      ++count;
    }
  }
  // A ledger that forgets its oldest runs makes the count go back.
  while (known.count(absl::StrCat(stem, count)) > 0) ++count;
  return absl::StrCat(stem, count);
}

}  // namespace

bool Succeeded(const agent::ScriptRun& run) {
  return run.ended_ms() != 0 && run.exit_status() == 0 && run.signal() == 0 &&
         run.ending() == agent::ScriptRun::BY_ITSELF;
}

bool IsOver(const agent::ScriptRun& run) {
  return run.ended_ms() != 0 || run.ending() == agent::ScriptRun::INTERRUPTED;
}

std::string FailureText(const agent::ScriptRun& run) {
  switch (run.ending()) {
    case agent::ScriptRun::INTERRUPTED:
      return "was interrupted: the guest went down in the middle of it";
    case agent::ScriptRun::CANCELLED:
      return "was cancelled";
    case agent::ScriptRun::TIMED_OUT:
      return "took longer than provision.timeout_s and was ended";
    default:
      break;
  }
  if (run.signal() != 0) return absl::StrCat("failed: ended by signal ", run.signal());
  return absl::StrCat("failed with exit status ", run.exit_status());
}

ScriptVerdict JudgeScript(const std::string& kind, const std::string& script,
                          const agent::Observation& guest) {
  ScriptVerdict verdict;
  if (script.empty()) return verdict;
  verdict.content_hash = Sha256Hex(script);
  verdict.run_id = NextRunId(kind, verdict.content_hash, guest);
  for (const agent::ScriptRun& run : guest.runs()) {
    if (run.kind() == kind) verdict.last_run_id = run.run_id();
  }
  bool failed = false;
  std::string running;
  for (const agent::ScriptRun& run : guest.runs()) {
    const bool this_boot = run.boot_id() == guest.boot_id();
    if (run.kind() != kind || (kind == "boot" && !this_boot)) continue;
    const bool same_text = run.content_hash() == verdict.content_hash;
    if (Succeeded(run)) {
      verdict.ran_hash = run.content_hash();
      failed = false;
    } else if (IsOver(run) && same_text) {
      failed = true;
      verdict.last_failure = run;
    } else if (!IsOver(run) && same_text && this_boot) {
      running = run.run_id();
    }
  }
  if (!running.empty()) {
    verdict.state = ScriptVerdict::kRunning;
    verdict.run_id = running;
  } else if (verdict.ran_hash == verdict.content_hash) {
    verdict.state = ScriptVerdict::kHolds;
  } else if (kind == "system" && !verdict.ran_hash.empty()) {
    verdict.state =
        ScriptVerdict::kChanged;  // asking again is up to the person, also after a failure
  } else if (failed) {
    verdict.state = ScriptVerdict::kFailed;
  } else {
    verdict.state = verdict.ran_hash.empty() ? ScriptVerdict::kNeverRan : ScriptVerdict::kChanged;
  }
  return verdict;
}

}  // namespace rum
