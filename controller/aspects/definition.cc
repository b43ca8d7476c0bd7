// What libvirt's definitions of a machine say: cpus, memory, image, cards, drives, shared folders
// and whatever else the schema makes a restart or a new disk. Which fields these are, what they
// cost and when two of them are equal follows from the descriptor (state/diff.h, state/schema.h)
// alone. What goes live on this machine (WayOf) is left to the aspect that says so, in both
// definitions.
#include "controller/aspects/definition.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/worlds.h"
#include "state/identity.h"
#include "state/image_url.h"
#include "state/item_name.h"
#include "state/schema.h"

namespace rum {
namespace {

constexpr char kDomain[] = "domain";
constexpr char kImage[] = "image.base";

Change ToChange(const FieldChange& field) {
  Change change;
  change.set_field(field.field);
  change.set_before(field.before);
  change.set_after(field.after);
  change.set_effect(field.effect);
  change.set_reason(field.reason);
  return change;
}

bool HasEffect(const std::vector<FieldChange>& changes, Effect effect) {
  return std::any_of(changes.begin(), changes.end(),
                     [effect](const FieldChange& change) { return change.effect == effect; });
}

const char* UnitOf(const std::string& field) {
  const bool memory = field == "resources.memory_mb" || field == "resources.max_memory_mb";
  const bool cpus = field == "resources.cpus" || field == "resources.max_cpus";
  return memory ? " MiB" : cpus ? " vCPUs" : "";
}

std::string OrAbsent(const std::string& value, const char* unit = "") {
  return value.empty() ? "absent" : absl::StrCat(value, unit);
}

// A script is told by its hash, and one that never ran to success needs no word to run.
Change ChangeAtStart(const FieldChange& change) {
  Change listed = ToChange(change);
  if (!IsWithin(change.field, "provision")) return listed;
  const auto mark = [](const std::string& script) {
    return script.empty() ? "" : Sha256Hex(script).substr(0, 12);
  };
  listed.set_before(mark(change.before));
  listed.set_after(mark(change.after));
  if (change.before.empty()) listed.set_effect(LIVE);
  return listed;
}

std::vector<std::string> FieldsWithoutRoom() {
  std::vector<std::string> fields = FieldsOfEffects({RESTART, RECREATE});
  const std::vector<std::string> others = FieldsWithRoom();
  const auto is_other = [&](const std::string& field) {
    return std::find(others.begin(), others.end(), field) != others.end();
  };
  fields.erase(std::remove_if(fields.begin(), fields.end(), is_other), fields.end());
  return fields;
}

class DefinitionJudge {
 public:
  explicit DefinitionJudge(const Scene& scene)
      : scene_(scene), domain_(scene.observed.domain), there_(domain_.defined || domain_.running) {
    std::set<std::string> live;
    for (FieldChange change : scene.now_changes) {
      const Way way = WayOf(scene, change);
      if (way.what == Way::kLive) live.insert(change.field);
      if (way.what != Way::kRestart) continue;
      change.reason = way.reason;
      now_.push_back(std::move(change));
    }
    for (const FieldChange& change : scene.next_changes) {
      if (live.count(change.field) == 0) next_.push_back(change);
    }
  }

  Verdict Run() {
    JudgeActions();
    if (there_) {
      ListWaiting();
      JudgeItems();
      NoteApplied();
    }
    ListAtStart();
    return std::move(verdict_);
  }

 private:
  void JudgeActions() {
    const PlanOptions& options = scene_.options;
    const bool starting = options.start && !domain_.running;
    const bool reset = starting && options.reset;
    bool define = reset || (starting && !domain_.defined);
    // The next boot is ready at once; at a start, the seed gets the live fields as well.
    define = define || HasEffect(next_, RESTART);
    define = define || ((domain_.running || starting) && domain_.defined && PromisesTooMuch());
    define = define || (starting && HasEffect(next_, LIVE));
    // Somebody undefined it while it runs: without a definition it would be gone once it is off.
    if (domain_.running && !domain_.defined) define = true;
    if (define) AddDefine(reset);
    if (starting || (options.start && domain_.paused)) {
      verdict_.AddAction(kDomain)->mutable_start_domain();
    }
  }

