// The root disk, drives and the filesystems that are to be on them, of a machine that runs: what
// goes live of a change (disk_room.h) becomes so, disk by disk. What is mounted is storage.cc's.
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/disk_room.h"
#include "controller/aspects/storage.h"
#include "controller/aspects/worlds.h"
#include "controller/base/failpoint.h"
#include "controller/base/utf8.h"
#include "controller/hypervisor/definition.h"
#include "state/item_name.h"
#include "state/size.h"

namespace rum {
namespace {

constexpr char kDisks[] = "disks";

// Of a drive, or of a change of filesystems; empty: of the root disk.
std::string ActionOfDisk(const std::string& what) {
  return what.empty() ? "disks.root" : ItemName(kDisks, {what});
}

std::string SizeField(const std::string& drive) {
  return drive.empty() ? kRootDisk : absl::StrCat("drives.", drive, ".size");
}

std::string SerialOfDisk(const std::string& drive) {
  return drive.empty() ? "rum.root" : DriveSerial(drive);
}

std::string NameOfDisk(const std::string& drive) {
  return drive.empty() ? "the root disk" : absl::StrCat("drive ", drive);
}

// 0: there is none.
uint64_t SizeIn(const Config& config, const std::string& drive) {
  if (drive.empty()) return config.resources().disk();
  const auto found = config.drives().find(drive);
  return found == config.drives().end() ? 0 : found->second.size();
}

std::string OrNothing(const std::string& value) { return value.empty() ? "absent" : value; }

class DisksJudge {
 public:
  explicit DisksJudge(const Scene& scene)
      : scene_(scene), domain_(scene.observed.domain), room_(scene) {}

  Verdict Run() {
    NoteApplied();
    if (!domain_.running || !scene_.observed.guest.has_value()) return std::move(verdict_);
    std::set<std::string> names;
    for (const Config* config : {&scene_.desired, &domain_.live}) {
      for (const auto& [name, drive] : config->drives()) names.insert(name);
    }
    for (const std::string& name : names) JudgeDrive(name);
    JudgeSize("");
    JudgeFilesystems();
    return std::move(verdict_);
  }

 private:
  void NoteApplied() {
    if (!domain_.defined && !domain_.running) return;
    *verdict_.seen.mutable_applied() = domain_.running ? domain_.live : domain_.persistent;
    for (const char* field : {kRootDisk, "drives", "fs"}) {
      verdict_.Know(absl::StrCat("applied.", field));
    }
  }

  // The change of just that field, if it goes live.
  const FieldChange* Live(const std::string& field) const {
    const FieldChange* const change = FindChange(scene_.now_changes, field);
    return change != nullptr && GoesLive(scene_, *change) ? change : nullptr;
  }

  void AddPending(const FieldChange& change, const std::string& remedy, const std::string& will) {
    verdict_.AddCurable(
        change.field, remedy, MovedBy(scene_, change.field, change.after, Item::LIBVIRT),
        change.before, change.after,
        absl::StrCat(OrNothing(change.before), " now, ", OrNothing(change.after), " wanted"),
        Outlook(scene_, will));
  }

  void AddChange(Action::ChangeDisk::What what, const std::string& drive) {
    Action::ChangeDisk* change = verdict_.AddAction(ActionOfDisk(drive))->mutable_change_disk();
    change->set_what(what);
    change->set_drive(drive);
    change->set_size(SizeIn(scene_.desired, drive));
    change->set_before(SizeIn(domain_.live, drive));
  }

  void JudgeDrive(const std::string& name) {
    const FieldChange* const change = Live(absl::StrCat("drives.", name));
    if (change == nullptr) return JudgeSize(name);
    const std::string action = ActionOfDisk(name);
    if (SizeIn(domain_.live, name) == 0) {
      AddChange(Action::ChangeDisk::PLUG, name);
      return AddPending(*change, action, "plugged in");
    }
    // What is mounted from it goes first.
    if (IsFree(name)) AddChange(Action::ChangeDisk::UNPLUG, name);
    AddPending(*change, action, "unplugged");
  }

  // No filesystem of the machine's is on it, and nobody in the guest uses it.
  bool IsFree(const std::string& name) const {
    for (const auto& [item, fs] : FsItemsOf(domain_.live)) {
      for (const std::string& drive : fs.Drives()) {
        if (drive == name) return false;
      }
    }
    const agent::DriveState* const seen = room_.Seen(DriveSerial(name));
    return seen != nullptr && seen->used().empty();
  }

