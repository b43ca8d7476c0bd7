// resources.memory_mb: how much memory the guest has. Live as far as the machine was started with
// room for: above what it booted with a device adds it, below that its balloon takes it away, but
// never what the guest uses.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/resources.h"
#include "controller/aspects/worlds.h"
#include "controller/base/failpoint.h"

namespace rum {
namespace {

constexpr char kMemory[] = "resources.memory_mb";
constexpr uint64_t kLeftToGuestMb = 64;  // beyond what it uses, and the steps in which it is taken

// What is to be asked of the running machine now; nothing where `why` says so.
struct Target {
  uint64_t memory_mb = 0;
  std::string why;
};

std::string Mib(uint64_t mib) { return absl::StrCat(mib, " MiB"); }

uint64_t NowMb(const Scene& scene) { return scene.observed.domain.live.resources().memory_mb(); }

// In steps, so that not each look tells another number.
uint64_t Rounded(uint64_t mib) { return (mib + 15) / 16 * 16; }

// How far a guest that uses so much can be brought down.
uint64_t LeastFor(uint64_t used_mb) {
  return (used_mb + 2 * kLeftToGuestMb - 1) / kLeftToGuestMb * kLeftToGuestMb;
}

// Whether the device was asked for so much already, and the balloon is not in the way.
bool WasAsked(const Room& room, uint64_t memory_mb) {
  return memory_mb >= room.boot_mb && room.balloon_mb == room.boot_mb &&
         room.asked_mb == WholeBlocks(memory_mb - room.boot_mb);
}

Target TargetAbove(const Scene& scene) {
  const uint64_t wanted = scene.desired.resources().memory_mb();
  if (!WasAsked(scene.observed.domain.room, wanted)) return {wanted, ""};
  return {0, absl::StrCat("the guest has taken no more than ", Mib(NowMb(scene)))};
}

// Whatever takes it, the guest keeps what it uses.
Target TargetBelow(const Scene& scene, const agent::Resources& guest) {
  const uint64_t wanted = scene.desired.resources().memory_mb();
  const uint64_t now = NowMb(scene);
  const Room& room = scene.observed.domain.room;
  if (wanted < room.boot_mb && !room.gives_back) {
    return {0,
            "it was started with a balloon that gives a guest in need nothing back, as by an "
            "older rum"};
  }
  const uint64_t available = guest.available_kib() / 1024;
  const uint64_t used = now > available ? Rounded(now - available) : 0;
  const uint64_t least = std::max(wanted, LeastFor(used));
  const bool worth_it = least == wanted ? least < now : least + kLeftToGuestMb <= now;
  if (worth_it && !WasAsked(room, least)) return {least, ""};
  if (least == wanted)
    return {0,
            absl::StrCat("the guest still holds ", Mib(now - wanted), " of what was taken back")};
  return {0, absl::StrCat("the guest uses ", Mib(used), " of it: ", Mib(now), " are left to it")};
}

Target TargetOfMemory(const Scene& scene, const agent::Resources& guest) {
  return scene.desired.resources().memory_mb() > NowMb(scene) ? TargetAbove(scene)
                                                              : TargetBelow(scene, guest);
}

std::optional<Way> WayOfMemory(const Scene& scene, const FieldChange& change) {
  if (change.field != kMemory) return std::nullopt;
  const uint64_t wanted = scene.desired.resources().memory_mb();
  const Room& room = scene.observed.domain.room;
  const uint64_t most = room.boot_mb + room.addable_mb;
  if (wanted > most) {
    return Way{Way::kRestart,
               absl::StrCat("started with room for ", Mib(most), " (resources.max_memory_mb)")};
  }
  if (IsOldAgent(scene)) return Way{Way::kRestart, kAgentSetsNoResources};
  const agent::Resources* const guest = ResourcesInGuest(scene);
  // It comes in blocks.
  const bool holds = wanted > room.boot_mb && room.boot_mb == room.balloon_mb &&
                     room.added_mb == WholeBlocks(wanted - room.boot_mb);
  if (guest == nullptr || holds) return Way{Way::kApart, ""};
  const Target target = TargetOfMemory(scene, *guest);
  return target.why.empty() ? Way{Way::kLive, ""} : Way{Way::kRestart, target.why};
}

void AskForMemory(const Scene& scene, uint64_t now, uint64_t target, const std::string& what,
                  Verdict* verdict) {
  const std::string wanted = absl::StrCat(scene.desired.resources().memory_mb());
  Action::SetMemory* const set = verdict->AddAction(kMemory)->mutable_set_memory();
  set->set_before_mb(now);
  set->set_after_mb(target);
  verdict->AddCurable(kMemory, kMemory, MovedBy(scene, kMemory, wanted, Item::LIBVIRT),
                      absl::StrCat(now), wanted, what, Outlook(scene, "set"));
}

void JudgeRunning(const Scene& scene, Verdict* verdict) {
  const uint64_t now = NowMb(scene);
  const uint64_t wanted = scene.desired.resources().memory_mb();
  const FieldChange* const change = FindChange(scene.now_changes, kMemory);
  const agent::Resources* const guest = ResourcesInGuest(scene);
  if (change != nullptr && GoesLive(scene, *change)) {
    return AskForMemory(scene, now, TargetOfMemory(scene, *guest).memory_mb,
                        absl::StrCat(Mib(now), " now, ", Mib(wanted), " wanted"), verdict);
  }
  if (change != nullptr && guest == nullptr && !IsOldAgent(scene)) {
    verdict->Add(kMemory, Item::PENDING,
                 MovedBy(scene, kMemory, absl::StrCat(wanted), Item::LIBVIRT), absl::StrCat(now),
                 absl::StrCat(wanted), absl::StrCat(Mib(now), " now, ", Mib(wanted), " wanted"),
                 "when the agent in the guest answers");
    return;
  }
  const bool may = scene.options.live && scene.desired.reconcile().live();
  if (guest != nullptr && guest->offline_kib() > 0 && may) {
    const uint64_t offline = guest->offline_kib() / 1024;
    return AskForMemory(scene, now > offline ? now - offline : 0, wanted,
                        absl::StrCat(Mib(offline), " of it are offline in the guest"), verdict);
  }
  verdict->AddHolding(kMemory, Mib(change != nullptr ? wanted : now));
}

Verdict JudgeMemory(const Scene& scene) {
  Verdict verdict;
  const DomainState& domain = scene.observed.domain;
  if (!domain.defined && !domain.running) return verdict;
  const uint64_t now = (domain.running ? domain.live : domain.persistent).resources().memory_mb();
  const FieldChange* const change = FindChange(scene.now_changes, kMemory);
  const bool apart = change != nullptr && WayOf(scene, *change).what == Way::kApart;
  if (!apart || scene.observed.guest.has_value()) {
    verdict.seen.mutable_applied()->mutable_resources()->set_memory_mb(
        apart ? scene.desired.resources().memory_mb() : now);
    verdict.Know(absl::StrCat("applied.", kMemory));
  }
  if (IsReportedByDefinition(scene, kMemory)) return verdict;
  if (domain.running) {
    JudgeRunning(scene, &verdict);
  } else {
    verdict.AddHolding(kMemory, Mib(now));
  }
  return verdict;
}

absl::Status ActOnMemory(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("memory: no agent");
  const Action::SetMemory& set = action.set_memory();
  deed->message = absl::StrCat("Set memory ", set.before_mb(), " → ", set.after_mb(), " MiB");
  if (absl::Status written = WriteDefinition(worlds); !written.ok()) return written;
  Failpoint("memory:defined");
  const absl::StatusOr<Room> room = worlds.hypervisor.ResizeMemory(worlds.machine, set.after_mb());
  if (!room.ok()) return WithContext("memory", room.status());
  Failpoint("memory:resized");
  absl::Status online = worlds.agent->SetResources(agent::SetResourcesRequest());
  if (!online.ok()) return WithContext("memory", online);
  // What a device was asked for is known to the look that follows; a balloon tells only where it
  // is.
  if (room->balloon_mb <= std::min(set.after_mb(), room->boot_mb)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the guest was asked for all but ",
                                             Mib(set.after_mb()), " and still has ",
                                             Mib(room->balloon_mb + room->added_mb)));
}

}  // namespace

Aspect MemoryAspect() {
  return {.name = kMemory,
          .fields = {kMemory},
          .known_by = Item::LIBVIRT,
          .judge = JudgeMemory,
          .act = ActOnMemory,
          .way = WayOfMemory};
}

}  // namespace rum
