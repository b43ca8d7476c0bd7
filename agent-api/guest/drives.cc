#include "agent-api/guest/drives.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent-api/budget.h"
#include "agent-api/guest/filesystem_size.h"
#include "agent-api/guest/mount_users.h"
#include "agent-api/guest/sysfs.h"
#include "agent-api/guest/text_file.h"
#include "agent-api/guest/tool.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr char kBlock[] = "/sys/block/";
constexpr uint64_t kSector = 512;  // in which sysfs counts, whatever the disk's is
// A partition ends so much before the disk: the table's copy, and what growpart does not bother
// for.
constexpr uint64_t kPartitionSlack = 3 << 20;
// No filesystem uses the last part of what is not a whole block.
constexpr uint64_t kFilesystemSlack = 1 << 20;
constexpr uint64_t kLeastBtrfs = 256 << 20;    // that its resize takes
constexpr std::chrono::seconds kAppears{30};   // what was plugged in, or has grown, on a busy host
constexpr std::chrono::seconds kReleased{60};  // how long an unplugging may take
constexpr std::chrono::milliseconds kAskAgain{50};

uint64_t NumberIn(const std::string& file) {
  uint64_t number = 0;
  return absl::SimpleAtoi(ReadAttribute(file), &number) ? number : 0;
}

// The serials of disks. The hypervisor is asked for each, which takes as long as a tenth of a look
// at a guest; another disk of the same name has another folder.
class Serials {
 public:
  std::string Of(const std::string& disk) {
    const std::string folder = absl::StrCat(kBlock, disk);
    struct stat now {};
    if (stat(folder.c_str(), &now) != 0) return "";
    const std::lock_guard<std::mutex> guard(mutex_);
    Known& known = known_[disk];
    if (known.serial.empty() || known.folder != now.st_ino)
      known = {now.st_ino, ReadAttribute(folder + "/serial")};
    return known.serial;
  }

 private:
  struct Known {
    ino_t folder = 0;
    std::string serial;
  };
  std::mutex mutex_;
  std::map<std::string, Known> known_;
};

// By the names of the disks; empty: it has none.
std::map<std::string, std::string> SerialsNow() {
  static auto* const serials = new Serials();
  std::map<std::string, std::string> all;
  for (const std::string& disk : NamesIn(kBlock)) all[disk] = serials->Of(disk);
  return all;
}

std::string NodeOf(const BlockPart& part) { return absl::StrCat("/dev/", part.name); }

bool IsMountOf(const MountEntry& mount, const BlockPart& part) {
  return mount.device == part.device || mount.source == NodeOf(part);
}

// A file system that ends short of its disk by less than the tools can use, after they did all that
// they could: the size of the disk by its name.
class Done {
 public:
  bool Is(const BlockPart& disk) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto known = sizes_.find(disk.name);
    return known != sizes_.end() && known->second == disk.size;
  }
  void Note(const BlockPart& disk) {
    const std::lock_guard<std::mutex> guard(mutex_);
    sizes_[disk.name] = disk.size;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, uint64_t> sizes_;
};

Done& Grown() {
  static auto* const done = new Done();
  return *done;
}

// Drives that nobody else can mount, as they are about to go.
class Claims {
 public:
  absl::Status Take(const std::string& disk) {
    const std::lock_guard<std::mutex> guard(mutex_);
    DropOld();
    if (claims_.count(disk) > 0) return absl::OkStatus();
    // O_EXCL: not while it, or a part of it, is mounted or another device is made of it.
    const int fd = open(absl::StrCat("/dev/", disk).c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
    if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("/dev/", disk));
    claims_[disk] = {fd, Clock::now() + kReleased};
    return absl::OkStatus();
  }
  void Look() {
    const std::lock_guard<std::mutex> guard(mutex_);
    DropOld();
  }

 private:
  struct Claim {
    int fd;
    Clock::time_point until;
  };
  void DropOld() {
    for (auto claim = claims_.begin(); claim != claims_.end();) {
      const bool there = fs::exists(absl::StrCat("/sys/block/", claim->first));
      if (there && Clock::now() < claim->second.until) {
        ++claim;
        continue;
      }
      close(claim->second.fd);
      claim = claims_.erase(claim);
    }
  }
  std::mutex mutex_;
  std::map<std::string, Claim> claims_;
};

Claims& Released() {
  static auto* const claims = new Claims();
  return *claims;
}

