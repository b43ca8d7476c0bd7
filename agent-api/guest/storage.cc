#include "agent-api/guest/storage.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent-api/guest/filesystem.h"
#include "agent-api/guest/mount_table.h"
#include "agent-api/guest/spawn.h"
#include "agent-api/guest/text_file.h"
#include "agent-api/guest/unfinished_drives.h"

namespace rum::guest {
namespace {

constexpr char kFstab[] = "/etc/fstab";
constexpr char kUnfinished[] = "/var/lib/rum/unfinished-drives";
constexpr char kMountInfo[] = "/proc/self/mountinfo";

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

bool Has(const std::vector<std::string>& list, const std::string& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

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
  if (!Has(TypesOf(volume), mount.type)) return false;
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

// Runs a command of the guest; what it said is part of an error.
absl::Status RunTool(const std::vector<std::string>& argv) {
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) return absl::InternalError(std::strerror(errno));
  SpawnRequest request;
  request.argv = argv;
  request.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                         "LC_ALL=C"};
  request.stdout_fd = request.stderr_fd = output[1];
  const absl::StatusOr<Child> child = Spawn(request);
  close(output[1]);
  if (!child.ok()) {
    close(output[0]);
    if (!absl::IsNotFound(child.status())) return child.status();
    return absl::UnimplementedError(absl::StrCat("the guest has no ", argv[0]));
  }
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = read(output[0], buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) said.append(buffer, static_cast<size_t>(n));
  }
  close(output[0]);
  const Exit end = Reap(*child);
  if (end.well()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      absl::StrJoin(argv, " "), end.signal != 0 ? " ended by signal " : " ended with ",
      end.signal != 0 ? end.signal : end.exit_status, ": ", absl::StripAsciiWhitespace(said)));
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

absl::Status Mount(const agent::Volume& volume, const std::vector<std::string>& devices) {
  if (volume.type() == "zfs") return RunTool({"zpool", "import", volume.pool()});
  std::error_code error;
  std::filesystem::create_directories(volume.target(), error);
  if (error) return absl::FailedPreconditionError(error.message());
  const std::string source = IsFolder(volume) ? volume.tag() : devices[0];
  const unsigned long flags = volume.readonly() ? MS_RDONLY : 0;
  int why = ENODEV;
  for (const std::string& type : TypesOf(volume)) {
    if (type == "fuseblk") break;  // only its own program can
    if (mount(source.c_str(), volume.target().c_str(), type.c_str(), flags,
              MountData(volume, devices).c_str()) == 0) {
      return absl::OkStatus();
    }
    why = errno;
    if (why != ENODEV) break;
  }
  if (why == ENODEV && volume.type() == "ntfs") {
    return RunTool({"mount.ntfs", source, volume.target()});
  }
  return absl::FailedPreconditionError(
      absl::StrCat("mount of ", source, " as ", volume.type(), ": ", std::strerror(why),
                   why == ENODEV ? " (the guest's kernel has no such filesystem)" : ""));
}

// `volume` with the type by which the next boot can mount it.
agent::Volume AsMounted(agent::Volume volume) {
  const std::vector<MountEntry> mounts = ParseMountInfo(ReadFile(kMountInfo));
  const MountEntry* there = MountedAt(mounts, volume.target());
  if (there != nullptr && there->type == "ntfs3") volume.set_type(there->type);
  return volume;
}

// What there is before anything is done.
struct Present {
  std::vector<MountEntry> mounts;
  std::vector<std::string> own_targets;  // that rum mounted, and so may unmount
};

