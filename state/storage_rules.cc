#include "state/storage_rules.h"

#include <map>

#include "absl/strings/ascii.h"

namespace rum {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;

// mkfs.btrfs -d MODE -m MODE says "minimum size for each btrfs device is ..." (6.2).
uint64_t LeastBtrfsDrive(const std::string& mode, int drives) {
  if (mode == "single") return 45 * kMib;
  if (mode == "dup") return 229 * kMib;
  return mode.empty() || (mode == "raid0" && drives == 1) ? 109 * kMib : 125 * kMib;
}

}  // namespace

const std::set<std::string>& OneDriveTypes() {
  static const std::set<std::string> types = {"ext2", "ext3", "ext4", "exfat",
                                              "f2fs", "ntfs", "vfat", "xfs"};
  return types;
}

const std::vector<std::string>& ModesOf(const std::string& type) {
  static const std::vector<std::string> btrfs = {"single",  "dup",    "raid0", "raid1", "raid1c3",
                                                 "raid1c4", "raid10", "raid5", "raid6"};
  static const std::vector<std::string> zfs = {"stripe", "mirror", "raidz", "raidz2", "raidz3"};
  return type == "zfs" ? zfs : btrfs;
}

int LeastDrives(const std::string& type, const std::string& mode) {
  static const std::map<std::string, int> btrfs = {{"raid1", 2},  {"raid1c3", 3}, {"raid1c4", 4},
                                                   {"raid10", 2}, {"raid5", 2},   {"raid6", 3}};
  static const std::map<std::string, int> zfs = {
      {"mirror", 2}, {"raidz", 2}, {"raidz2", 3}, {"raidz3", 4}};
  const std::map<std::string, int>& least = type == "zfs" ? zfs : btrfs;
  const auto found = least.find(mode);
  return found == least.end() ? 1 : found->second;
}

uint64_t LeastDriveOf(const std::string& type, const std::string& mode, int drives) {
  if (type == "btrfs") return LeastBtrfsDrive(mode, drives);
  // xfsprogs since 5.19: "Filesystem must be larger than 300MB"; zfs: SPA_MINDEVSIZE.
  static const std::map<std::string, uint64_t> least = {{"exfat", 4 * kMib},
                                                        {"f2fs", 64 * kMib},
                                                        {"ntfs", 4 * kMib},
                                                        {"xfs", 300 * kMib},
                                                        {"zfs", 64 * kMib}};
  const auto found = least.find(type);
  return found == least.end() ? kLeastDrive : found->second;
}

std::string PoolOf(const Fs& fs) {
  if (!fs.pool().empty()) return fs.pool();
  std::string name = "rum";
  for (const char c : fs.target()) {
    const char plain = absl::ascii_isalnum(c) ? c : '-';
    if (plain != '-' || name.back() != '-') name += plain;
  }
  return name;
}

}  // namespace rum
