#include "tests/controller/images/world.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

std::string DigestOf(const std::string& bytes, const EVP_MD* kind) {
  std::string digest(static_cast<size_t>(EVP_MD_size(kind)), 0);
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
             kind, nullptr);
  return absl::BytesToHexString(digest);
}

std::string NewFolder() {
  std::string name = fs::canonical(testing::TempDir()).string() + "/images-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) std::abort();
  return name;
}

}  // namespace

std::string Qcow2(size_t size, unsigned seed) {
  std::string image(std::max<size_t>(size, 104), 0);
  std::mt19937 random(seed);
  for (size_t i = 104; i < image.size(); ++i) image[i] = static_cast<char>(random());
  image.replace(0, 8, std::string("QFI\xfb\0\0\0\3", 8));
  image[29] = 1;  // 64 kB virtual size
  return image;
}

std::string RawDisk(size_t size) {
  std::string disk(size, 0);
  // One partition of type 83 from sector 1 on.
  const std::string entry("\0\0\2\0\x83\0\3\0\1\0\0\0\4\0\0\0", 16);
  disk.replace(446, entry.size(), entry);
  disk.replace(510, 2, "\x55\xaa");
  disk.replace(4096, 5, "hello");
  return disk;
}

std::string Bytes(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

void Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string Sha256(const std::string& bytes) { return DigestOf(bytes, EVP_sha256()); }
std::string Sha512(const std::string& bytes) { return DigestOf(bytes, EVP_sha512()); }

PathsInUse NothingInUse() { return InUse({}); }

PathsInUse InUse(const std::set<std::string>& paths) {
  return [paths] { return paths; };
}

CacheWorld::CacheWorld()
    : folder_(NewFolder()), cache_folder_(folder_ + "/cache/images"), cache_(cache_folder_) {}

CacheWorld::~CacheWorld() {
  std::error_code error;
  fs::remove_all(folder_, error);
}

absl::StatusOr<FetchedImage> CacheWorld::Fetch(const ImageSource& source) {
  return FetchImage(
      cache_folder_, source, [this](const std::string& text) { said_.push_back(text); }, limits_);
}

std::vector<CachedImage> CacheWorld::List(const PathsInUse& in_use) {
  const auto images = cache_.List(in_use);
  EXPECT_TRUE(images.ok()) << images.status();
  return images.ok() ? *images : std::vector<CachedImage>();
}

bool CacheWorld::Said(const std::string& part) const {
  return SaidText().find(part) != std::string::npos;
}

std::string CacheWorld::SaidText() const { return absl::StrJoin(said_, "\n"); }

std::string CacheWorld::PartPath() const {
  for (const std::string& file : Files()) {
    if (fs::path(file).extension() == ".part") return file;
  }
  return "";
}

std::vector<std::string> CacheWorld::Files() const {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& file : fs::recursive_directory_iterator(cache_folder_, error)) {
    if (!file.is_directory()) files.push_back(file.path());
  }
  return files;
}

}  // namespace rum
