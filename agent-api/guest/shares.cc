#include "agent-api/guest/shares.h"

#include <sys/mount.h>
#include <sys/utsname.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/mount_users.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;

std::vector<MountEntry> MountsSeenBy(const std::string& process) {
  return ParseMountInfo(ReadFile(absl::StrCat("/proc/", process, "/mountinfo")));
}

// Of each mount namespace but the agent's, one of its processes: a container's, for one.
std::vector<int> OtherNamespaces() {
  std::error_code gone;
  std::set<fs::path> known = {fs::read_symlink("/proc/self/ns/mnt", gone)};
  std::vector<int> pids;
  fs::directory_iterator processes("/proc", gone);
  for (; !gone && processes != fs::directory_iterator(); processes.increment(gone)) {
    int pid = 0;
    std::error_code none;
    if (!absl::SimpleAtoi(processes->path().filename().string(), &pid)) continue;
    const fs::path space = fs::read_symlink(processes->path() / "ns/mnt", none);
    if (!none && known.insert(space).second) pids.push_back(pid);
  }
  return pids;
}

std::string NameOfProcess(int pid) {
  return absl::StrCat("pid ", pid, " (", FirstLine(ReadFile(absl::StrCat("/proc/", pid, "/comm"))),
                      ")");
}

agent::ShareState StateOf(const std::string& tag, const std::set<std::string>& types,
                          const std::vector<MountEntry>& mounts, const std::vector<int>& others) {
  std::vector<std::string> uses;
  const std::vector<std::string> own = OwnTargets();
  bool idle = true;
  const std::vector<MountEntry> here = MountsOfShare(mounts, tag, types);
  for (const MountEntry& mount : here) {
    const std::string users = UsersOf(mount.target);
    uses.push_back(absl::StrCat("mounted at ", mount.target,
                                users.empty() ? "" : absl::StrCat(", in use by ", users)));
    idle = idle && users.empty() && absl::c_linear_search(own, mount.target);
  }
  for (const int pid : others) {
    const auto there = MountsOfShare(MountsSeenBy(absl::StrCat(pid)), tag, types);
    if (there.empty()) continue;
    // What follows goes with ours, while there is one.
    const bool goes =
        !here.empty() && absl::c_all_of(there, [](const MountEntry& m) { return m.follows; });
    if (goes) continue;
    uses.push_back(absl::StrCat("mounted where ", NameOfProcess(pid), " runs"));
    idle = false;
  }
  agent::ShareState state;
  state.set_tag(tag);
  state.set_used(absl::StrJoin(uses, "; "));
  state.set_idle(!uses.empty() && idle);
  return state;
}

// Whether a module of the running kernel's has the name, by the lists that come with them; read
// again when they change.
class Modules {
 public:
  bool Has(const std::string& name) {
    utsname names{};
    uname(&names);
    const fs::path folder = fs::path("/lib/modules") / names.release;
    const std::lock_guard<std::mutex> guard(mutex_);
    std::error_code none;
    const fs::file_time_type made = fs::last_write_time(folder / "modules.dep", none);
    if (none) return false;
    if (made != made_) known_.clear();
    made_ = made;
    const auto known = known_.find(name);
    if (known != known_.end()) return known->second;
    const std::string file = absl::StrCat("/", name, ".ko");
    return known_[name] = absl::StrContains(ReadFile(folder / "modules.dep"), file);
  }

 private:
  std::mutex mutex_;
  fs::file_time_type made_;
  std::map<std::string, bool> known_;
};

}  // namespace

const std::set<std::string>& ShareTypes() {
  static const auto* const types = new std::set<std::string>{"9p", "virtiofs"};
  return *types;
}

std::vector<MountEntry> MountsOfShare(const std::vector<MountEntry>& mounts, const std::string& tag,
                                      const std::set<std::string>& types) {
  std::vector<MountEntry> found;
  absl::c_copy_if(mounts, std::back_inserter(found), [&](const MountEntry& mount) {
    return mount.source == tag && types.count(mount.type) > 0;
  });
  return found;
}

bool KernelHas(const std::string& filesystem) {
  static auto* const modules = new Modules();
  if (modules->Has(filesystem)) return true;
  const std::string loaded = ReadFile("/proc/filesystems");
  for (const absl::string_view line : absl::StrSplit(loaded, '\n')) {
    if (absl::EndsWith(line, absl::StrCat("\t", filesystem))) return true;
  }
  return false;
}

agent::Shares ObserveShares(const std::vector<std::string>& leaving,
                            const std::set<std::string>& types) {
  agent::Shares shares;
  shares.set_virtiofs(KernelHas("virtiofs"));
  if (leaving.empty()) return shares;
  const std::vector<MountEntry> mounts = MountsSeenBy("self");
  const std::vector<int> others = OtherNamespaces();
  for (const std::string& tag : leaving)
    *shares.add_leaving() = StateOf(tag, types, mounts, others);
  return shares;
}

void DropLostShares(const std::vector<std::string>& tags, const std::set<std::string>& types) {
  for (const std::string& tag : tags) {
    std::vector<MountEntry> mounts = MountsOfShare(MountsSeenBy("self"), tag, types);
    // The last one covers those before it.
    std::reverse(mounts.begin(), mounts.end());
    for (const MountEntry& mount : mounts) umount2(mount.target.c_str(), MNT_DETACH);
  }
}

}  // namespace rum::guest
