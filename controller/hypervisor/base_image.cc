#include "controller/hypervisor/base_image.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
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
    return absl::InvalidArgumentError(absl::StrCat(
        "image.base \"", base, "\": only a path or a file:// URL works in this version of rum; ",
        "downloads and shorthands are not supported yet"));
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

absl::Status CheckSha256(const BaseImage& image, const std::string& sha256) {
  if (sha256.empty()) return absl::OkStatus();
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::ifstream file(image.path, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  while (file.read(buffer.data(), buffer.size()) || file.gcount() > 0) {
    EVP_DigestUpdate(context.get(), buffer.data(), file.gcount());
  }
  if (file.bad() || !file.eof()) {
    return absl::UnavailableError(absl::StrCat("image.base ", image.path, ": cannot be read"));
  }
  std::string digest(EVP_MD_size(EVP_sha256()), 0);
  EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  const std::string found = absl::BytesToHexString(digest);
  if (found == absl::AsciiStrToLower(sha256)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("image.base ", image.path, ": its SHA-256 is ",
                                                    found, ", not image.sha256 ", sha256));
}

}  // namespace rum
