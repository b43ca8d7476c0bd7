#include "agent-api/guest/filesystem_size.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum::guest {
namespace {

// https://docs.kernel.org/filesystems/ext4/globals.html#super-block
constexpr off_t kExtSuperblock = 1024;
constexpr size_t kExtBlocksLow = 4, kExtLogBlockSize = 24, kExtMagic = 56, kExtIncompatible = 96;
constexpr size_t kExtBlocksHigh = 336;
constexpr uint32_t kExtHas64Bit = 0x80;
constexpr uint16_t kExtMagicNumber = 0xef53;
constexpr uint32_t kMostLogBlockSize = 6;  // 64 KiB

// ioctl_xfs_fsgeometry(2), its first version: its header is not of the kernel's.
struct XfsGeometry {
  uint32_t block_size, extent_size, group_blocks, groups, log_blocks, sector_size, inode_size,
      most_inodes;
  uint64_t data_blocks, realtime_blocks, realtime_extents, log_begin;
  uint8_t uuid[16];
  uint32_t unit, width, version, flags, log_sector, realtime_sector, folder_block;
};
constexpr unsigned long kXfsGeometry = _IOR('X', 100, XfsGeometry);

template <typename Number>
Number At(const std::string& bytes, size_t offset) {
  Number number;
  std::memcpy(&number, &bytes[offset], sizeof number);
  return number;
}

absl::Status Unanswered(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// The kernel keeps the superblock of what is mounted where a reader of the device finds it.
absl::StatusOr<uint64_t> ExtSize(const std::string& device) {
  const int fd = open(device.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Unanswered(device);
  std::string block(1024, 0);
  const ssize_t got = pread(fd, block.data(), block.size(), kExtSuperblock);
  close(fd);
  const uint32_t log_size = le32toh(At<uint32_t>(block, kExtLogBlockSize));
  if (got != static_cast<ssize_t>(block.size()) || log_size > kMostLogBlockSize ||
      le16toh(At<uint16_t>(block, kExtMagic)) != kExtMagicNumber) {
    return absl::UnavailableError(absl::StrCat(device, ": no superblock of ext4"));
  }
  uint64_t blocks = le32toh(At<uint32_t>(block, kExtBlocksLow));
  if ((le32toh(At<uint32_t>(block, kExtIncompatible)) & kExtHas64Bit) != 0) {
    blocks |= uint64_t{le32toh(At<uint32_t>(block, kExtBlocksHigh))} << 32;
  }
  return blocks * (uint64_t{1024} << log_size);
}

// An open folder of what is mounted at `target`.
class MountFolder {
 public:
  explicit MountFolder(const std::string& target)
      : fd_(open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  ~MountFolder() {
    if (fd_ >= 0) close(fd_);
  }
  MountFolder(const MountFolder&) = delete;
  MountFolder& operator=(const MountFolder&) = delete;
  template <typename Answer>
  bool Ask(unsigned long question, Answer* answer) const {
    return fd_ >= 0 && ioctl(fd_, question, answer) == 0;
  }

 private:
  const int fd_;
};

absl::StatusOr<uint64_t> XfsSize(const std::string& target) {
  XfsGeometry geometry{};
  if (!MountFolder(target).Ask(kXfsGeometry, &geometry)) return Unanswered(target);
  return geometry.data_blocks * geometry.block_size;
}

}  // namespace

absl::StatusOr<uint64_t> FilesystemSize(const std::string& type, const std::string& device,
                                        const std::string& target) {
  if (type == "ext2" || type == "ext3" || type == "ext4") return ExtSize(device);
  if (type == "xfs") return XfsSize(target);
  return absl::UnimplementedError(type);
}

absl::StatusOr<uint64_t> BtrfsDeviceSize(const std::string& device, const std::string& target,
                                         uint64_t* number) {
  const MountFolder folder(target);
  btrfs_ioctl_fs_info_args all{};
  if (!folder.Ask(BTRFS_IOC_FS_INFO, &all)) return Unanswered(target);
  for (uint64_t id = 1; id <= all.max_id; ++id) {
    btrfs_ioctl_dev_info_args one{};
    one.devid = id;
    if (!folder.Ask(BTRFS_IOC_DEV_INFO, &one)) continue;  // a number of one that was taken out
    if (device != reinterpret_cast<const char*>(one.path)) continue;
    *number = id;
    return one.total_bytes;
  }
  return absl::NotFoundError(device);
}

}  // namespace rum::guest