  // A disk was to grow at the next start, and the file has taken that back.
  bool PromisesTooMuch() const {
    const Config& next = domain_.persistent;
    const Config& now = domain_.live;
    const Config& desired = scene_.desired;
    const auto too_much = [](uint64_t promised, uint64_t wanted, uint64_t there) {
      return promised > std::max(wanted, there);
    };
    if (too_much(next.resources().disk(), desired.resources().disk(), now.resources().disk())) {
      return true;
    }
    return std::any_of(next.drives().begin(), next.drives().end(), [&](const auto& drive) {
      auto wanted = desired.drives().find(drive.first);
      auto there = now.drives().find(drive.first);
      if (wanted == desired.drives().end()) return false;
      if (there == now.drives().end() && domain_.running) return false;  // as it is defined
      return too_much(drive.second.size(), wanted->second.size(),
                      there == now.drives().end() ? 0 : there->second.size());
    });
  }

  void AddDefine(bool reset) {
    Action::DefineDomain* define = verdict_.AddAction(kDomain)->mutable_define_domain();
    if (!reset) return;
    define->set_reset(true);
    define->set_reset_drives(scene_.options.reset_drives);
    for (const std::string& drive : DriveNames(domain_)) define->add_drives(drive);
  }

  void ListWaiting() {
    bool image_listed = false;
    for (const FieldChange& change : now_) {
      // What only the persistent definition lacks is an action, not a wait.
      if ((change.effect == RESTART && domain_.running) || change.effect == RECREATE) {
        waiting_.push_back(ToChange(change));
        image_listed = image_listed || change.field == kImage;
      }
    }
    if (domain_.running) ListDrivesTooLarge();
    if (!domain_.image_drift.empty() && !image_listed) ListImage();
    // A new disk settles all.
    const PlanOptions& options = scene_.options;
    if (!options.start || !options.reset || domain_.running) verdict_.waiting = waiting_;
  }

  // A drive that the running machine lacks has its disk already, made when it was defined or
  // before.
  void ListDrivesTooLarge() {
    for (const FieldChange& change : next_) {
      if (change.effect != RECREATE || !IsWithin(change.field, "drives")) continue;
      const auto is_of = [&](const auto& drive) {
        return change.field == absl::StrCat("drives.", drive.first, ".size");
      };
      const auto& live = domain_.live.drives();
      if (std::none_of(live.begin(), live.end(), is_of)) waiting_.push_back(ToChange(change));
    }
  }

  void ListImage() {
    const bool gone = domain_.image_drift == "gone";
    const std::string image = ShownUrl(scene_.desired.image().base());
    Change& change = waiting_.emplace_back();
    change.set_field(kImage);
    change.set_before(image);
    change.set_after(absl::StrCat(image, ", which is ", gone ? "gone" : "another file now"));
    change.set_effect(RECREATE);
    change.set_reason(absl::StrCat("the image under the disk was ", gone ? "removed" : "replaced",
                                   " since the disk was made"));
  }

  // Of a machine that is off, against what it ran with last and what was seen to hold then.
  void ListAtStart() {
    if (!domain_.defined || domain_.running || scene_.options.start) return;
    const MachineRecord& record = scene_.record;
    if (record.has_last_live()) {
      for (const FieldChange& change : DefinitionChanges(record.last_live(), scene_.desired)) {
        if (change.effect == RESTART) verdict_.at_start.push_back(ToChange(change));
      }
    }
    for (const FieldChange& change : scene_.file_changes) {
      const bool live = change.effect == LIVE || change.effect == LIVE_OPT_IN;
      if (live) verdict_.at_start.push_back(ChangeAtStart(change));
    }
  }

  // Every field of the definition when something is with it.
  void JudgeItems() {
    for (const Change& change : waiting_) {
      JudgeWaiting(change);
      reported_.insert(change.field());
    }
    if (domain_.defined) {
      JudgeNext();
    } else {
      verdict_.AddCurable(kDomain, kDomain, Item::LIBVIRT, "not defined", "defined",
                          "no longer defined in libvirt", Outlook(scene_, "defined"));
    }
  }

  void JudgeWaiting(const Change& change) {
    const std::string& field = change.field();
    const std::string& after = change.after();
    if (field == kImage && !domain_.image_drift.empty()) {
      verdict_
          .Add(field, Item::NEEDS_RECREATE, MovedBy(scene_, field, after, Item::HOST),
               change.before(), after, after, "`rum up --reset` makes a new disk")
          .item.set_reason(change.reason());
      return;
    }
    const bool recreate = change.effect() == RECREATE;
    const char* unit = UnitOf(field);
    const std::string when =
        recreate ? absl::StrCat("needs ", RecreateCommand(field)) : "at the next start";
    verdict_
        .Add(field, recreate ? Item::NEEDS_RECREATE : Item::NEEDS_RESTART,
             MovedBy(scene_, field, after, Item::LIBVIRT), change.before(), after,
             absl::StrCat(OrAbsent(change.before(), unit), " now, ", OrAbsent(after, unit), " ",
                          when))
        .item.set_reason(change.reason());
  }

