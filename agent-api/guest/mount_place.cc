#include "agent-api/guest/mount_place.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum::guest {
namespace {

// The system's, and where the agent remembers what has run: a script must not run twice because
// the ledger is out of sight.
constexpr const char* kNeeded[] = {"/bin",     "/dev",      "/etc",  "/lib",        "/lib64",
                                   "/proc",    "/run",      "/sbin", "/sys",        "/usr/bin",
                                   "/usr/lib", "/usr/sbin", "/boot", "/var/lib/rum"};
// In these, nothing at all.
constexpr const char* kOfTheKernel[] = {"/dev", "/proc", "/sys"};

}  // namespace

bool IsIn(const std::string& path, const std::string& folder) {
  return path == folder || folder == "/" || absl::StartsWith(path, absl::StrCat(folder, "/"));
}

std::string HiddenBy(const std::string& target) {
  for (const std::string needed : kNeeded) {
    if (IsIn(needed, target)) return needed;
  }
  for (const std::string folder : kOfTheKernel) {
    if (IsIn(target, folder)) return folder;
  }
  if (IsIn(target, "/var/lib/rum")) return target;
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", error);
  return !error && IsIn(self, target) ? self : "";
}

std::vector<MountEntry> MountsBelow(const std::vector<MountEntry>& mounts,
                                    const std::string& target) {
  std::vector<MountEntry> below;
  for (const MountEntry& mount : mounts) {
    if (mount.target != target && IsIn(mount.target, target)) below.push_back(mount);
  }
  std::sort(below.begin(), below.end(), [](const MountEntry& one, const MountEntry& other) {
    return one.target.size() > other.target.size();
  });
  return below;
}

}  // namespace rum::guest