  void JudgeSize(const std::string& drive) {
    const std::string field = SizeField(drive);
    if (const FieldChange* const change = Live(field); change != nullptr) {
      AddChange(Action::ChangeDisk::GROW, drive);
      return AddPending(*change, ActionOfDisk(drive), "grown");
    }
    const uint64_t wanted = SizeIn(scene_.desired, drive);
    const bool as_wanted = DiskSize(wanted) == DiskSize(SizeIn(domain_.live, drive));
    const agent::DriveState* const seen = room_.Seen(SerialOfDisk(drive));
    const bool short_of_it = seen != nullptr && seen->grows() && domain_.grown.count(drive) > 0;
    if (as_wanted && short_of_it) JudgeFilesystemOf(drive, *seen);
  }

  // The disk has grown since the machine started, and what is on it has not.
  void JudgeFilesystemOf(const std::string& drive, const agent::DriveState& seen) {
    const std::string field = SizeField(drive);
    const std::string size = FormatSize(SizeIn(scene_.desired, drive));
    const std::string what = absl::StrCat("grown to ", size, ", but its filesystem is not");
    if (seen.cannot_grow().empty()) {
      AddChange(Action::ChangeDisk::GROW, drive);
      verdict_.AddCurable(field, ActionOfDisk(drive), Item::FILE, "its filesystem is smaller", size,
                          what, Outlook(scene_, "grown"));
      verdict_.findings.back().item.set_known_by(Item::GUEST);
      return;
    }
    const std::string why = ToUtf8(seen.cannot_grow());
    Change& change = verdict_.waiting.emplace_back();
    change.set_field(field);
    change.set_before("its filesystem is smaller");
    change.set_after(size);
    change.set_effect(RESTART);
    change.set_reason(why);
    Finding& finding =
        verdict_.Add(field, Item::NEEDS_RESTART, Item::FILE, "its filesystem is smaller", size,
                     absl::StrCat(what, ": ", why));
    finding.item.set_reason(why);
    finding.item.set_known_by(Item::GUEST);
  }

  // Those of drives that the machine has by now; `storage` mounts and unmounts. Each change is an
  // action of its own, for some come when their drive is there, and brings those before it as well.
  void JudgeFilesystems() {
    Action::AdoptFilesystems adopt;
    for (const FieldChange& change : scene_.now_changes) {
      if (!IsWithin(change.field, "fs") || !GoesLive(scene_, change)) continue;
      const std::string missing = MissingDrive(change);
      const std::string action = ActionOfDisk(missing.empty() ? change.field : missing);
      AddPending(change, action, "changed");
      if (!missing.empty()) continue;
      adopt.add_changed(change.field);
      *verdict_.AddAction(action)->mutable_adopt_filesystems() = adopt;
    }
  }

  std::string MissingDrive(const FieldChange& change) const {
    for (const auto& [item, fs] : FsItemsOf(scene_.desired)) {
      if (!IsOfItem(change.field, item)) continue;
      for (const std::string& drive : fs.Drives()) {
        if (!room_.Runs({drive})) return drive;
      }
    }
    return "";
  }