// The tool that grows a filesystem while it is mounted; empty: none does.
std::string GrowthTool(const std::string& type) {
  if (type == "ext2" || type == "ext3" || type == "ext4") return "resize2fs";
  if (type == "xfs") return "xfs_growfs";
  return type == "btrfs" ? "btrfs" : "";
}

std::vector<std::string> GrowthCommand(const Ground& ground) {
  const std::string& target = ground.mount.target;
  if (ground.mount.type == "xfs") return {"xfs_growfs", target};
  if (ground.mount.type != "btrfs") return {"resize2fs", NodeOf(ground.part)};
  return {"btrfs", "filesystem", "resize", absl::StrCat(ground.btrfs_device, ":max"), target};
}

absl::StatusOr<uint64_t> SizeOf(const Ground& ground) {
  uint64_t number = 0;
  if (ground.mount.type == "btrfs")
    return BtrfsDeviceSize(NodeOf(ground.part), ground.mount.target, &number);
  return FilesystemSize(ground.mount.type, NodeOf(ground.part), ground.mount.target);
}

bool PartitionGrows(const BlockPart& disk, const BlockPart& part) {
  return part.partition > 0 && part.begin + part.size + kPartitionSlack < disk.size;
}

bool HasRoom(const BlockPart& disk, const Ground& ground) {
  if (Grown().Is(disk)) return false;
  if (PartitionGrows(disk, ground.part)) return true;
  const absl::StatusOr<uint64_t> size = SizeOf(ground);
  return size.ok() && *size + kFilesystemSlack <= ground.part.size;
}

std::string WhyNot(const BlockPart& disk, const Ground& ground) {
  const std::string& type = ground.mount.type;
  const std::string tool = GrowthTool(type);
  if (tool.empty()) return absl::StrCat(type, " does not grow while it is mounted");
  if (ground.mount.readonly) return absl::StrCat(ground.mount.target, " is mounted read-only");
  if (!ground.last) {
    return absl::StrCat("another partition lies behind /dev/", ground.part.name, ", which is at ",
                        ground.mount.target);
  }
  if (type == "btrfs" && disk.size < kLeastBtrfs && HasRoom(disk, ground))
    return "btrfs grows to 256 MiB or more, and to no less";
  const bool partition = ground.part.partition > 0;
  for (const std::string& needed : {tool, std::string(partition ? "growpart" : "")}) {
    if (!needed.empty() && !HasTool(needed)) return absl::StrCat("the guest has no ", needed);
  }
  return "";
}

// A btrfs of several drives is mounted from one of them.
std::optional<Ground> BtrfsGround(const BlockPart& part, const std::vector<MountEntry>& mounts) {
  for (const MountEntry& mount : mounts) {
    Ground ground{part, mount, 0, false};
    if (mount.type == "btrfs" &&
        BtrfsDeviceSize(NodeOf(part), mount.target, &ground.btrfs_device).ok()) {
      return ground;
    }
  }
  return std::nullopt;
}

struct Uses {
  std::vector<std::string> all;
  bool idle = true;  // nothing but what rum mounted, and no process uses it
};

Uses UsesOf(const std::vector<BlockPart>& parts, const std::vector<MountEntry>& mounts) {
  Uses uses;
  const std::vector<std::string> own = OwnTargets();
  for (const BlockPart& part : parts) {
    std::vector<MountEntry> here;
    for (const MountEntry& mount : mounts) {
      if (IsMountOf(mount, part)) here.push_back(mount);
    }
    const std::optional<Ground> btrfs = here.empty() ? BtrfsGround(part, mounts) : std::nullopt;
    if (btrfs.has_value()) here.push_back(btrfs->mount);
    for (const MountEntry& mount : here) {
      const std::string users = UsersOf(mount.target);
      uses.all.push_back(absl::StrCat("mounted at ", mount.target,
                                      users.empty() ? "" : absl::StrCat(", in use by ", users)));
      uses.idle = uses.idle && users.empty() && absl::c_linear_search(own, mount.target);
    }
    std::error_code none;
    for (const auto& holder :
         fs::directory_iterator(absl::StrCat("/sys/class/block/", part.name, "/holders"), none)) {
      uses.all.push_back(absl::StrCat("a part of ", holder.path().filename().string()));
      uses.idle = false;
    }
    if (absl::StrContains(ReadFile("/proc/swaps"), absl::StrCat(NodeOf(part), " "))) {
      uses.all.push_back(absl::StrCat("swap space (", NodeOf(part), ")"));
      uses.idle = false;
    }
  }
  return uses;
}

