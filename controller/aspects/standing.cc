#include "controller/aspects/standing.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/guests/no_process.h"

namespace rum {
namespace {

constexpr char kStart[] = "`rum up` starts it";
constexpr char kGoOn[] = "`rum up` goes on with it";

// Of a domain that is off.
Standing OffStanding(DomainCause cause) {
  switch (cause) {
    case DomainCause::kShutDown:
      return {MachineStatus::STOPPED, "shut down, from inside or by `virsh shutdown`", kStart};
    case DomainCause::kDestroyed:
      return {MachineStatus::STOPPED, "turned off by force, as `virsh destroy` does", kStart};
    case DomainCause::kSaved:
      return {MachineStatus::SAVED, "with its memory, as by `virsh managedsave`", kGoOn};
    case DomainCause::kSavedToFile:
      return {
          MachineStatus::SAVED, "to a file, by `virsh save`",
          "`virsh restore FILE` goes on with it; `rum up` starts it anew, and then that file is "
          "of no use"};
    case DomainCause::kMigrated:
      return {MachineStatus::STOPPED, "it was migrated to another host",
              "`rum up` starts it here, which must not be while it runs there"};
    case DomainCause::kStartFailed:
      return {MachineStatus::CRASHED, "QEMU ended while it started", "`rum up` tries again"};
    case DomainCause::kCrashed:
      return {MachineStatus::CRASHED, "QEMU ended unexpectedly", kStart};
    case DomainCause::kPanicked:
      return {MachineStatus::PANICKED, "the kernel of the guest gave up", kStart};
    case DomainCause::kFromSnapshot:
      return {MachineStatus::STOPPED, "reverted to a snapshot of when it was off", kStart};
    default:
      return {MachineStatus::STOPPED, "", kStart};
  }
}

// Of one that is on, but stands still.
Standing StillStanding(DomainCause cause) {
  switch (cause) {
    case DomainCause::kPausedByUser:
      return {MachineStatus::PAUSED, "by `virsh suspend` or the like", kGoOn};
    case DomainCause::kPausedByDisk:
      return {MachineStatus::PAUSED,
              "the host could not read or write a disk of it; its file system may be full",
              absl::StrCat("make room, then ", kGoOn)};
    case DomainCause::kPausedByWatchdog:
      return {MachineStatus::PAUSED, "by the watchdog of its guest", kGoOn};
    case DomainCause::kPausedForNow:
      return {MachineStatus::PAUSED, "libvirt holds it for a moment, as for a snapshot",
              "it goes on by itself"};
    case DomainCause::kPanicked:
      return {MachineStatus::PANICKED, "the kernel of the guest gave up",
              "`rum up` starts it anew"};
    case DomainCause::kSuspended:
      return {MachineStatus::SUSPENDED, "by its own guest, to memory", "`rum up` wakes it"};
    case DomainCause::kShuttingDown:
      return {MachineStatus::SHUTTING_DOWN, "", "`rum up` starts it again once it is off"};
    default:
      return {MachineStatus::PAUSED, "libvirt does not say why", kGoOn};
  }
}

}  // namespace

Standing StandingOf(const Observed& observed) {
  const DomainState& domain = observed.domain;
  if (StandsStill(domain)) return StillStanding(domain.cause);
  if (domain.running && observed.guest.has_value()) return {MachineStatus::RUNNING, "", ""};
  if (domain.running && absl::StartsWith(observed.guest_refused, kNoProcess)) {
    return {MachineStatus::UNREACHABLE, observed.guest_refused,
            "rum tries again by itself, when the host has processes (`ulimit -u`) and memory"};
  }
  if (domain.running && !observed.guest_refused.empty()) {
    return {MachineStatus::UNREACHABLE, observed.guest_refused,
            "only an agent of rum's is listened to: `rum restart` boots the guest anew"};
  }
  if (domain.running && observed.agent_was_here) {
    return {MachineStatus::UNREACHABLE, "the agent in the guest does not answer any more",
            "`rum restart` boots it anew"};
  }
  if (domain.running) {
    return {MachineStatus::STARTING, "the agent in the guest has not answered yet",
            "`rum status --wait AgentConnected` waits for it"};
  }
  if (domain.defined) return OffStanding(domain.cause);
  return {MachineStatus::NOT_DEFINED, "", "`rum up` makes it"};
}

std::string StandingText(const std::string& name, const Standing& standing) {
  if (standing.phase == MachineStatus::NOT_DEFINED) {
    return absl::StrCat(name, " does not exist: ", standing.remedy);
  }
  const bool off = standing.phase == MachineStatus::STOPPED;
  return absl::StrCat(name, " is ", off ? "off" : PhaseName(standing.phase),
                      standing.reason.empty() ? "" : absl::StrCat(" (", standing.reason, ")"),
                      standing.remedy.empty() ? "" : absl::StrCat(": ", standing.remedy));
}

bool IsOn(MachineStatus::Phase phase) {
  switch (phase) {
    case MachineStatus::STARTING:
    case MachineStatus::RUNNING:
    case MachineStatus::UNREACHABLE:
    case MachineStatus::PAUSED:
    case MachineStatus::SHUTTING_DOWN:
    case MachineStatus::SUSPENDED:
      return true;
    default:
      return false;
  }
}

std::string PhaseName(MachineStatus::Phase phase) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(MachineStatus::Phase_Name(phase)), {{"_", " "}});
}

}  // namespace rum