  const Scene& scene_;
  const DomainState& domain_;
  const DiskRoom room_;
  Verdict verdict_;
};

Verdict JudgeDisks(const Scene& scene) { return DisksJudge(scene).Run(); }

std::optional<Way> WayOfDisks(const Scene& scene, const FieldChange& change) {
  if (!IsOfDisks(change.field)) return std::nullopt;
  return DiskRoom(scene).Of(change);
}

// The guest's half: it waits for the disk as it is to be, and does what `wish` says.
absl::Status TellGuest(const Worlds& worlds, const agent::DriveWish& wish) {
  agent::SetStorageRequest request;
  const std::vector<agent::Volume> volumes = VolumesOf(worlds.observed.domain);
  request.mutable_volumes()->Add(volumes.begin(), volumes.end());
  *request.add_drives() = wish;
  const absl::StatusOr<agent::SetStorageReply> reply = worlds.agent->SetStorage(request);
  if (!reply.ok()) return reply.status();
  if (reply->drives().empty()) {
    return absl::AbortedError("the agent in the guest is of an older rum now");
  }
  const std::string& problem = reply->drives(0).problem();
  return problem.empty() ? absl::OkStatus() : absl::FailedPreconditionError(ToUtf8(problem));
}

absl::Status PlugIn(const Action::ChangeDisk& change, const Worlds& worlds, Deed* deed) {
  const absl::Status plugged =
      worlds.hypervisor.ChangeDisk(worlds.machine, {DiskChange::kPlug, change.drive(), {}});
  if (!plugged.ok()) return plugged;
  Failpoint("disk:plugged");
  agent::DriveWish wish;
  wish.set_serial(SerialOfDisk(change.drive()));
  wish.set_size(change.size());
  deed->message =
      absl::StrCat("Plugged drive ", change.drive(), " in (", FormatSize(change.size()), ")");
  return WithContext("plugged in, but", TellGuest(worlds, wish));
}

absl::Status GrowDisk(const Action::ChangeDisk& change, const Worlds& worlds, Deed* deed) {
  const absl::Status grown =
      worlds.hypervisor.ChangeDisk(worlds.machine, {DiskChange::kGrow, change.drive(), {}});
  if (!grown.ok()) return grown;
  Failpoint("disk:grown");
  agent::DriveWish wish;
  wish.set_serial(SerialOfDisk(change.drive()));
  wish.set_size(change.size());
  wish.set_grow(true);
  deed->message = absl::StrCat("Grew ", NameOfDisk(change.drive()), " ",
                               FormatSize(change.before()), " → ", FormatSize(change.size()));
  if (change.before() == change.size())
    deed->message = absl::StrCat("Grew the filesystem of ", NameOfDisk(change.drive()));
  return WithContext("grown, but its filesystem is not", TellGuest(worlds, wish));
}

// libvirt takes a disk away under a mount and a writer: the guest has let it go before.
absl::Status TakeOut(const Action::ChangeDisk& change, const Worlds& worlds, Deed* deed) {
  agent::DriveWish wish;
  wish.set_serial(SerialOfDisk(change.drive()));
  wish.set_release(true);
  if (absl::Status released = TellGuest(worlds, wish); !released.ok()) return released;
  Failpoint("disk:released");
  deed->message = absl::StrCat("Unplugged drive ", change.drive(),
                               "; what is on it is kept until `rum destroy`");
  return worlds.hypervisor.ChangeDisk(worlds.machine, {DiskChange::kUnplug, change.drive(), {}});
}

absl::Status ActOnDisk(const Action& action, const Worlds& worlds, Deed* deed) {
  if (action.has_adopt_filesystems()) {
    const Action::AdoptFilesystems& adopt = action.adopt_filesystems();
    deed->message =
        absl::StrCat("Changed what the machine mounts (", *adopt.changed().rbegin(), ")");
    return worlds.hypervisor.ChangeDisk(
        worlds.machine, {DiskChange::kFilesystems, "",
                         AdoptedFs(worlds.observed.domain.live, worlds.desired, adopt.changed())});
  }
  const Action::ChangeDisk& change = action.change_disk();
  switch (change.what()) {
    case Action::ChangeDisk::PLUG:
      return PlugIn(change, worlds, deed);
    case Action::ChangeDisk::GROW:
      return GrowDisk(change, worlds, deed);
    default:
      return TakeOut(change, worlds, deed);
  }
}

// The definition for the next start first: what is missed after it is seen by the next look.
absl::Status ActOnDisks(const Action& action, const Worlds& worlds, Deed* deed) {
  const std::string what =
      action.has_adopt_filesystems() ? "filesystems" : NameOfDisk(action.change_disk().drive());
  if (worlds.agent == nullptr) return absl::UnavailableError(absl::StrCat(what, ": no agent"));
  const absl::Status defined =
      worlds.hypervisor.Define(worlds.machine, worlds.desired, Fresh::kNothing, worlds.onlooker);
  Failpoint("disk:defined");
  return WithContext(what, defined.ok() ? ActOnDisk(action, worlds, deed) : defined);
}

void AskAboutDisks(const Config& desired, const MachineRecord&, const DomainState& domain,
                   agent::ObserveRequest* request) {
  for (const auto& [name, drive] : domain.live.drives()) {
    if (SizeIn(desired, name) == 0) request->add_leaving(DriveSerial(name));
  }
}

}  // namespace

Aspect DisksAspect() {
  return {.name = kDisks,
          .fields = {kRootDisk, "drives", "fs"},
          .known_by = Item::LIBVIRT,
          .judge = JudgeDisks,
          .act = ActOnDisks,
          .way = WayOfDisks,
          .ask = AskAboutDisks};
}

}  // namespace rum
