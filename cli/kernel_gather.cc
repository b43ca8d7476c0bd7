#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/host_gather.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

uint64_t NumberIn(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  file >> number;
  return file ? number : 0;
}

std::string LineIn(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Of one process; nothing where it may not be looked at.
void CountInotify(const fs::path& process, InotifyFacts* facts) {
  std::error_code error;
  for (fs::directory_iterator fd(process / "fd", error), end; !error && fd != end;
       fd.increment(error)) {
    std::error_code gone;
    if (fs::read_symlink(fd->path(), gone) != "anon_inode:inotify") continue;
    ++facts->instances;
    std::ifstream info(process / "fdinfo" / fd->path().filename());
    for (std::string line; std::getline(info, line);) {
      if (absl::StartsWith(line, "inotify ")) ++facts->watches;
    }
  }
}

InotifyFacts Inotify(uint32_t user) {
  InotifyFacts facts;
  facts.most_watches = NumberIn("/proc/sys/fs/inotify/max_user_watches");
  facts.most_instances = NumberIn("/proc/sys/fs/inotify/max_user_instances");
  std::error_code error;
  for (fs::directory_iterator process("/proc", error), end; !error && process != end;
       process.increment(error)) {
    const std::string name = process->path().filename();
    struct stat info {};
    if (name[0] < '0' || name[0] > '9' || stat(process->path().c_str(), &info) != 0) continue;
    if (info.st_uid == user) CountInotify(process->path(), &facts);
  }
  return facts;
}

ClockFacts Clock() {
  ClockFacts facts;
  facts.now_s = time(nullptr);
  struct stat info {};
  if (stat("/proc/self/exe", &info) == 0) facts.program_s = info.st_mtime;
  timex state{};
  facts.synchronized = adjtimex(&state) != TIME_ERROR;
  return facts;
}

CgroupFacts Cgroup(const Who& who) {
  CgroupFacts facts;
  struct statfs mounted {};
  const bool any = statfs("/sys/fs/cgroup", &mounted) == 0;
  if (any && mounted.f_type == CGROUP2_SUPER_MAGIC) {
    facts.kind = CgroupFacts::Kind::kUnified;
  } else if (any && mounted.f_type == TMPFS_MAGIC) {
    facts.kind = CgroupFacts::Kind::kFirst;
  }
  facts.writable_for_root = !any || (mounted.f_flags & 1 /* ST_RDONLY */) == 0;
  const std::string own =
      absl::StrCat("/sys/fs/cgroup/user.slice/user-", who.id, ".slice/user@", who.id, ".service");
  if (who.systemd && who.id != 0 && access(own.c_str(), F_OK) == 0)
    facts.delegated = LineIn(own + "/cgroup.controllers");
  return facts;
}

// A guest of libvirt's was denied something, by either of them.
bool IsDenial(const std::string& line) {
  const bool apparmor = absl::StrContains(line, "apparmor=\"DENIED\"") &&
                        absl::StrContains(line, "profile=\"libvirt-");
  return apparmor || (absl::StrContains(line, "avc:  denied") && absl::StrContains(line, "svirt"));
}

SecurityFacts Security() {
  SecurityFacts facts;
  facts.apparmor = LineIn("/sys/module/apparmor/parameters/enabled") == "Y";
  facts.selinux = LineIn("/sys/fs/selinux/enforce") == "1";
  const int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (log < 0) return facts;
  facts.log_readable = true;
  char record[8192];
  for (;;) {
    const ssize_t n = read(log, record, sizeof record);
    if (n < 0 && (errno == EPIPE || errno == EINTR)) continue;  // overwritten: goes on behind it
    if (n < 0 && errno == EPERM) facts.log_readable = false;
    if (n <= 0) break;
    const std::string line(record, static_cast<size_t>(n));
    if (!IsDenial(line)) continue;
    ++facts.denials;
    const size_t text = line.find(';');
    facts.last_denial = line.substr(text + 1, line.find('\n') - text - 1);
  }
  close(log);
  return facts;
}

}  // namespace

void GatherKernel(HostFacts* facts) {
  facts->inotify = Inotify(facts->who.id);
  facts->clock = Clock();
  facts->cgroup = Cgroup(facts->who);
  facts->security = Security();
}

}  // namespace rum
