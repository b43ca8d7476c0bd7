#include "agent-api/guest/storage.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/authorized_keys.h"
#include "agent-api/guest/drives.h"
#include "agent-api/guest/filesystem.h"
#include "agent-api/guest/home.h"
#include "agent-api/guest/mount_place.h"
#include "agent-api/guest/mount_table.h"
#include "agent-api/guest/mount_users.h"
#include "agent-api/guest/text_file.h"
#include "agent-api/guest/tool.h"
#include "agent-api/guest/unfinished_drives.h"

namespace rum::guest {
namespace {

constexpr char kFstab[] = "/etc/fstab";
constexpr char kUnfinished[] = "/var/lib/rum/unfinished-drives";
constexpr size_t kMostOfFstab = 1 << 20;
constexpr std::chrono::seconds kArrives{30};  // a folder that was plugged in, on a busy host
constexpr std::chrono::minutes kChecked{5};   // a filesystem, by the guest's boot
constexpr std::chrono::milliseconds kTryAgain{50};

// What a SetStorage goes by besides its volumes.
struct Around {
  std::string own_lines;                 // of the table, and
  std::vector<std::string> own_targets;  // that rum mounted, and so may unmount
  std::string user;
  std::set<std::string> arriving;  // tags
};

using Volumes = std::vector<agent::Volume>;

// With each target as the kernel and systemd name it: without links, dots and a slash at the end.
Volumes Placed(Volumes volumes) {
  for (agent::Volume& volume : volumes) {
    std::error_code error;
    std::string place = std::filesystem::weakly_canonical(volume.target(), error).string();
    if (error) continue;
    while (place.size() > 1 && place.back() == '/') place.pop_back();
    volume.set_target(place);
  }
  return volumes;
}

bool IsFolder(const agent::Volume& volume) { return volume.serials().empty(); }

// What the kernel may call it: NTFS has two drivers, and one in user space.
std::vector<std::string> TypesOf(const agent::Volume& volume) {
  if (volume.type() == "ntfs") return {"ntfs", "ntfs3", "fuseblk"};
  return {volume.type()};
}

absl::StatusOr<std::vector<std::string>> DevicesOf(const agent::Volume& volume) {
  std::vector<std::string> devices;
  for (const std::string& serial : volume.serials()) {
    absl::StatusOr<std::string> device = DeviceOf(serial);
    if (!device.ok()) return device.status();
    devices.push_back(*std::move(device));
  }
  return devices;
}

// Whether `mount` is what `volume` asks for, but for being read-only or not.
bool IsVolume(const MountEntry& mount, const agent::Volume& volume) {
  if (!absl::c_linear_search(TypesOf(volume), mount.type)) return false;
  if (IsFolder(volume)) return mount.source == volume.tag();
  if (volume.type() == "zfs") return mount.source == volume.pool();
  const absl::StatusOr<std::vector<std::string>> devices = DevicesOf(volume);
  return devices.ok() &&
         std::find(devices->begin(), devices->end(), mount.source) != devices->end();
}

// zfs remembers its mounts itself.
bool NeedsFstab(const agent::Volume& volume) { return volume.type() != "zfs"; }

bool Holds(const MountEntry& mount, const agent::Volume& volume) {
  return IsVolume(mount, volume) && mount.readonly == volume.readonly();
}

std::string Describe(const DeviceContent& content) {
  return content.type.empty() ? "data of an unknown kind" : content.type;
}

// Half of it must not be taken for data should the guest die meanwhile.
absl::Status Format(const agent::Volume& volume, const std::vector<std::string>& devices) {
  UnfinishedDrives unfinished(kUnfinished);
  const std::vector<std::string> serials(volume.serials().begin(), volume.serials().end());
  if (absl::Status noted = unfinished.Note(serials); !noted.ok()) return noted;
  const absl::Status made = RunTool(FormatCommand(volume, devices));
  sync();
  const absl::Status forgotten = unfinished.Forget(serials);
  return made.ok() ? forgotten : made;
}

// The filesystem's UUID; made first where all drives are blank.
absl::StatusOr<std::string> FindOrMake(const agent::Volume& volume,
                                       const std::vector<std::string>& devices) {
  bool all_blank = true;
  std::set<std::string> uuids;
  for (size_t i = 0; i < devices.size(); ++i) {
    const absl::StatusOr<DeviceContent> content = ProbeDevice(devices[i]);
    if (!content.ok()) return content.status();
    if (!content->blank && !IsOf(volume, *content)) {
      return absl::FailedPreconditionError(
          absl::StrCat("drive ", volume.serials(static_cast<int>(i)), " (", devices[i], ") holds ",
                       Describe(*content), ", not ", volume.type(), ": it is left as it is"));
    }
    all_blank = all_blank && content->blank;
    uuids.insert(content->blank ? "blank" : content->uuid);
  }
  if (!all_blank) {
    // Should an agent have died while it was made: from here on it is somebody's.
    absl::Status finished =
        UnfinishedDrives(kUnfinished).Forget({volume.serials().begin(), volume.serials().end()});
    if (!finished.ok()) return finished;
    if (uuids.size() == 1) return *uuids.begin();
    return absl::FailedPreconditionError(
        absl::StrCat("drives ", absl::StrJoin(volume.serials(), ", "),
                     " are not of one filesystem: they are left as they are (", volume.type(),
                     volume.type() == "zfs" ? ": see zpool add" : ": see btrfs device add", ")"));
  }
  if (absl::Status made = Format(volume, devices); !made.ok()) return made;
  const absl::StatusOr<DeviceContent> content = ProbeDevice(devices[0]);
  if (!content.ok()) return content.status();
  if (IsOf(volume, *content)) return content->uuid;
  return absl::InternalError(absl::StrCat(devices[0], " holds ", Describe(*content), " after ",
                                          FormatCommand(volume, devices)[0]));
}

std::string MountData(const agent::Volume& volume, const std::vector<std::string>& devices) {
  if (volume.type() == "9p") return k9pOptions;
  if (volume.type() != "btrfs") return "";
  // Where no udev told the kernel which devices are one filesystem.
  std::vector<std::string> options;
  for (const std::string& device : devices) options.push_back(absl::StrCat("device=", device));
  return absl::StrJoin(options, ",");
}

// Returns 0, or why not. Nothing tells that a guest knows of a folder that was plugged in, or that
// its boot, which mounts by rum's own lines, is done with what it has under way.
int MountAs(const std::string& type, const std::string& source, const agent::Volume& volume,
            const std::string& data, const Around& around) {
  const unsigned long flags = volume.readonly() ? MS_RDONLY : 0;
  const bool by_boot = absl::c_linear_search(around.own_targets, volume.target());
  const bool arrives = IsFolder(volume) && (by_boot || around.arriving.count(volume.tag()) > 0);
  const auto begun = std::chrono::steady_clock::now();
  while (mount(source.c_str(), volume.target().c_str(), type.c_str(), flags, data.c_str()) != 0) {
    const int why = errno;
    const std::vector<MountEntry> mounts = MountsNow();
    const MountEntry* const there = MountedAt(mounts, volume.target());
    if (by_boot && there != nullptr && Holds(*there, volume)) return 0;
    const bool checked = by_boot && there == nullptr && why == EBUSY;
    const bool unknown = arrives && (why == EINVAL || why == ENOENT);  // by virtiofs, by 9p
    const std::chrono::seconds patience = checked ? kChecked : kArrives;
    if (!(checked || unknown) || std::chrono::steady_clock::now() - begun >= patience) return why;
    std::this_thread::sleep_for(kTryAgain);
  }
  return 0;
}

std::string WhyNotMounted(const agent::Volume& volume, int why) {
  if (why == ENODEV) return " (the guest's kernel has no such filesystem)";
  return IsFolder(volume) && why == EINVAL ? " (the guest's kernel does not see such a folder)"
                                           : "";
}

absl::Status Mount(const agent::Volume& volume, const std::vector<std::string>& devices,
                   const Around& around) {
  if (volume.type() == "zfs") return RunTool({"zpool", "import", volume.pool()});
  std::error_code error;
  std::filesystem::create_directories(volume.target(), error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("making the folder ", volume.target(), ": ", error.message()));
  }
  const std::string source = IsFolder(volume) ? volume.tag() : devices[0];
  int why = ENODEV;
  for (const std::string& type : TypesOf(volume)) {
    if (type == "fuseblk") break;  // only its own program can
    why = MountAs(type, source, volume, MountData(volume, devices), around);
    if (why == 0) return absl::OkStatus();
    if (why != ENODEV) break;
  }
  if (why == ENODEV && volume.type() == "ntfs") {
    return RunTool({"mount.ntfs", source, volume.target()});
  }
  return absl::FailedPreconditionError(absl::StrCat("mount of ", source, " as ", volume.type(),
                                                    ": ", std::strerror(why),
                                                    WhyNotMounted(volume, why)));
}

// `volume` with the type by which the next boot can mount it.
agent::Volume AsMounted(agent::Volume volume) {
  const std::vector<MountEntry> mounts = MountsNow();
  const MountEntry* there = MountedAt(mounts, volume.target());
  if (there != nullptr && there->type == "ntfs3") volume.set_type(there->type);
  return volume;
}

absl::Status IsOwn(const MountEntry& mount, const Around& around) {
  if (absl::c_linear_search(around.own_targets, mount.target)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      mount.source, " (", mount.type, ") is mounted at ", mount.target, ": it is left as it is"));
}

