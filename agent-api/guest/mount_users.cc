#include "agent-api/guest/mount_users.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/mount_place.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostNamed = 3;

// Whether the link of /proc leads into `target`; one of a deleted file has a note behind its path.
bool LeadsInto(const fs::path& link, const std::string& target) {
  std::error_code gone;
  const fs::path to = fs::read_symlink(link, gone);
  return !gone && IsIn(to.string(), target);
}

bool AnyLeadsInto(const fs::path& folder, const std::string& target) {
  std::error_code gone;
  fs::directory_iterator links(folder, gone);
  for (; !gone && links != fs::directory_iterator(); links.increment(gone)) {
    if (LeadsInto(links->path(), target)) return true;
  }
  return false;
}

// A library stays mapped though its descriptor is closed: proc(5), /proc/PID/maps.
bool Maps(const fs::path& process, const std::string& target) {
  const std::string maps = ReadFile(process / "maps");
  for (const absl::string_view line : absl::StrSplit(maps, '\n', absl::SkipEmpty())) {
    const size_t path = line.find('/');
    if (path != absl::string_view::npos && IsIn(std::string(line.substr(path)), target))
      return true;
  }
  return false;
}

bool Uses(const fs::path& process, const std::string& target) {
  for (const char* link : {"cwd", "root", "exe"}) {
    if (LeadsInto(process / link, target)) return true;
  }
  return AnyLeadsInto(process / "fd", target) || Maps(process, target);
}

}  // namespace

std::string UsersOf(const std::string& target) {
  std::vector<int> pids;
  std::error_code gone;
  fs::directory_iterator processes("/proc", gone);
  for (; !gone && processes != fs::directory_iterator(); processes.increment(gone)) {
    int pid = 0;
    const bool is_process = absl::SimpleAtoi(processes->path().filename().string(), &pid);
    if (is_process && Uses(processes->path(), target)) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  std::vector<std::string> named;
  for (const int pid : pids) {
    if (named.size() == kMostNamed) break;
    const std::string name = FirstLine(ReadFile(absl::StrCat("/proc/", pid, "/comm")));
    named.push_back(absl::StrCat("pid ", pid, " (", name, ")"));
  }
  std::string users = absl::StrJoin(named, ", ");
  if (pids.size() > named.size())
    absl::StrAppend(&users, " and ", pids.size() - named.size(), " more");
  return users;
}

std::string KeptMountedBy(const std::string& target) {
  const std::vector<MountEntry> mounts = MountsNow();
  return MountedAt(mounts, target) == nullptr ? "" : UsersOf(target);
}

}  // namespace rum::guest
