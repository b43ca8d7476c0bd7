#include "agent-api/guest/home.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/mount_place.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kFirstPerson = 1000;
constexpr uid_t kLastPerson = 60000;
constexpr mode_t kUmask = 022;

// A number of /etc/login.defs, in C's notations (login.defs(5)).
unsigned long LoginDefinition(const std::string& name, unsigned long otherwise) {
  std::istringstream lines(ReadFile("/etc/login.defs"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, value;
    if (words >> key >> value && key == name) return std::strtoul(value.c_str(), nullptr, 0);
  }
  return otherwise;
}

mode_t HomeMode() {
  const unsigned long by_umask = 0777 & ~LoginDefinition("UMASK", kUmask);
  return static_cast<mode_t>(LoginDefinition("HOME_MODE", by_umask) & 0777);
}

std::string Skeleton() {
  std::istringstream lines(ReadFile("/etc/default/useradd"));
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("SKEL=", 0) == 0 && line.size() > 5) return line.substr(5);
  }
  return "/etc/skel";
}

// The root of a filesystem on which nobody has put anything, but for a skeleton that was begun.
bool IsBareMount(const std::string& path, const struct stat& folder) {
  struct stat parent {};
  if (stat(fs::path(path).parent_path().c_str(), &parent) != 0) return false;
  if (folder.st_dev == parent.st_dev || folder.st_uid != 0) return false;
  const fs::path skeleton = Skeleton();
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const fs::path name = entry.path().filename();
    std::error_code ignored;
    if (name != "lost+found" && !fs::exists(skeleton / name, ignored)) return false;
  }
  return !error;
}

std::string PlaceOf(const Account& account) {
  std::string home = account.home;
  while (home.size() > 1 && home.back() == '/') home.pop_back();
  return ThroughLinks(home).value_or(home);
}

absl::Status Failed(const std::string& home) {
  return absl::InternalError(
      absl::StrCat("the home ", home, " cannot be made in the guest: ", std::strerror(errno)));
}

// What cannot be copied is left out, as useradd does: without it there is a home.
void CopySkeleton(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(Skeleton(), error)) {
    std::error_code ignored;
    fs::copy(entry.path(), folder / entry.path().filename(),
             fs::copy_options::recursive | fs::copy_options::copy_symlinks |
                 fs::copy_options::skip_existing,
             ignored);
  }
}

// What is in it first, itself last: until then it is nobody's home.
absl::Status GiveTo(const Account& account, const std::string& folder) {
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.path().filename() == "lost+found") continue;
    if (lchown(entry.path().c_str(), account.uid, account.gid) != 0) return Failed(folder);
  }
  if (chmod(folder.c_str(), HomeMode()) != 0) return Failed(folder);
  return chown(folder.c_str(), account.uid, account.gid) == 0 ? absl::OkStatus() : Failed(folder);
}

absl::Status Furnish(const Account& account, const std::string& folder) {
  CopySkeleton(folder);
  return GiveTo(account, folder);
}

// Never in the place of what somebody made meanwhile, where the filesystem can tell.
bool Rename(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  return errno == EINVAL && rename(from.c_str(), to.c_str()) == 0;
}

}  // namespace

bool LacksHome(const Account& account) {
  if (account.home.empty() || account.home[0] != '/') return false;
  const std::string home = PlaceOf(account);
  struct stat folder {};
  if (stat(home.c_str(), &folder) != 0) return errno == ENOENT;
  return account.uid != 0 && S_ISDIR(folder.st_mode) && IsBareMount(home, folder);
}

absl::Status MakeHome(const Account& account) {
  const std::string home = PlaceOf(account);
  if (access(home.c_str(), F_OK) == 0) return Furnish(account, home);
  const fs::path parent = fs::path(home).parent_path();
  std::error_code error;
  fs::create_directories(parent, error);
  // Elsewhere until it is whole: half a home would be taken for one.
  std::string made = parent / absl::StrCat(".", fs::path(home).filename().string(), ".rum-XXXXXX");
  if (mkdtemp(made.data()) == nullptr) return Failed(home);
  absl::Status status = Furnish(account, made);
  if (status.ok() && !Rename(made, home)) status = Failed(home);
  if (!status.ok()) fs::remove_all(made, error);
  return status;
}

std::vector<Account> AccountsIn(const std::string& folder) {
  std::vector<Account> people;
  const uid_t first = static_cast<uid_t>(LoginDefinition("UID_MIN", kFirstPerson));
  const uid_t last = static_cast<uid_t>(LoginDefinition("UID_MAX", kLastPerson));
  for (const Account& account : Accounts()) {
    const bool person = account.uid >= first && account.uid <= last;
    if (person && IsIn(PlaceOf(account), folder)) people.push_back(account);
  }
  return people;
}

}  // namespace rum::guest