// Makes one volume hold; the result is its source in fstab.
absl::StatusOr<std::string> Make(const agent::Volume& volume, const Present& present) {
  const absl::StatusOr<std::vector<std::string>> devices = DevicesOf(volume);
  if (!devices.ok()) return devices.status();
  std::string source = volume.tag();
  if (!IsFolder(volume)) {
    const absl::StatusOr<std::string> uuid = FindOrMake(volume, *devices);
    if (!uuid.ok()) return uuid.status();
    source = absl::StrCat("UUID=", *uuid);
  }
  const MountEntry* there = MountedAt(present.mounts, volume.target());
  if (there != nullptr && Holds(*there, volume)) return source;
  if (there != nullptr) {
    if (!Has(present.own_targets, volume.target())) {
      return absl::FailedPreconditionError(absl::StrCat(there->source, " (", there->type,
                                                        ") is mounted there: it is left as it is"));
    }
    if (umount2(volume.target().c_str(), 0) != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("unmounting ", there->source, ": ", std::strerror(errno)));
    }
  }
  // A new pool is mounted by its making.
  if (MountedAt(ParseMountInfo(ReadFile(kMountInfo)), volume.target()) != nullptr) return source;
  if (absl::Status mounted = Mount(volume, *devices); !mounted.ok()) return mounted;
  return source;
}

}  // namespace

absl::StatusOr<std::string> DeviceOf(const std::string& serial) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", error)) {
    if (FirstLine(ReadFile(entry.path() / "serial")) == serial) {
      return absl::StrCat("/dev/", entry.path().filename().string());
    }
  }
  return absl::NotFoundError(absl::StrCat("no drive with the serial ", serial, " is attached"));
}

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

std::vector<agent::VolumeState> ObserveStorage(const Volumes& asked) {
  std::vector<agent::VolumeState> states;
  if (asked.empty()) return states;
  const std::vector<MountEntry> mounts = ParseMountInfo(ReadFile(kMountInfo));
  const std::vector<std::string> targets = TargetsOf(OwnLines(ReadFile(kFstab)));
  for (const agent::Volume& volume : Placed(asked)) {
    const MountEntry* mount = MountedAt(mounts, volume.target());
    agent::VolumeState state;
    state.set_target(asked[states.size()].target());
    state.set_holds(mount != nullptr && Holds(*mount, volume) &&
                    (!NeedsFstab(volume) || Has(targets, volume.target())));
    states.push_back(std::move(state));
  }
  return states;
}

std::vector<std::string> StaleTargets(const Volumes& asked) {
  std::vector<std::string> stale;
  const Volumes volumes = Placed(asked);
  for (const std::string& target : TargetsOf(OwnLines(ReadFile(kFstab)))) {
    const bool wanted = std::any_of(volumes.begin(), volumes.end(), [&](const agent::Volume& v) {
      return v.target() == target && NeedsFstab(v);
    });
    if (!wanted) stale.push_back(target);
  }
  return stale;
}

absl::StatusOr<std::vector<agent::VolumeState>> SetStorage(const Volumes& asked) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  const absl::StatusOr<std::string> fstab = ReadFileToEdit(kFstab);
  if (!fstab.ok() && !absl::IsNotFound(fstab.status())) return fstab.status();
  const std::string before = fstab.ok() ? *fstab : "";
  // Nothing is lost when it is busy: it is gone with the next boot.
  for (const std::string& target : StaleTargets(asked)) umount2(target.c_str(), 0);
  const Present present{ParseMountInfo(ReadFile(kMountInfo)), TargetsOf(OwnLines(before))};
  std::vector<agent::VolumeState> states;
  std::string lines;
  for (const agent::Volume& volume : Placed(asked)) {
    agent::VolumeState state;
    state.set_target(asked[states.size()].target());
    const absl::StatusOr<std::string> source = Make(volume, present);
    state.set_holds(source.ok());
    if (!source.ok()) {
      state.set_problem(std::string(source.status().message()));
      state.set_tool_missing(absl::IsUnimplemented(source.status()));
    } else if (NeedsFstab(volume)) {
      absl::StrAppend(&lines, FstabLine(AsMounted(volume), *source));
    }
    states.push_back(std::move(state));
  }
  const std::string after = WithOwnLines(before, lines);
  if (after == before) return states;
  if (absl::Status written = WriteFileAtomically(kFstab, after, 0644); !written.ok()) {
    return written;
  }
  // systemd makes units of the table when it is told to; elsewhere nobody asks.
  if (std::filesystem::exists("/run/systemd/system")) {
    (void)RunTool({"systemctl", "daemon-reload"});
  }
  return states;
}

}  // namespace rum::guest
