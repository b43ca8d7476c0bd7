#include "controller/fleet/machine_key.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent-api/first_line.h"
#include "state/file.h"

extern char** environ;

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr char kPrivate[] = "id_ed25519";
constexpr char kPublic[] = "id_ed25519.pub";

// The first line of what a program wrote there.
std::string ReadFirstLine(int fd) {
  std::string text(512, '\0');
  text.resize(std::max<ssize_t>(pread(fd, text.data(), text.size(), 0), 0));
  return std::string(absl::StripSuffix(FirstLine(text), "\r"));
}

absl::Status Generate(const std::string& path, const std::string& comment) {
  std::vector<std::string> words = {"ssh-keygen", "-q", "-t",    "ed25519", "-N",
                                    "",           "-C", comment, "-f",      path};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // In memory: the disk may be what fails.
  const int words_of_it = memfd_create("ssh-keygen", MFD_CLOEXEC);
  for (int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  if (words_of_it >= 0) posix_spawn_file_actions_adddup2(&actions, words_of_it, 2);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  while (failed == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  const std::string why = words_of_it < 0 ? "" : ReadFirstLine(words_of_it);
  if (words_of_it >= 0) close(words_of_it);
  if (failed != 0) {
    return absl::InternalError(absl::StrCat("ssh-keygen: ", std::strerror(failed),
                                            "; is the package openssh-client installed?"));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  for (const int error : {ENOSPC, EDQUOT, EROFS}) {
    if (absl::StrContains(why, std::strerror(error))) return DiskError(error, path);
  }
  return absl::InternalError(
      absl::StrCat("ssh-keygen did not make ", path, why.empty() ? "" : ": ", why));
}

absl::Status Explained(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("ssh key: ", std::string(status.message())));
}

}  // namespace

std::string MachineKeys::PrivatePath(const MachineIdentity& machine) const {
  return fs::path(folder_) / machine.id / kPrivate;
}

absl::StatusOr<std::string> MachineKeys::Read(const MachineIdentity& machine) const {
  const fs::path path = fs::path(folder_) / machine.id / kPublic;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (text.ok()) return FirstLine(*text);
  if (absl::IsNotFound(text.status())) return "";
  return absl::InternalError(
      absl::StrCat("ssh key: ", path.string(), ": ", std::string(text.status().message())));
}

std::string MachineKeys::Find(const MachineIdentity& machine) const {
  return folder_.empty() ? "" : Read(machine).value_or("");
}

absl::StatusOr<std::string> MachineKeys::Make(const MachineIdentity& machine) const {
  if (folder_.empty()) return "";
  // One that cannot be read now is not made anew: the guest knows it.
  const absl::StatusOr<std::string> there = Read(machine);
  if (!there.ok() || !there->empty()) return there;
  if (absl::Status made = MakeFolders(folder_); !made.ok()) return Explained(made);
  std::error_code error;
  // Made in a folder that nobody else can enter, which gets its name when the key is whole.
  std::string fresh = absl::StrCat(folder_, "/", machine.id, ".new-XXXXXX");
  if (mkdtemp(fresh.data()) == nullptr) return Explained(DiskError(errno, folder_));
  absl::Status made = Generate(fs::path(fresh) / kPrivate, machine.domain_name());
  for (const std::string& path : {fresh + "/" + kPrivate, fresh + "/" + kPublic, fresh}) {
    if (made.ok()) made = SyncFile(path);
  }
  if (made.ok()) {
    const fs::path place = fs::path(folder_) / machine.id;
    fs::remove_all(place, error);  // half a key, if anything
    fs::rename(fresh, place, error);
    if (error) made = DiskError(error.value(), place);
  }
  if (made.ok()) made = SyncFile(folder_);
  if (made.ok()) return Read(machine);
  fs::remove_all(fresh, error);
  return Explained(made);
}

absl::StatusOr<bool> MachineKeys::Remove(const MachineIdentity& machine) const {
  if (folder_.empty()) return false;
  std::error_code error;
  std::vector<fs::path> ours;
  // Also what a Make() left that was killed.
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (name == machine.id || name.rfind(machine.id + ".new-", 0) == 0) {
      ours.push_back(entry->path());
    }
  }
  if (error == std::errc::no_such_file_or_directory) return false;
  if (error) return Explained(DiskError(error.value(), folder_));
  for (const fs::path& path : ours) {
    fs::remove_all(path, error);
    if (error) return Explained(DiskError(error.value(), path));
  }
  if (absl::Status gone = ours.empty() ? absl::OkStatus() : SyncFile(folder_); !gone.ok())
    return Explained(gone);
  fs::remove(folder_, error);  // when it was the last one
  return !ours.empty();
}

}  // namespace rum
