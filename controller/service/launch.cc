#include "controller/service/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "state/identity.h"

extern char** environ;

namespace rum {
namespace {

namespace fs = std::filesystem;

std::string Self() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error);
}

}  // namespace

std::string ControllerSocketPath() { return RuntimeDir() + "/controller.sock"; }

absl::Status StartController(bool replace) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0)
    return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ready[1], 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;  // `rum up` blocks what Ctrl+C sends
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  const std::string self = Self();
  std::string words[] = {self, "controller", "run", "--ready-fd", "3", "--replace"};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(),
                  words[3].data(), words[4].data(), replace ? words[5].data() : nullptr,
                  nullptr};
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, self.c_str(), &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ready[1]);
  std::string answer;
  char buffer[4096];
  for (ssize_t n; failed == 0 && (n = read(ready[0], buffer, sizeof buffer)) > 0;) {
    answer.append(buffer, static_cast<size_t>(n));
  }
  close(ready[0]);
  if (failed != 0)
    return absl::InternalError(absl::StrCat("start the controller: ", std::strerror(failed)));
  if (answer == "ok\n") return absl::OkStatus();
  if (answer == kTaken) return absl::AlreadyExistsError("another controller was there first");
  if (answer.empty()) {
    answer = absl::StrCat("it ended without a word; see ", StateDir(), "/controller.log");
  }
  return absl::UnavailableError(absl::StrCat("the controller did not start: ", answer));
}

std::vector<std::string> ControllerPlaces() {
  const fs::path folder = fs::path(Self()).parent_path();
  std::vector<std::string> places;
  for (const char* place :
       {"rum-controller", "../lib/rum/rum-controller", "../controller/service/rum-controller"}) {
    places.push_back(folder / place);
  }
  return places;
}

absl::Status ExecController(int ready_fd, bool replace) {
  std::string words[] = {"rum",      "controller", "run", "--ready-fd", std::to_string(ready_fd),
                         "--replace"};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(),
                  words[3].data(), words[4].data(), replace ? words[5].data() : nullptr,
                  nullptr};
  for (const std::string& place : ControllerPlaces()) {
    execv(place.c_str(), argv);
    if (errno != ENOENT && errno != ENOTDIR) break;
  }
  const std::string text =
      absl::StrCat("rum-controller, beside ", Self(), " or in ../lib/rum: ", std::strerror(errno),
                   "; install the package again, or build //cli:rum, which makes both");
  if (ready_fd >= 0) (void)!write(ready_fd, text.data(), text.size());  // told twice, if at all
  return absl::NotFoundError(text);
}

std::string ControllerUnit(const std::string& program) {
  return absl::StrCat(
      "[Unit]\n"
      "Description=rum: keeps running VMs as their rum.toml says\n"
      "Documentation=man:rum-controller(1)\n"
      "Wants=",
      kSocketUnit, "\nAfter=", kSocketUnit,
      "\n"
      "\n"
      "[Service]\n"
      "Type=notify\n"
      "# In the place of one that a command started, with its sockets.\n"
      "ExecStart=\"",
      program.empty() ? Self() : program,
      "\" controller run --replace\n"
      "WatchdogSec=30\n"
      "Restart=on-failure\n"
      "# A restart keeps the listening sockets: nobody who connects meanwhile is refused.\n"
      "FileDescriptorStoreMax=4096\n"
      "# Machines of qemu:///session are in this unit's cgroup. They go on when the controller "
      "ends,\n"
      "# and it, with the others, when the kernel ends one for want of memory.\n"
      "KillMode=process\n"
      "OOMPolicy=continue\n"
      "\n"
      "[Install]\n"
      "WantedBy=default.target\n");
}

std::string ControllerSocketUnit() {
  return "[Unit]\n"
         "Description=rum: where commands ask for the controller\n"
         "Documentation=man:rum-controller(1)\n"
         "\n"
         "[Socket]\n"
         "ListenStream=%t/rum/controller.sock\n"
         "SocketMode=0600\n"
         "DirectoryMode=0700\n"
         "\n"
         "[Install]\n"
         "WantedBy=sockets.target\n";
}

}  // namespace rum
