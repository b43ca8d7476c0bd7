// resources.cpus: how many CPUs the guest uses. Live as far as the machine was started with room
// for: libvirt plugs them, and the agent brings them online, or takes them offline again. QEMU may
// die of a vCPU that is unplugged, so that what was plugged stays until the next start; and where
// it emulates them, of one that is plugged, so that there more come with the next start.
#include <string>

#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/resources.h"
#include "controller/aspects/worlds.h"
#include "controller/base/failpoint.h"

namespace rum {
namespace {

constexpr char kCpus[] = "resources.cpus";

std::string VCpus(uint32_t cpus) { return absl::StrCat(cpus, cpus == 1 ? " vCPU" : " vCPUs"); }

uint32_t Plugged(const Scene& scene) { return scene.observed.domain.live.resources().cpus(); }

std::optional<Way> WayOfCpus(const Scene& scene, const FieldChange& change) {
  if (change.field != kCpus) return std::nullopt;
  const uint32_t wanted = scene.desired.resources().cpus();
  const uint32_t room = scene.observed.domain.room.cpus;
  if (wanted > room)
    return Way{Way::kRestart, absl::StrCat("room for ", VCpus(room), " (resources.max_cpus)")};
  if (wanted > Plugged(scene) && !scene.observed.domain.room.plugs_cpus)
    return Way{Way::kRestart, Room::kPlugMayKill};
  if (IsOldAgent(scene)) return Way{Way::kRestart, kAgentSetsNoResources};
  const agent::Resources* const guest = ResourcesInGuest(scene);
  const bool holds = guest != nullptr && guest->cpus() == wanted && wanted <= Plugged(scene);
  return Way{guest == nullptr || holds ? Way::kApart : Way::kLive, ""};
}

// Who made them other than they are to be: what libvirt plugged since the last look is libvirt's.
Item::Author AuthorOfCpus(const Scene& scene, const std::string& wanted) {
  const bool replugged =
      scene.record.has_last_live() && scene.record.last_live().resources().cpus() != Plugged(scene);
  return MovedBy(scene, kCpus, wanted, replugged ? Item::LIBVIRT : Item::GUEST);
}

void JudgeInGuest(const Scene& scene, uint32_t online, Verdict* verdict) {
  const uint32_t wanted = scene.desired.resources().cpus();
  const FieldChange* const change = FindChange(scene.now_changes, kCpus);
  const bool may = change == nullptr ? scene.options.live && scene.desired.reconcile().live()
                                     : GoesLive(scene, *change);
  if (online == wanted || !may) {
    verdict->AddHolding(kCpus, VCpus(online == wanted ? online : Plugged(scene)));
    return;
  }
  // As it booted: a kernel without hotplug, or one that was told to use fewer.
  const uint32_t there = ResourcesInGuest(scene)->cpus_there();
  if (change == nullptr && online < wanted && there <= online) {
    verdict->AddHolding(kCpus,
                        absl::StrCat(VCpus(wanted), ", of which the guest's kernel uses ", online));
    return;
  }
  Action::SetCpus* const set = verdict->AddAction(kCpus)->mutable_set_cpus();
  set->set_before(online);
  set->set_after(wanted);
  const std::string after = absl::StrCat(wanted);
  verdict->AddCurable(kCpus, kCpus, AuthorOfCpus(scene, after), absl::StrCat(online), after,
                      absl::StrCat(VCpus(online), " in the guest, ", wanted, " wanted"),
                      Outlook(scene, "set"));
}

// Without a guest that tells: as libvirt has it.
void JudgePlugged(const Scene& scene, uint32_t cpus, Verdict* verdict) {
  const uint32_t wanted = scene.desired.resources().cpus();
  if (cpus == wanted) {
    verdict->AddHolding(kCpus, VCpus(cpus)).item.set_known_by(Item::LIBVIRT);
    return;
  }
  const std::string after = absl::StrCat(wanted);
  verdict->Add(kCpus, Item::PENDING, AuthorOfCpus(scene, after), absl::StrCat(cpus), after,
               absl::StrCat(VCpus(cpus), " plugged, ", wanted, " wanted"),
               "when the agent in the guest answers");
}

Verdict JudgeCpus(const Scene& scene) {
  Verdict verdict;
  const DomainState& domain = scene.observed.domain;
  if (!domain.defined && !domain.running) return verdict;
  const agent::Resources* const guest = domain.running ? ResourcesInGuest(scene) : nullptr;
  const Config& counts = domain.running ? domain.live : domain.persistent;
  const uint32_t now = guest != nullptr ? guest->cpus() : counts.resources().cpus();
  const bool unknown = domain.running && !scene.observed.guest.has_value() &&
                       now != scene.desired.resources().cpus();
  if (!unknown) {
    verdict.seen.mutable_applied()->mutable_resources()->set_cpus(now);
    verdict.Know(absl::StrCat("applied.", kCpus));
  }
  if (IsReportedByDefinition(scene, kCpus)) return verdict;
  if (guest != nullptr) {
    JudgeInGuest(scene, now, &verdict);
  } else {
    JudgePlugged(scene, now, &verdict);
  }
  return verdict;
}

absl::Status ActOnCpus(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("vCPUs: no agent");
  const Action::SetCpus& set = action.set_cpus();
  deed->message = absl::StrCat("Set vCPUs ", set.before(), " → ", set.after());
  if (absl::Status written = WriteDefinition(worlds); !written.ok()) return written;
  Failpoint("cpus:defined");
  const absl::Status plugged = worlds.hypervisor.PlugCpus(worlds.machine, set.after());
  if (!plugged.ok()) return WithContext("vCPUs", plugged);
  Failpoint("cpus:plugged");
  agent::SetResourcesRequest request;
  request.set_cpus(set.after());
  return WithContext("vCPUs", worlds.agent->SetResources(request));
}

}  // namespace

Aspect CpusAspect() {
  return {.name = kCpus,
          .fields = {kCpus},
          .known_by = Item::GUEST,
          .judge = JudgeCpus,
          .act = ActOnCpus,
          .way = WayOfCpus};
}

}  // namespace rum
