#include "cli/host_gather.h"

#include <fcntl.h>
#include <grp.h>
#include <mntent.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/kvm_look.h"
#include "controller/service/launch.h"
#include "controller/service/own_socket.h"
#include "state/identity.h"

extern char** environ;

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr int kPatienceMs = 30000;

bool IsSet(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

std::vector<std::string> Distribution() {
  std::vector<std::string> names;
  std::ifstream release("/etc/os-release");
  for (std::string line; std::getline(release, line);) {
    absl::string_view value = line;
    if (!absl::ConsumePrefix(&value, "ID=") && !absl::ConsumePrefix(&value, "ID_LIKE=")) continue;
    for (const absl::string_view name :
         absl::StrSplit(value, absl::ByAnyChar(" \"'"), absl::SkipEmpty())) {
      names.emplace_back(name);
    }
  }
  return names;
}

// The first of the places where there is a program, and what it says of its version: the first word
// that begins with a digit.
ProgramFacts Program(const std::vector<std::string>& places) {
  for (const std::string& place : places) {
    if (access(place.c_str(), X_OK) != 0) continue;
    ProgramFacts program{place, ""};
    const Printed printed = Run({place, "--version"}, kPatienceMs);
    for (const absl::string_view word :
         absl::StrSplit(printed.out + printed.err, absl::ByAnyChar(" \n\t()"), absl::SkipEmpty())) {
      if (word[0] < '0' || word[0] > '9') continue;
      program.version = std::string(word);
      break;
    }
    return program;
  }
  return {};
}

std::string Architecture() {
  utsname names{};
  return uname(&names) == 0 ? names.machine : "x86_64";
}

std::string MountPointOf(const std::string& path) {
  std::string best = "/";
  FILE* mounts = setmntent("/proc/self/mounts", "r");
  if (mounts == nullptr) return best;
  while (const mntent* mount = getmntent(mounts)) {
    const std::string at = mount->mnt_dir;
    const bool above = path == at || at == "/" || path.rfind(at + "/", 0) == 0;
    if (above && at.size() >= best.size()) best = at;
  }
  endmntent(mounts);
  return best;
}

FolderFacts Folder(const std::string& what, const std::string& variable, const std::string& path) {
  FolderFacts facts;
  facts.what = what;
  facts.variable = variable;
  facts.path = path;
  std::error_code error;
  fs::path at = fs::absolute(path, error);
  while (!fs::exists(fs::symlink_status(at, error)) && at != at.root_path()) at = at.parent_path();
  facts.nearest = at;
  struct stat info {};
  if (stat(at.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    facts.problem = FolderFacts::Problem::kNoFolder;
  } else if (faccessat(AT_FDCWD, at.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    const bool read_only = errno == EROFS;
    facts.problem = read_only ? FolderFacts::Problem::kReadOnly : FolderFacts::Problem::kForbidden;
    if (read_only) facts.mount_point = MountPointOf(fs::canonical(at, error));
  }
  struct statvfs room {};
  if (statvfs(at.c_str(), &room) == 0)
    facts.free_bytes = static_cast<uint64_t>(room.f_bavail) * room.f_frsize;
  return facts;
}

RuntimeFacts Runtime() {
  RuntimeFacts facts;
  facts.named = IsSet("XDG_RUNTIME_DIR") || IsSet("RUM_RUNTIME_DIR");
  const std::string usual = absl::StrCat("/run/user/", geteuid());
  struct stat info {};
  if (stat(usual.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid())
    facts.usual = usual;
  facts.folder = Folder("runtime", "RUM_RUNTIME_DIR", RuntimeDir());
  facts.socket = ControllerSocketPath();
  const absl::Status folder = JudgeSocketFolder(RuntimeDir());
  if (absl::IsPermissionDenied(folder)) facts.foreign = std::string(folder.message());
  return facts;
}

ServiceFacts Service(const std::string& user) {
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  const std::string own = config != nullptr && *config != '\0' ? config
                          : home != nullptr                    ? absl::StrCat(home, "/.config")
                                                               : "";
  ServiceFacts facts;
  std::error_code error;
  for (const std::string& place : {own + "/systemd/user", std::string("/etc/systemd/user"),
                                   std::string("/usr/lib/systemd/user")}) {
    facts.unit = facts.unit || fs::exists(place + "/rum.service", error);
    facts.enabled = facts.enabled || fs::exists(fs::symlink_status(
                                         place + "/default.target.wants/rum.service", error));
  }
  facts.lingers = fs::exists("/var/lib/systemd/linger/" + user, error);
  return facts;
}

}  // namespace

std::string UserName(uint32_t id) {
  FILE* accounts = std::fopen("/etc/passwd", "re");
  std::string name = absl::StrCat(id);
  while (accounts != nullptr) {
    const passwd* account = fgetpwent(accounts);
    if (account == nullptr) break;
    if (account->pw_uid != id) continue;
    name = account->pw_name;
    break;
  }
  if (accounts != nullptr) std::fclose(accounts);
  return name;
}

std::string GroupName(uint32_t id) {
  FILE* groups = std::fopen("/etc/group", "re");
  std::string name = absl::StrCat(id);
  while (groups != nullptr) {
    const group* one = fgetgrent(groups);
    if (one == nullptr) break;
    if (one->gr_gid != id) continue;
    name = one->gr_name;
    break;
  }
  if (groups != nullptr) std::fclose(groups);
  return name;
}

Printed Run(const std::vector<std::string>& words, int patience_ms) {
  Printed printed;
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0) return printed;
  if (pipe2(err, O_CLOEXEC) != 0) {
    close(out[0]);
    close(out[1]);
    return printed;
  }
  std::vector<std::string> copies = words;
  std::vector<char*> argv;
  for (std::string& word : copies) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  pid_t child = -1;
  const bool started = posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  pollfd pipes[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* const texts[2] = {&printed.out, &printed.err};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  while (started && (pipes[0].fd >= 0 || pipes[1].fd >= 0)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || poll(pipes, 2, static_cast<int>(left.count())) == 0) {
      printed.late = true;
      kill(child, SIGKILL);
      break;
    }
    for (int i = 0; i < 2; ++i) {
      if (pipes[i].fd < 0 || pipes[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t n = read(pipes[i].fd, buffer, sizeof buffer);
      if (n > 0) texts[i]->append(buffer, static_cast<size_t>(n));
      if (n == 0 || (n < 0 && errno != EINTR)) pipes[i].fd = -1;
    }
  }
  close(out[0]);
  close(err[0]);
  int status = 0;
  if (started && waitpid(child, &status, 0) == child && WIFEXITED(status) && !printed.late)
    printed.status = WEXITSTATUS(status);
  return printed;
}

HostFacts GatherHostFacts(const std::string& wanted_uri) {
  HostFacts facts;
  facts.who.id = geteuid();
  facts.who.name = UserName(facts.who.id);
  facts.who.distribution = Distribution();
  facts.who.systemd = access("/run/systemd/system", F_OK) == 0;
  facts.kvm = LookAtKvm();
  struct stat info {};
  if (stat("/dev/kvm", &info) == 0) facts.kvm.group = GroupName(info.st_gid);
  const std::string qemu = "qemu-system-" + Architecture();
  facts.qemu = Program({"/usr/bin/" + qemu, "/usr/local/bin/" + qemu, "/usr/libexec/qemu-kvm"});
  facts.virtiofsd = Program({"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd",
                             "/usr/lib/virtiofsd", "/usr/bin/virtiofsd"});
  facts.runtime = Runtime();
  facts.folders = {Folder("state", "RUM_STATE_DIR", StateDir()),
                   Folder("cache", "RUM_CACHE_DIR", CacheDir()),
                   Folder("data", "RUM_DATA_DIR", DataDir())};
  GatherLibvirts(wanted_uri, &facts);
  facts.service = Service(facts.who.name);
  GatherKernel(&facts);
  return facts;
}

}  // namespace rum