  // What runs is right, but the definition for the next start is not.
  void JudgeNext() {
    for (const FieldChange& change : next_) {
      if (change.effect != RESTART || !reported_.insert(change.field).second) continue;
      verdict_.AddCurable(change.field, kDomain,
                          MovedBy(scene_, change.field, change.after, Item::LIBVIRT), change.before,
                          change.after,
                          absl::StrCat(OrAbsent(change.before), " in libvirt's definition, ",
                                       OrAbsent(change.after), " wanted"),
                          Outlook(scene_, "written"));
    }
  }

  // What the definition that counts now says; live fields of it mean nothing.
  void NoteApplied() {
    *verdict_.seen.mutable_applied() = domain_.running ? domain_.live : domain_.persistent;
    for (const std::string& field : FieldsWithoutRoom()) {
      verdict_.Know(absl::StrCat("applied.", field));
    }
    if (!domain_.running) return;
    *verdict_.seen.mutable_last_live() = domain_.live;
    verdict_.Know("last_live");
  }

  const Scene& scene_;
  const DomainState& domain_;
  const bool there_;
  std::vector<FieldChange> next_;  // from the persistent definition
  std::vector<FieldChange> now_;   // from the one that counts
  std::vector<Change> waiting_;
  std::set<std::string> reported_;
  Verdict verdict_;
};

Verdict JudgeDefinition(const Scene& scene) { return DefinitionJudge(scene).Run(); }

std::string StartMessage(const DomainState& domain) {
  if (domain.cause == DomainCause::kSaved) return "Started the machine with its saved memory";
  if (!StandsStill(domain)) return "Started the machine";
  switch (domain.cause) {
    case DomainCause::kPanicked:
      return "Started the machine anew, as its kernel had given up";
    case DomainCause::kShuttingDown:
      return "Started the machine again";
    case DomainCause::kSuspended:
      return "Woke the machine";
    default:
      return "Went on with the paused machine";
  }
}

absl::Status Define(const Action::DefineDomain& define, const Worlds& worlds, Deed* deed) {
  const DomainState& domain = worlds.observed.domain;
  if (!domain.defined && !domain.running) {
    deed->message = "Made the machine's disks and definition";
  } else if (define.reset()) {
    deed->message = define.reset_drives() && define.drives_size() > 0
                        ? "Made a fresh disk, fresh drives and a new definition"
                        : "Made a fresh disk and a new definition";
  } else {
    deed->message = "Wrote the new definition for the next start";
  }
  const Fresh fresh = !define.reset()         ? Fresh::kNothing
                      : define.reset_drives() ? Fresh::kDiskAndDrives
                                              : Fresh::kDisk;
  return WithContext("definition", worlds.hypervisor.Define(worlds.machine, worlds.desired, fresh,
                                                            worlds.onlooker));
}

absl::Status ActOnDomain(const Action& action, const Worlds& worlds, Deed* deed) {
  if (action.has_define_domain()) return Define(action.define_domain(), worlds, deed);
  deed->message = StartMessage(worlds.observed.domain);
  return WithContext("start", worlds.hypervisor.Start(worlds.machine));
}

// A new disk has nothing of the old one.
void IntendDefinition(const Config& desired, const Observed& observed, const Action& action,
                      MachineRecord* record) {
  const bool known = observed.domain.defined || observed.domain.running;
  if (!action.has_define_domain() || (!action.define_domain().reset() && known)) return;
  record->clear_owned_groups();
  record->clear_runs();
  record->clear_applied();
  record->clear_last_live();
  *record->mutable_owned_keys() = desired.ssh().authorized_keys();  // the seed brings them
}

}  // namespace

std::vector<std::string> DriveNames(const DomainState& domain) {
  std::set<std::string> names;
  for (const auto& [name, drive] : domain.persistent.drives()) names.insert(name);
  for (const auto& [name, drive] : domain.live.drives()) names.insert(name);
  return {names.begin(), names.end()};
}

Aspect DefinitionAspect() {
  return {.name = kDomain,
          .fields = FieldsWithoutRoom(),
          .known_by = Item::LIBVIRT,
          .acts_first = true,
          .judge = JudgeDefinition,
          .act = ActOnDomain,
          .intend = IntendDefinition};
}

}  // namespace rum
