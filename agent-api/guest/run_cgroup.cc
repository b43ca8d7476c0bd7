#include "agent-api/guest/run_cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr char kRoot[] = "/sys/fs/cgroup";
constexpr char kPrefix[] = "rum-run-";

// The folder of this process's cgroup; empty: no cgroups v2.
std::string OwnCgroup() {
  struct statfs filesystem {};
  if (statfs(kRoot, &filesystem) != 0 || filesystem.f_type != CGROUP2_SUPER_MAGIC) return "";
  std::istringstream lines(ReadFile("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("0::", 0) == 0) return kRoot + line.substr(3);
  }
  return "";
}

}  // namespace

RunCgroup::RunCgroup(const std::string& name) {
  const std::string own = OwnCgroup();
  if (own.empty()) return;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(own, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string old = entry->path().filename();
    if (old.rfind(kPrefix, 0) == 0) rmdir(entry->path().c_str());  // fails while anybody is in it
  }
  folder_ = own + "/" + kPrefix + name;
  if (mkdir(folder_.c_str(), 0755) != 0) return;
  procs_fd_ = open((folder_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
}

RunCgroup::~RunCgroup() {
  if (procs_fd_ < 0) return;
  close(procs_fd_);
  rmdir(folder_.c_str());
}

void RunCgroup::Kill() const {
  if (procs_fd_ < 0) return;
  const int fd = open((folder_ + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "1", 1) < 0) rmdir(folder_.c_str());
  close(fd);
}

}  // namespace rum::guest
