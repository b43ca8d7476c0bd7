#include "cli/user_service.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "controller/base/fd.h"
#include "controller/service/launch.h"

extern char** environ;

namespace rum {
namespace {

namespace fs = std::filesystem;

struct UnitFile {
  std::string name;
  std::string text;
};

std::vector<UnitFile> UnitFiles() {
  return {{kServiceUnit, ControllerUnit()}, {kSocketUnit, ControllerSocketUnit()}};
}

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Runs `systemctl --user` with these words; what it printed, or why it failed in its own words.
absl::StatusOr<std::string> Systemctl(const std::vector<std::string>& words) {
  std::vector<std::string> all = {"systemctl", "--user"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "starting systemctl");
  const Fd output(ends[0]);
  Fd input(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (int fd : {1, 2}) posix_spawn_file_actions_adddup2(&actions, input.get(), fd);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return absl::ErrnoToStatus(failed, "starting systemctl");
  input = Fd();
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(output.get(), buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  return absl::UnavailableError(
      absl::StrCat("`", absl::StrJoin(all, " "), "` failed: ", absl::StripAsciiWhitespace(text)));
}

absl::Status LookForSystemd() {
  const auto answer = Systemctl({"show", "--property=Version"});
  if (answer.ok()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("this user has no systemd that answers, and nothing was changed: ",
                   std::string(answer.status().message()),
                   "\n  without it commands start a controller by themselves, and it lives as long "
                   "as it has to"));
}

// Where systemd reads units of this user's own.
absl::StatusOr<fs::path> OwnUnitFolder() {
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config == '/')
    return fs::path(config) / "systemd/user";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return fs::path(home) / ".config/systemd/user";
  return absl::FailedPreconditionError("neither HOME nor XDG_CONFIG_HOME says where units are");
}

// The file that systemd has for a unit; empty: none.
std::string FileOfUnit(const std::string& name) {
  const auto path = Systemctl({"show", "--property=FragmentPath", "--value", name});
  return path.ok() ? std::string(absl::StripAsciiWhitespace(*path)) : "";
}

absl::Status WriteUnit(const fs::path& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("create ", path.string()));
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (close(fd) == 0 && written) return absl::OkStatus();
  unlink(path.c_str());  // made just now, and by nobody else
  return absl::ErrnoToStatus(error, absl::StrCat("write ", path.string()));
}

// Writes units that systemd does not know. One of the user's own, or of a package, stays.
absl::StatusOr<bool> WriteUnits(Steps* steps) {
  const absl::StatusOr<fs::path> folder = OwnUnitFolder();
  if (!folder.ok()) return folder.status();
  bool any = false;
  for (const UnitFile& unit : UnitFiles()) {
    const std::string known = FileOfUnit(unit.name);
    const fs::path place = *folder / unit.name;
    std::error_code error;
    if (!known.empty() || fs::exists(fs::symlink_status(place, error))) {
      const std::string& file = known.empty() ? place.string() : known;
      if (absl::StartsWith(file, folder->string()) && ReadAll(file) != unit.text)
        steps->push_back(absl::StrCat("Kept ", file,
                                      ", which `rum controller unit` would write in another way"));
      continue;
    }
    fs::create_directories(*folder, error);
    if (error)
      return absl::InternalError(absl::StrCat("create ", folder->string(), ": ", error.message()));
    if (const absl::Status written = WriteUnit(place, unit.text); !written.ok()) return written;
    steps->push_back(absl::StrCat("Wrote ", place.string()));
    any = true;
  }
  return any;
}

// Whether the service starts with the host, not only with a session of this user.
std::string LingeringText() {
  const char* user = std::getenv("USER");
  if (user == nullptr || *user == '\0') user = std::getenv("LOGNAME");
  std::error_code error;
  const bool lingers =
      user != nullptr && fs::exists(fs::path("/var/lib/systemd/linger") / user, error);
  return lingers ? "It starts with this host, as you linger"
                 : "It starts when you log in, and ends when you have logged out everywhere; "
                   "`loginctl enable-linger` makes it start with the host, and is left to you";
}

}  // namespace

bool IsService(pid_t pid) {
  const std::string all = ReadAll(absl::StrCat("/proc/", pid, "/environ"));
  const std::vector<std::string> lines = absl::StrSplit(all, '\0');
  bool notifies = false;
  bool started = false;  // itself: what it starts inherits the rest
  for (const std::string& line : lines) {
    notifies = notifies || absl::StartsWith(line, "NOTIFY_SOCKET=");
    started = started || line == absl::StrCat("SYSTEMD_EXEC_PID=", pid);
  }
  return notifies && started;
}

absl::Status RestartService() { return Systemctl({"restart", kServiceUnit}).status(); }

absl::StatusOr<Steps> EnableService() {
  if (const absl::Status systemd = LookForSystemd(); !systemd.ok()) return systemd;
  Steps steps;
  const absl::StatusOr<bool> written = WriteUnits(&steps);
  if (!written.ok()) return written.status();
  if (*written) {
    if (const auto reloaded = Systemctl({"daemon-reload"}); !reloaded.ok())
      return reloaded.status();
  }
  const auto enabled = Systemctl({"enable", "--now", kSocketUnit, kServiceUnit});
  if (!enabled.ok()) return enabled.status();
  steps.push_back(absl::StrCat("Enabled and started ", kServiceUnit, "; machines went on running"));
  steps.push_back(LingeringText());
  return steps;
}

absl::StatusOr<Steps> DisableService() {
  if (const absl::Status systemd = LookForSystemd(); !systemd.ok()) return systemd;
  Steps steps;
  if (FileOfUnit(kServiceUnit).empty()) return Steps{absl::StrCat("There is no ", kServiceUnit)};
  const auto disabled = Systemctl({"disable", "--now", kSocketUnit, kServiceUnit});
  if (!disabled.ok()) return disabled.status();
  steps.push_back(absl::StrCat("Disabled and stopped ", kServiceUnit,
                               "; machines go on running, and the next command that needs a "
                               "controller starts one"));
  const absl::StatusOr<fs::path> folder = OwnUnitFolder();
  if (!folder.ok()) return steps;
  bool removed = false;
  for (const UnitFile& unit : UnitFiles()) {
    const fs::path place = *folder / unit.name;
    std::error_code error;
    if (ReadAll(place) != unit.text || !fs::remove(place, error)) continue;
    steps.push_back(absl::StrCat("Removed ", place.string()));
    removed = true;
  }
  if (removed) {
    if (const auto reloaded = Systemctl({"daemon-reload"}); !reloaded.ok())
      return reloaded.status();
  }
  return steps;
}

}  // namespace rum
