#include "controller/hypervisor/domain_cause.h"

#include <libvirt/libvirt.h>

namespace rum {
namespace {

DomainCause CauseOfPause(int reason) {
  switch (reason) {
    case VIR_DOMAIN_PAUSED_USER:
    case VIR_DOMAIN_PAUSED_FROM_SNAPSHOT:  // of when somebody had paused it
      return DomainCause::kPausedByUser;
    case VIR_DOMAIN_PAUSED_IOERROR:
      return DomainCause::kPausedByDisk;
    case VIR_DOMAIN_PAUSED_WATCHDOG:
      return DomainCause::kPausedByWatchdog;
    case VIR_DOMAIN_PAUSED_CRASHED:
      return DomainCause::kPanicked;
    case VIR_DOMAIN_PAUSED_SHUTTING_DOWN:
      return DomainCause::kShuttingDown;
    case VIR_DOMAIN_PAUSED_MIGRATION:
    case VIR_DOMAIN_PAUSED_SAVE:
    case VIR_DOMAIN_PAUSED_DUMP:
    case VIR_DOMAIN_PAUSED_SNAPSHOT:
    case VIR_DOMAIN_PAUSED_STARTING_UP:
    case VIR_DOMAIN_PAUSED_POSTCOPY:
      return DomainCause::kPausedForNow;
    default:
      return DomainCause::kPausedUnknown;
  }
}

DomainCause CauseOfShutoff(int reason, bool has_saved_memory) {
  if (has_saved_memory) return DomainCause::kSaved;
  switch (reason) {
    case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
      return DomainCause::kShutDown;
    case VIR_DOMAIN_SHUTOFF_DESTROYED:
      return DomainCause::kDestroyed;
    case VIR_DOMAIN_SHUTOFF_CRASHED:
    case VIR_DOMAIN_SHUTOFF_DAEMON:  // libvirt could not get hold of its QEMU again
      return DomainCause::kCrashed;
    case VIR_DOMAIN_SHUTOFF_MIGRATED:
      return DomainCause::kMigrated;
    case VIR_DOMAIN_SHUTOFF_SAVED:
      return DomainCause::kSavedToFile;
    case VIR_DOMAIN_SHUTOFF_FAILED:
      return DomainCause::kStartFailed;
    case VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT:
      return DomainCause::kFromSnapshot;
    default:
      return DomainCause::kNone;
  }
}

}  // namespace

DomainCause CauseOf(int state, int reason, bool has_saved_memory) {
  switch (state) {
    case VIR_DOMAIN_SHUTOFF:
      return CauseOfShutoff(reason, has_saved_memory);
    case VIR_DOMAIN_PAUSED:
      return CauseOfPause(reason);
    case VIR_DOMAIN_SHUTDOWN:
      return DomainCause::kShuttingDown;
    case VIR_DOMAIN_CRASHED:
      return DomainCause::kPanicked;
    case VIR_DOMAIN_PMSUSPENDED:
      return DomainCause::kSuspended;
    default:
      return DomainCause::kNone;
  }
}

bool NeedsSomebody(DomainCause cause) {
  return cause >= DomainCause::kPausedByUser && cause != DomainCause::kPausedForNow;
}

}  // namespace rum