// The disk under "/"; empty: it is on none of its own.
std::string RootDisk() {
  const std::vector<MountEntry> mounts = MountsNow();
  const MountEntry* root = MountedAt(mounts, "/");
  if (root == nullptr) return "";
  std::error_code none;
  fs::path block = fs::canonical(absl::StrCat("/sys/dev/block/", root->device), none);
  if (none && absl::StartsWith(root->source, "/dev/")) {
    none.clear();
    block = fs::canonical(absl::StrCat("/sys/class/block/", root->source.substr(5)), none);
  }
  if (none) return "";
  if (fs::exists(block / "partition")) block = block.parent_path();
  return block.filename().string();
}

// Without "/dev/"; NotFound.
absl::StatusOr<std::string> DiskOf(const std::string& serial) {
  const absl::StatusOr<std::string> device = DeviceOf(serial);
  if (device.ok()) return device->substr(5);
  if (serial != kRootSerial) return device;
  const std::string root = RootDisk();
  if (root.empty()) return absl::NotFoundError("the root filesystem is on no disk of its own");
  return root;
}

// That a guest knows of a new drive or of a new size, a moment later, is told by nothing to wait
// on.
absl::StatusOr<std::string> Await(const agent::DriveWish& wish) {
  const Clock::time_point deadline = Clock::now() + kAppears;
  for (;;) {
    absl::StatusOr<std::string> disk = DiskOf(wish.serial());
    const std::vector<BlockPart> parts = disk.ok() ? PartsOf(*disk) : std::vector<BlockPart>();
    if (!parts.empty() && parts.front().size >= wish.size()) return disk;
    if (Clock::now() >= deadline) {
      if (!disk.ok()) return disk;
      return absl::FailedPreconditionError(
          absl::StrCat("the guest's kernel does not see that ", *disk, " has grown"));
    }
    std::this_thread::sleep_for(kAskAgain);
  }
}

absl::Status Release(const std::string& disk) {
  const absl::Status taken = Released().Take(disk);
  if (taken.ok()) return taken;
  const Uses uses = UsesOf(PartsOf(disk), MountsNow());
  return absl::FailedPreconditionError(uses.all.empty() ? std::string(taken.message())
                                                        : absl::StrJoin(uses.all, "; "));
}

absl::Status MakeTrue(const agent::DriveWish& wish, std::string* disk) {
  absl::StatusOr<std::string> found = Await(wish);
  if (!found.ok()) return found.status();
  *disk = *found;
  if (wish.release()) return Release(*disk);
  return wish.grow() ? GrowOnDisk(*disk) : absl::OkStatus();
}

agent::DriveState LookAtDisk(const std::string& disk, bool leaving,
                             const std::vector<MountEntry>& mounts) {
  agent::DriveState state;
  const std::vector<BlockPart> parts = PartsOf(disk);
  if (parts.empty()) return state;
  state.set_size(parts.front().size);
  if (leaving) {
    const Uses uses = UsesOf(parts, mounts);
    state.set_used(absl::StrJoin(uses.all, "; "));
    state.set_idle(!uses.all.empty() && uses.idle);
  }
  const std::optional<Ground> ground = GroundOf(parts, mounts);
  if (!ground.has_value()) return state;
  state.set_cannot_grow(WhyNot(parts.front(), *ground));
  state.set_grows(HasRoom(parts.front(), *ground));
  return state;
}

}  // namespace

absl::StatusOr<std::string> DeviceOf(const std::string& serial) {
  for (const auto& [disk, has] : SerialsNow()) {
    if (has == serial) return absl::StrCat("/dev/", disk);
  }
  return absl::NotFoundError(absl::StrCat("no drive with the serial ", serial, " is attached"));
}

