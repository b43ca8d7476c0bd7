#include "agent-api/guest/filesystem.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum::guest {
namespace {

// Every filesystem has something of itself in here; the first bytes of a drive that was used
// otherwise are seldom all zeros.
constexpr size_t kLookedAt = 1 << 20;

std::string Value(blkid_probe probe, const char* name) {
  const char* value = nullptr;
  return blkid_probe_lookup_value(probe, name, &value, nullptr) == 0 ? value : "";
}

absl::StatusOr<bool> BeginsWithZeros(int fd, const std::string& device) {
  std::string bytes(kLookedAt, 0);
  size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t n = pread(fd, &bytes[size], bytes.size() - size, static_cast<off_t>(size));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(absl::StrCat(device, ": ", std::strerror(errno)));
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  return std::all_of(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size),
                     [](char c) { return c == 0; });
}

std::vector<std::string> ZpoolCommand(const agent::Volume& volume) {
  std::vector<std::string> argv = {"zpool", "create", "-m", volume.target(), volume.pool()};
  if (!volume.mode().empty() && volume.mode() != "stripe") argv.push_back(volume.mode());
  return argv;
}

std::vector<std::string> BtrfsCommand(const agent::Volume& volume) {
  std::vector<std::string> argv = {"mkfs.btrfs", "-q"};
  if (!volume.mode().empty()) {
    argv.insert(argv.end(), {"-d", volume.mode(), "-m", volume.mode()});
  }
  return argv;
}

using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, decltype(&blkid_free_probe)>;

Probe NewProbe() { return {blkid_new_probe(), blkid_free_probe}; }

absl::Status WipeDevice(int fd, const std::string& device) {
  const Probe probe = NewProbe();
  if (probe == nullptr || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) {
    return absl::UnavailableError(absl::StrCat(device, ": cannot be read"));
  }
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_MAGIC);
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_set_partitions_flags(probe.get(), BLKID_PARTS_MAGIC);
  // Some filesystems have several copies of themselves: each one that goes shows the next.
  while (blkid_do_probe(probe.get()) == 0) {
    if (blkid_do_wipe(probe.get(), 0) != 0) {
      return absl::UnavailableError(absl::StrCat(device, ": ", std::strerror(errno)));
    }
  }
  const std::string zeros(kLookedAt, 0);
  const off_t size = lseek(fd, 0, SEEK_END);
  const size_t count = std::min<size_t>(zeros.size(), size < 0 ? 0 : static_cast<size_t>(size));
  if (pwrite(fd, zeros.data(), count, 0) == static_cast<ssize_t>(count) && fsync(fd) == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat(device, ": ", std::strerror(errno)));
}

}  // namespace

absl::Status MakeBlank(const std::string& device) {
  // O_EXCL: not while anybody has it mounted or open for himself.
  const int fd = open(device.c_str(), O_RDWR | O_EXCL | O_CLOEXEC);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(device, ": ", std::strerror(errno)));
  const absl::Status wiped = WipeDevice(fd, device);
  close(fd);
  return wiped;
}

absl::StatusOr<DeviceContent> ProbeDevice(const std::string& device) {
  const int fd = open(device.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(device, ": ", std::strerror(errno)));
  const Probe probe = NewProbe();
  DeviceContent content;
  absl::Status status;
  if (probe == nullptr || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) {
    status = absl::UnavailableError(absl::StrCat(device, ": cannot be read"));
  } else {
    blkid_probe_enable_superblocks(probe.get(), 1);
    blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_UUID);
    blkid_probe_enable_partitions(probe.get(), 1);
    const int found = blkid_do_safeprobe(probe.get());  // 0: one, 1: nothing, else unclear
    if (found == 0) {
      content.type = Value(probe.get(), "TYPE");
      if (content.type.empty()) content.type = Value(probe.get(), "PTTYPE");
      content.uuid = Value(probe.get(), "UUID");
    } else if (found == 1) {
      const absl::StatusOr<bool> zeros = BeginsWithZeros(fd, device);
      status = zeros.status();
      content.blank = zeros.ok() && *zeros;
    }
  }
  close(fd);
  if (!status.ok()) return status;
  return content;
}

std::vector<std::string> FormatCommand(const agent::Volume& volume,
                                       const std::vector<std::string>& devices) {
  const std::string& type = volume.type();
  std::vector<std::string> argv;
  if (type == "zfs") {
    argv = ZpoolCommand(volume);
  } else if (type == "btrfs") {
    argv = BtrfsCommand(volume);
  } else {
    argv = {absl::StrCat("mkfs.", type)};
    if (absl::StartsWith(type, "ext")) argv.insert(argv.end(), {"-q", "-F"});
    if (type == "xfs" || type == "f2fs") argv.push_back("-q");
    if (type == "ntfs") argv.push_back("-Q");
  }
  argv.insert(argv.end(), devices.begin(), devices.end());
  return argv;
}

bool IsOf(const agent::Volume& volume, const DeviceContent& content) {
  return content.type == (volume.type() == "zfs" ? "zfs_member" : volume.type());
}

}  // namespace rum::guest