absl::Status NotDone(const std::string& what, const MountEntry& mount, int why) {
  const std::string users = why == EBUSY ? UsersOf(mount.target) : "";
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": ", users.empty() ? std::strerror(why) : "in use by ", users));
}

absl::Status Unmount(const MountEntry& mount, const Around& around) {
  if (absl::Status own = IsOwn(mount, around); !own.ok()) return own;
  if (umount2(mount.target.c_str(), 0) == 0) return absl::OkStatus();
  return NotDone(absl::StrCat("unmounting ", mount.source, " from ", mount.target), mount, errno);
}

// Of a folder that is only to be read, or may be written now: whoever is in there stays.
absl::Status Remount(const MountEntry& mount, const agent::Volume& volume, const Around& around) {
  if (absl::Status own = IsOwn(mount, around); !own.ok()) return own;
  const unsigned long flags = MS_REMOUNT | (volume.readonly() ? MS_RDONLY : 0);
  if (::mount(nullptr, mount.target.c_str(), nullptr, flags, nullptr) == 0) return absl::OkStatus();
  return NotDone(
      absl::StrCat("mounting ", mount.target, volume.readonly() ? " read-only" : " writable"),
      mount, errno);
}

// Makes room at the target: what is mounted at it goes, and what is mounted below it, which would
// be out of sight. Ours is mounted again, for the innermost volumes come last.
absl::Status Clear(const std::string& target, const Around& around) {
  const std::vector<MountEntry> mounts = MountsNow();
  std::vector<MountEntry> in_the_way = MountsBelow(mounts, target);
  if (const MountEntry* there = MountedAt(mounts, target)) in_the_way.push_back(*there);
  for (const MountEntry& mount : in_the_way) {
    if (absl::Status gone = Unmount(mount, around); !gone.ok()) return gone;
  }
  return absl::OkStatus();
}