std::vector<BlockPart> PartsOf(const std::string& disk) {
  const std::string folder = absl::StrCat(kBlock, disk, "/");
  std::vector<BlockPart> parts;
  const std::string device = ReadAttribute(folder + "dev");
  if (disk.empty() || device.empty()) return parts;
  parts.push_back({disk, device, 0, 0, NumberIn(folder + "size") * kSector});
  for (const std::string& name : NamesIn(folder)) {
    if (!absl::StartsWith(name, disk)) continue;  // none of thirty attributes does
    const std::string part = absl::StrCat(folder, name, "/");
    const uint64_t number = NumberIn(part + "partition");
    if (number == 0) continue;
    parts.push_back({name, ReadAttribute(part + "dev"), static_cast<int>(number),
                     NumberIn(part + "start") * kSector, NumberIn(part + "size") * kSector});
  }
  std::sort(parts.begin() + 1, parts.end(),
            [](const BlockPart& a, const BlockPart& b) { return a.begin < b.begin; });
  return parts;
}

std::optional<Ground> GroundOf(const std::vector<BlockPart>& parts,
                               const std::vector<MountEntry>& mounts) {
  std::optional<Ground> ground;
  for (const BlockPart& part : parts) {
    std::optional<Ground> here;
    for (const MountEntry& mount : mounts) {
      if (!IsMountOf(mount, part)) continue;
      // Of the mounts of one filesystem, a writable one can grow it.
      const bool better = !here.has_value() || mount.target == "/" ||
                          (here->mount.readonly && here->mount.target != "/");
      if (better) here = Ground{part, mount, 0, false};
    }
    if (!here.has_value() || here->mount.type == "btrfs") {
      if (std::optional<Ground> btrfs = BtrfsGround(part, mounts); btrfs.has_value()) here = btrfs;
    }
    if (!here.has_value()) continue;
    here->last = part.name == parts.back().name;
    if (!ground.has_value() || ground->mount.target != "/") ground = here;
  }
  return ground;
}

agent::DriveState LookAtDisk(const std::string& disk, bool leaving) {
  return LookAtDisk(disk, leaving, MountsNow());
}

absl::Status GrowOnDisk(const std::string& disk) {
  std::vector<BlockPart> parts = PartsOf(disk);
  if (parts.empty()) return absl::NotFoundError(absl::StrCat("no disk ", disk));
  std::optional<Ground> ground = GroundOf(parts, MountsNow());
  if (!ground.has_value()) return absl::OkStatus();
  if (const std::string why = WhyNot(parts.front(), *ground); !why.empty())
    return absl::FailedPreconditionError(why);
  if (PartitionGrows(parts.front(), ground->part)) {
    const std::string node = absl::StrCat("/dev/", disk);
    const absl::Status grown = RunTool({"growpart", node, absl::StrCat(ground->part.partition)});
    // It ends with 1 where nothing was left to do.
    if (!grown.ok() && !absl::StrContains(grown.message(), "NOCHANGE")) return grown;
  }
  if (absl::Status grown = RunTool(GrowthCommand(*ground)); !grown.ok()) return grown;
  Grown().Note(parts.front());
  return absl::OkStatus();
}

std::vector<agent::DriveState> ObserveDrives(const std::set<std::string>& leaving) {
  Released().Look();
  std::map<std::string, std::string> disks;  // by serial
  for (const auto& [disk, serial] : SerialsNow()) {
    if (absl::StartsWith(serial, "rum-") || serial == kRootSerial) disks[serial] = disk;
  }
  const auto named = disks.find(kRootSerial);
  const absl::StatusOr<std::string> root =
      named != disks.end() ? absl::StatusOr<std::string>(named->second) : DiskOf(kRootSerial);
  disks.erase(kRootSerial);
  const std::vector<MountEntry> mounts = MountsNow();
  std::vector<agent::DriveState> states;
  states.push_back(root.ok() ? LookAtDisk(*root, false, mounts) : agent::DriveState());
  states.back().set_serial(kRootSerial);
  if (!root.ok()) states.back().set_cannot_grow(std::string(root.status().message()));
  for (const auto& [serial, disk] : disks) {
    if (states.size() == static_cast<size_t>(kMostDrives)) break;
    states.push_back(LookAtDisk(disk, leaving.count(serial) > 0, mounts));
    states.back().set_serial(serial);
  }
  return states;
}

std::vector<agent::DriveState> SetDrives(const std::vector<agent::DriveWish>& wishes) {
  std::vector<agent::DriveState> states;
  for (const agent::DriveWish& wish : wishes) {
    std::string disk;
    const absl::Status made = MakeTrue(wish, &disk);
    agent::DriveState& state = states.emplace_back(LookAtDisk(disk, false));
    state.set_serial(wish.serial());
    if (!made.ok()) state.set_problem(std::string(made.message()));
  }
  return states;
}

}  // namespace rum::guest
