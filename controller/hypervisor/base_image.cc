#include "controller/hypervisor/base_image.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "state/image_head.h"
#include "state/image_url.h"

namespace rum {

std::string ImageMark(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) return "";
  return absl::StrCat(file.st_size, ":", file.st_mtim.tv_sec, ".", file.st_mtim.tv_nsec);
}

std::optional<uint64_t> VirtualSizeOf(const std::string& path) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none)) return std::nullopt;
  std::string bytes(kQcow2HeadBytes, 0);
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  const std::optional<Qcow2Head> head = ReadQcow2Head(bytes);
  return head.has_value() ? std::make_optional(head->virtual_size) : std::nullopt;
}

absl::StatusOr<BaseImage> ProbeBaseImage(const std::string& base) {
  BaseImage image;
  image.path = base;
  if (absl::StartsWith(base, "file://")) image.path = base.substr(7);
  if (!absl::StartsWith(image.path, "/")) {
    return absl::InvalidArgumentError(absl::StrCat("image.base ", ShownUrl(base), ": not a path"));
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
  image.world_readable = EverybodyReads(image.path);
  image.mark = ImageMark(image.path);
  std::string bytes(kQcow2HeadBytes, 0);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (const std::optional<Qcow2Head> head = ReadQcow2Head(bytes); head.has_value()) {
    image.format = "qcow2";
    image.has_backing = head->below_at != 0;
    image.virtual_size = head->virtual_size;
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