// Who has a home that a mount at `target` puts out of sight, and may log in to it by which keys.
using Keys = std::map<std::string, std::string>;
Keys KeysOfHomesIn(const std::string& target) {
  Keys keys;
  for (const Account& account : AccountsIn(target)) {
    if (!LacksHome(account)) keys[account.name] = AuthorizedKeysText(account);
  }
  return keys;
}

// Of those who had a home before, and the machine's user: an account may be without one on purpose.
std::vector<Account> AccountsToHouse(const agent::Volume& volume, const Keys& keys,
                                     const std::string& user) {
  std::vector<Account> lacking;
  if (volume.readonly() || IsFolder(volume)) return lacking;
  for (const Account& account : AccountsIn(volume.target())) {
    const bool known = account.name == user || keys.count(account.name) > 0;
    if (known && LacksHome(account)) lacking.push_back(account);
  }
  return lacking;
}

// People can log in whose homes are on the volume, as they could before it was there.
absl::Status MakeHomes(const agent::Volume& volume, const Keys& keys, const std::string& user) {
  const std::vector<Account> lacking = AccountsToHouse(volume, keys, user);
  for (const Account& account : lacking) {
    if (absl::Status made = MakeHome(account); !made.ok()) return made;
    const auto known = keys.find(account.name);
    if (known == keys.end() || known->second.empty()) continue;
    const absl::Status followed = EditAuthorizedKeysOf(account, true, [&](const std::string& text) {
      return text.empty() ? known->second : text;
    });
    if (!followed.ok()) return followed;
  }
  // Where files without labels are nobody's to read.
  if (!lacking.empty() && std::filesystem::exists("/sys/fs/selinux/enforce")) {
    (void)RunTool({"restorecon", "-R", volume.target()});
  }
  return absl::OkStatus();
}

