#include "controller/machine_key.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"

extern char** environ;

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr char kPrivate[] = "id_ed25519";
constexpr char kPublic[] = "id_ed25519.pub";

absl::Status Generate(const std::string& path, const std::string& comment) {
  std::vector<std::string> words = {"ssh-keygen", "-q", "-t",    "ed25519", "-N",
                                    "",           "-C", comment, "-f",      path};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return absl::InternalError(absl::StrCat("ssh-keygen: ", std::strerror(failed)));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("ssh-keygen did not make ", path));
}

// What a power cut must not take half of.
absl::Status Sync(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const int why = errno;
  if (fd >= 0) close(fd);
  if (synced) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(path.string(), ": ", std::strerror(why)));
}

}  // namespace

std::string MachineKeys::PrivatePath(const MachineIdentity& machine) const {
  return fs::path(folder_) / machine.id / kPrivate;
}

std::string MachineKeys::Find(const MachineIdentity& machine) const {
  if (folder_.empty()) return "";
  std::ifstream file(fs::path(folder_) / machine.id / kPublic);
  std::string line;
  std::getline(file, line);
  return line;
}

absl::StatusOr<std::string> MachineKeys::Make(const MachineIdentity& machine) const {
  if (folder_.empty()) return "";
  if (std::string there = Find(machine); !there.empty()) return there;
  std::error_code error;
  fs::create_directories(fs::path(folder_).parent_path(), error);
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::InternalError(absl::StrCat("ssh key: ", folder_, ": ", std::strerror(errno)));
  }
  // Made in a folder that nobody else can enter, which gets its name when the key is whole.
  std::string fresh = absl::StrCat(folder_, "/", machine.id, ".new-XXXXXX");
  if (mkdtemp(fresh.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("ssh key: ", fresh, ": ", std::strerror(errno)));
  }
  absl::Status made = Generate(fs::path(fresh) / kPrivate, machine.domain_name());
  for (const std::string& path : {fresh + "/" + kPrivate, fresh + "/" + kPublic, fresh}) {
    if (made.ok()) made = Sync(path);
  }
  if (made.ok()) {
    fs::remove_all(fs::path(folder_) / machine.id, error);  // half a key, if anything
    fs::rename(fresh, fs::path(folder_) / machine.id, error);
    if (error) made = absl::InternalError(absl::StrCat("ssh key: ", error.message()));
  }
  if (made.ok()) made = Sync(folder_);
  if (made.ok()) return Find(machine);
  fs::remove_all(fresh, error);
  return made;
}

absl::StatusOr<bool> MachineKeys::Remove(const MachineIdentity& machine) const {
  if (folder_.empty()) return false;
  std::error_code error;
  bool removed = false;
  // Also what a Make() left that was killed.
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename();
    if (name != machine.id && name.rfind(machine.id + ".new-", 0) != 0) continue;
    removed = true;
    fs::remove_all(entry.path(), error);
    if (error)
      return absl::InternalError(absl::StrCat(entry.path().string(), ": ", error.message()));
  }
  fs::remove(folder_, error);  // when it was the last one
  return removed;
}

}  // namespace rum
