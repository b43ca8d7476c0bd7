#include "state/surroundings.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "state/bind_address.h"
#include "state/identity.h"
#include "state/image_head.h"

namespace rum {
namespace {

constexpr char kFileScheme[] = "file://";
constexpr uint64_t kMostBackingName = 1023;

// As much of it as there is.
std::string ReadAt(int fd, uint64_t at, size_t size) {
  std::string bytes(size, 0);
  const ssize_t n = pread(fd, bytes.data(), size, static_cast<off_t>(at));
  bytes.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return bytes;
}

// What the image stands on; "" of one that is whole.
std::string BelowOf(int fd) {
  const std::optional<Qcow2Head> head = ReadQcow2Head(ReadAt(fd, 0, kQcow2HeadBytes));
  if (!head.has_value()) return "";
  if (head->below_at != 0) {
    const std::string name =
        ReadAt(fd, head->below_at, std::min(head->below_bytes, kMostBackingName));
    return name.empty() ? "another file" : name;
  }
  return head->data_apart ? "a file with its data" : "";
}

// Also as a layer over something else.
bool IsGivenImage(const std::string& path, const std::vector<ConsentedValue>& given) {
  const std::string value = PlainPath(path);
  return std::any_of(given.begin(), given.end(), [&](const ConsentedValue& one) {
    return one.field() == kImageField &&
           (one.value() == value || absl::StartsWith(one.value(), absl::StrCat(value, kLayerOver)));
  });
}

ImageFacts FactsOfImage(const std::string& base, const Surroundings& around,
                        const std::vector<ConsentedValue>& given) {
  ImageFacts facts;
  facts.path = base;
  if (absl::StartsWith(base, kFileScheme)) {
    const std::string path = base.substr(sizeof kFileScheme - 1);
    // Of another spelling nobody tells here what it means: it is asked about.
    if (!absl::StartsWith(path, "/") || absl::StrContains(path, "%")) return facts;
    facts.path = path;
  }
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(facts.path, error);
  facts.absent = error == std::errc::no_such_file_or_directory;
  if (error) return facts;
  facts.path = real.string();
  facts.of_everybody = EverybodyReads(facts.path);
  const bool near = IsInside(facts.path, around.project) || IsInside(facts.path, around.cache);
  struct stat entry;
  if (!near && !facts.of_everybody && !IsGivenImage(facts.path, given)) {
    facts.regular = lstat(facts.path.c_str(), &entry) == 0 && S_ISREG(entry.st_mode);
    return facts;
  }
  // A device or a pipe is not opened, for that may do something.
  if (lstat(facts.path.c_str(), &entry) != 0 || !S_ISREG(entry.st_mode)) return facts;
  const int fd = open(facts.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return facts;
  facts.regular = fstat(fd, &entry) == 0 && S_ISREG(entry.st_mode);
  if (facts.regular) facts.below = BelowOf(fd);
  close(fd);
  return facts;
}

bool IsWorkTree(const std::filesystem::path& top) {
  std::error_code error;
  const std::filesystem::path git = top / ".git";
  return std::filesystem::is_regular_file(git, error) ||
         std::filesystem::is_regular_file(git / "HEAD", error);
}

// The same one as "git" of a mount. A home that is kept in git, with all that lies in it, is no
// project.
std::string RepositoryOf(const std::string& project) {
  std::error_code error;
  const char* const home_variable = std::getenv("HOME");
  const std::filesystem::path home =
      std::filesystem::weakly_canonical(home_variable == nullptr ? "/" : home_variable, error);
  for (std::filesystem::path at = project; at.has_relative_path(); at = at.parent_path()) {
    if (!std::filesystem::exists(at / ".git", error)) continue;
    return IsWorkTree(at) && !IsInside(home.string(), at.string()) ? at.string() : "";
  }
  return "";
}

std::string WithoutLinks(const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(path, error);
  return error || !real.is_absolute() ? "" : real.string();
}

}  // namespace

bool IsInside(const std::string& path, const std::string& folder) {
  if (folder.empty() || !absl::StartsWith(path, folder)) return false;
  return path.size() == folder.size() || folder.back() == '/' || path[folder.size()] == '/';
}

std::string FolderOfPath(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

bool IsLocalImage(const std::string& base) {
  return absl::StartsWith(base, "/") || absl::StartsWithIgnoreCase(base, kFileScheme);
}

std::string PlainPath(const std::string& path) {
  const bool plain = std::all_of(path.begin(), path.end(),
                                 [](unsigned char c) { return c >= ' ' && c < 0x7f && c != '\\'; });
  return plain ? path : absl::CHexEscape(path);
}

Surroundings LookAround(const std::string& config_path, const std::vector<const Config*>& configs,
                        const std::vector<ConsentedValue>& given) {
  Surroundings around;
  around.project = WithoutLinks(std::filesystem::path(config_path).parent_path());
  around.file = WithoutLinks(config_path);
  around.repository = RepositoryOf(around.project);
  around.cache = WithoutLinks(CacheDir());
  for (const Config* config : configs) {
    if (config == nullptr) continue;
    for (const Mount& mount : config->mounts()) {
      around.folders[mount.source()] = WithoutLinks(mount.source());
    }
    for (const Port& port : config->ports()) {
      if (!IsUnixBind(port.bind())) continue;
      const std::string folder = FolderOfPath(UnixPath(port.bind()));
      around.folders[folder] = WithoutLinks(folder);
    }
    const std::string& base = config->image().base();
    if (IsLocalImage(base) && around.images.count(base) == 0) {
      around.images[base] = FactsOfImage(base, around, given);
    }
  }
  return around;
}

}  // namespace rum