// Makes one volume hold; the result is its source in fstab.
absl::StatusOr<std::string> Make(const agent::Volume& volume, const Around& around) {
  const std::vector<MountEntry> mounts = MountsNow();
  const MountEntry* there = MountedAt(mounts, volume.target());
  const bool holds = there != nullptr && Holds(*there, volume);
  if (const std::string hidden = HiddenBy(volume.target()); !holds && !hidden.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "nothing is mounted there, for the guest needs ", hidden, ": choose another target"));
  }
  const absl::StatusOr<std::vector<std::string>> devices = DevicesOf(volume);
  if (!devices.ok()) return devices.status();
  std::string source = volume.tag();
  if (!IsFolder(volume)) {
    const absl::StatusOr<std::string> uuid = FindOrMake(volume, *devices);
    if (!uuid.ok()) return uuid.status();
    source = absl::StrCat("UUID=", *uuid);
  }
  if (holds) return source;
  if (there != nullptr && IsFolder(volume) && IsVolume(*there, volume)) {
    const absl::Status remounted = Remount(*there, volume, around);
    if (!remounted.ok()) return remounted;
    return source;
  }
  // A new pool is mounted by its making.
  const std::vector<MountEntry> after = MountsNow();
  const MountEntry* made = MountedAt(after, volume.target());
  if (made != nullptr && there == nullptr) return source;
  if (absl::Status clear = Clear(volume.target(), around); !clear.ok()) return clear;
  if (absl::Status mounted = Mount(volume, *devices, around); !mounted.ok()) return mounted;
  return source;
}

// Parents before what is in them.
std::vector<int> OuterFirst(const Volumes& volumes) {
  std::vector<int> order(volumes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int one, int other) {
    return volumes[static_cast<size_t>(one)].target() <
           volumes[static_cast<size_t>(other)].target();
  });
  return order;
}

// Of what is there still as rum mounted it: without it, it would be taken for somebody else's.
std::string KeptLine(const std::string& target, const Around& around) {
  const std::vector<MountEntry> mounts = MountsNow();
  if (MountedAt(mounts, target) == nullptr) return "";
  for (const absl::string_view line : absl::StrSplit(around.own_lines, '\n', absl::SkipEmpty())) {
    if (absl::c_linear_search(TargetsOf(std::string(line)), target))
      return absl::StrCat(line, "\n");
  }
  return "";
}

agent::VolumeState MakeHold(const agent::Volume& volume, const Around& around, std::string* lines) {
  agent::VolumeState state;
  const Keys keys = KeysOfHomesIn(volume.target());
  const absl::StatusOr<std::string> source = Make(volume, around);
  const absl::Status status = source.ok() ? MakeHomes(volume, keys, around.user) : source.status();
  state.set_holds(status.ok());
  if (!status.ok()) state.set_problem(std::string(status.message()));
  state.set_tool_missing(absl::IsUnimplemented(status));
  if (source.ok() && NeedsFstab(volume)) {
    absl::StrAppend(lines, FstabLine(AsMounted(volume), *source));
  } else if (!source.ok()) {
    absl::StrAppend(lines, KeptLine(volume.target(), around));
  }
  return state;
}

// Unmounts what is no longer the machine's. What is in use stays, with its line of `own_lines`, by
// which it is known again; these are the result.
std::string UnmountStale(std::vector<std::string> stale, const std::string& own_lines,
                         std::string* problem) {
  std::sort(stale.rbegin(), stale.rend());  // the innermost first
  std::set<std::string> busy;
  std::vector<std::string> problems;
  for (const std::string& target : stale) {
    if (umount2(target.c_str(), 0) == 0 || errno != EBUSY) continue;
    busy.insert(target);
    const std::string users = KeptMountedBy(target);
    problems.push_back(
        absl::StrCat(target, " is in use", users.empty() ? "" : absl::StrCat(" by ", users)));
  }
  *problem = absl::StrJoin(problems, "; ");
  std::string kept;
  for (const absl::string_view line : absl::StrSplit(own_lines, '\n', absl::SkipEmpty())) {
    for (const std::string& target : TargetsOf(std::string(line))) {
      if (busy.count(target) > 0) absl::StrAppend(&kept, line, "\n");
    }
  }
  return kept;
}

