#include "state/image_head.h"

#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/match.h"

namespace rum {
namespace {

constexpr uint64_t kDataApart = 4;  // an incompatible feature

uint64_t BigEndian(const std::string& bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = at; i < at + size; ++i)
    value = value << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0);
  return value;
}

}  // namespace

std::optional<Qcow2Head> ReadQcow2Head(const std::string& bytes) {
  if (!absl::StartsWith(bytes, "QFI\xfb")) return std::nullopt;
  Qcow2Head head;
  head.version = BigEndian(bytes, 4, 4);
  head.below_at = BigEndian(bytes, 8, 8);
  head.below_bytes = BigEndian(bytes, 16, 4);
  head.virtual_size = BigEndian(bytes, 24, 8);
  head.data_apart = head.version >= 3 && (BigEndian(bytes, 72, 8) & kDataApart) != 0;
  return head;
}

bool EverybodyReads(const std::string& path) {
  struct stat entry;
  if (stat(path.c_str(), &entry) != 0 || (entry.st_mode & S_IROTH) == 0) return false;
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (; folder.has_relative_path(); folder = folder.parent_path()) {
    if (stat(folder.c_str(), &entry) != 0 || (entry.st_mode & S_IXOTH) == 0) return false;
  }
  return true;
}

}  // namespace rum
