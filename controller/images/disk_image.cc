#include "controller/images/disk_image.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/base/fd.h"
#include "state/image_head.h"

namespace rum {
namespace {

constexpr size_t kLookedAt = 4096;   // bytes
constexpr size_t kQcow2Header = 72;  // bytes of version 2's

absl::StatusOr<std::string> Beginning(int fd, const std::string& path) {
  std::string bytes(kLookedAt, 0);
  size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t n = pread(fd, &bytes[size], bytes.size() - size, static_cast<off_t>(size));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::ErrnoToStatus(errno, path);
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  bytes.resize(size);
  return bytes;
}

bool IsText(const std::string& bytes) {
  return std::none_of(bytes.begin(), bytes.end(), [](unsigned char c) {
    return c == 127 || (c < 32 && !absl::ascii_isspace(c));
  });
}

// What people take for a disk image, and what comes in its place.
std::string Described(const std::string& bytes) {
  if (bytes.empty()) return "an empty file";
  const std::string start =
      absl::AsciiStrToLower(absl::StripLeadingAsciiWhitespace(bytes.substr(0, 512)));
  if (absl::StartsWith(start, "<!doctype html") || absl::StartsWith(start, "<html")) {
    return "an HTML page";
  }
  if (absl::StartsWith(bytes, "QFI\xfb")) return "a qcow2 image that is cut short";
  if (absl::StartsWith(bytes, "KDMV")) return "a VMDK image (convert it with qemu-img)";
  if (absl::StartsWith(bytes, "vhdxfile")) return "a VHDX image (convert it with qemu-img)";
  if (absl::StartsWith(bytes, "conectix")) return "a VHD image (convert it with qemu-img)";
  if (absl::StartsWith(bytes, "<<< ")) return "a VDI image (convert it with qemu-img)";
  if (absl::StartsWith(bytes, "PK\x03\x04")) return "a zip archive";
  if (bytes.size() > 262 && bytes.compare(257, 5, "ustar") == 0) return "a tar archive";
  if (IsText(bytes)) {
    const std::string line = bytes.substr(0, std::min<size_t>(bytes.find_first_of("\r\n"), 60));
    return absl::StrCat("a text that begins with \"", absl::CHexEscape(line), "\"");
  }
  return absl::StrCat("a file without partition table or filesystem that begins with the bytes ",
                      absl::BytesToHexString(bytes.substr(0, 8)));
}

absl::Status CheckQcow2(const Qcow2Head& head, const std::string& name, bool foreign) {
  if (head.version != 2 && head.version != 3) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is a qcow2 image of version ",
                                                   head.version, ", which is not known here"));
  }
  if (foreign && (head.below_at != 0 || head.data_apart)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is a qcow2 image that stands on another file, which an image from ",
                     "elsewhere must not (qemu-img convert makes it whole)"));
  }
  return absl::OkStatus();
}

bool HasKnownContent(int fd) {
  const std::unique_ptr<std::remove_pointer_t<blkid_probe>, decltype(&blkid_free_probe)> probe(
      blkid_new_probe(), blkid_free_probe);
  if (!probe || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) return false;
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_enable_partitions(probe.get(), 1);
  // More than one answer (an ISO that can be written to a disk) is an answer.
  const int found = blkid_do_safeprobe(probe.get());
  return found == 0 || found == -2;
}

}  // namespace

absl::Status CheckDiskImage(const std::string& path, const std::string& name, bool foreign) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return absl::ErrnoToStatus(errno, path);
  const absl::StatusOr<std::string> bytes = Beginning(fd.get(), path);
  if (!bytes.ok()) return bytes.status();
  const std::optional<Qcow2Head> head = ReadQcow2Head(*bytes);
  if (head.has_value() && bytes->size() >= kQcow2Header) return CheckQcow2(*head, name, foreign);
  if (HasKnownContent(fd.get())) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is not a disk image: it is ", Described(*bytes)));
}

}  // namespace rum
