#include "controller/hypervisor/base_image.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

uint64_t BigEndian64(const char* bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

bool WorldReadable(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0 || (file.st_mode & S_IROTH) == 0) return false;
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (; folder.has_relative_path(); folder = folder.parent_path()) {
    if (stat(folder.c_str(), &file) != 0 || (file.st_mode & S_IXOTH) == 0) return false;
  }
  return true;
}

}  // namespace

std::string ImageMark(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) return "";
  return absl::StrCat(file.st_size, ":", file.st_mtim.tv_sec, ".", file.st_mtim.tv_nsec);
}

absl::StatusOr<BaseImage> ProbeBaseImage(const std::string& base) {
  BaseImage image;
  image.path = base;
  if (absl::StartsWith(base, "file://")) image.path = base.substr(7);
  if (!absl::StartsWith(image.path, "/")) {
    return absl::InvalidArgumentError(absl::StrCat("image.base ", base, ": not a path"));
  }
  // The overlay names its base for good: by the real path, which does not move with a link.
  std::error_code error;
  std::filesystem::path real = std::filesystem::canonical(image.path, error);
  std::ifstream file(real, std::ios::binary);
  if (error || !file || !std::filesystem::is_regular_file(real, error)) {
    const int code = error ? error.value() : errno;
    const std::string why = code != 0 ? std::strerror(code) : "not a file";
    const std::string text = absl::StrCat("image.base ", image.path, ": ", why);
    if (code == ENOENT) return absl::NotFoundError(text);
    return absl::InvalidArgumentError(text);
  }
  image.path = real.string();
  image.file_size = std::filesystem::file_size(real, error);
  image.world_readable = WorldReadable(image.path);
  image.mark = ImageMark(image.path);
  char header[32] = {};
  file.read(header, sizeof(header));
  if (std::memcmp(header, "QFI\xfb", 4) == 0) {
    image.format = "qcow2";
    image.has_backing = BigEndian64(header + 8) != 0;
    image.virtual_size = BigEndian64(header + 24);
  } else {
    image.format = "raw";
    image.virtual_size = image.file_size;
  }
  if (image.virtual_size == 0) {
    return absl::InvalidArgumentError(absl::StrCat("image.base ", image.path, ": it is empty"));
  }
  return image;
}

}  // namespace rum