// `before` as it was read, or why it could not be.
absl::Status WriteTable(const absl::StatusOr<std::string>& before, const std::string& lines) {
  if (!before.ok() && !absl::IsNotFound(before.status())) return before.status();
  const std::string old = before.ok() ? *before : "";
  const std::string wanted = WithOwnLines(old, lines);
  if (wanted == old) return absl::OkStatus();
  if (absl::Status written = WriteFileAtomically(kFstab, wanted, 0644); !written.ok()) {
    return written;
  }
  // systemd makes units of the table when it is told to; elsewhere nobody asks.
  if (std::filesystem::exists("/run/systemd/system")) {
    (void)RunTool({"systemctl", "daemon-reload"});
  }
  return absl::OkStatus();
}

}  // namespace

void BlankUnfinishedDrives() {
  UnfinishedDrives unfinished(kUnfinished);
  for (const std::string& serial : unfinished.OfEarlierBoots()) {
    const absl::StatusOr<std::string> device = DeviceOf(serial);
    absl::Status status = device.ok() ? MakeBlank(*device) : device.status();
    // A drive that is gone has nothing half-made on it any more.
    if (status.ok() || absl::IsNotFound(status)) status = unfinished.Forget({serial});
    if (!status.ok())
      std::fprintf(stderr, "rum-agent: %s\n", std::string(status.message()).c_str());
  }
}

std::vector<agent::VolumeState> ObserveStorage(const Volumes& asked, const std::string& user) {
  std::vector<agent::VolumeState> states;
  if (asked.empty()) return states;
  const std::vector<MountEntry> mounts = MountsNow();
  const std::vector<std::string> targets = OwnTargets();
  for (const agent::Volume& volume : Placed(asked)) {
    const MountEntry* mount = MountedAt(mounts, volume.target());
    agent::VolumeState state;
    state.set_target(asked[states.size()].target());
    state.set_holds(mount != nullptr && Holds(*mount, volume) &&
                    (!NeedsFstab(volume) || absl::c_linear_search(targets, volume.target())) &&
                    AccountsToHouse(volume, {}, user).empty());
    states.push_back(std::move(state));
  }
  return states;
}

std::vector<std::string> StaleTargets(const Volumes& asked) {
  std::vector<std::string> stale;
  const Volumes volumes = Placed(asked);
  for (const std::string& target : OwnTargets()) {
    const bool wanted = std::any_of(volumes.begin(), volumes.end(), [&](const agent::Volume& v) {
      return v.target() == target && NeedsFstab(v);
    });
    if (!wanted) stale.push_back(target);
  }
  return stale;
}

absl::StatusOr<std::vector<agent::VolumeState>> SetStorage(const Volumes& asked,
                                                           const std::string& user,
                                                           const std::set<std::string>& arriving,
                                                           std::string* stale_problem) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  const absl::StatusOr<std::string> fstab = ReadFileToEdit(kFstab, kMostOfFstab);
  const std::string own_lines = OwnLines(fstab.value_or(""));
  const Around around = {own_lines, TargetsOf(own_lines), user, arriving};
  std::string lines = UnmountStale(StaleTargets(asked), own_lines, stale_problem);
  const Volumes volumes = Placed(asked);
  std::vector<agent::VolumeState> states(asked.size());
  for (const int i : OuterFirst(volumes)) {
    const size_t at = static_cast<size_t>(i);
    states[at] = MakeHold(volumes[at], around, &lines);
    states[at].set_target(asked[at].target());
  }
  const absl::Status table = WriteTable(fstab, lines);
  if (table.ok()) return states;
  const std::string why = absl::StrCat("mounted, but not at the next boot: ", table.message());
  // What is mounted stays so, until the next boot.
  bool only_that = true;
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].holds() && NeedsFstab(volumes[i])) {
      states[i].set_problem(why);
      states[i].set_holds(false);
    } else {
      only_that = only_that && states[i].holds();
    }
  }
  // Whoever uses the guest may cure it, and nothing else has to be changed for that.
  if (only_that)
    return absl::Status(table.code(), asked.empty() ? table.message() : absl::string_view(why));
  return states;
}

}  // namespace rum::guest
