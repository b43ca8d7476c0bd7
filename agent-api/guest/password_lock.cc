#include "agent-api/guest/password_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr char kLock[] = "/etc/.pwd.lock";
constexpr auto kBetweenTries = std::chrono::milliseconds(10);

std::string NameOf(pid_t pid) {
  const std::string name = FirstLine(ReadFile(absl::StrCat("/proc/", pid, "/comm")));
  return name.empty() ? absl::StrCat("process ", pid) : absl::StrCat(name, " (pid ", pid, ")");
}

// Empty: it is ours now.
std::string TryRecordLock(int fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  if (fcntl(fd, F_SETLK, &lock) == 0) return "";
  if (errno != EACCES && errno != EAGAIN && errno != EINTR) {
    return absl::StrCat(kLock, ": ", std::strerror(errno));
  }
  const bool told = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  return absl::StrCat(kLock, " is held by ",
                      told && lock.l_pid > 0 ? NameOf(lock.l_pid) : "another process");
}

// The file with a process's number that shadow's tools make beside the one that they edit, which
// is all that they take where libc's lock does nothing (musl). Empty: nobody has it.
std::string HolderOfLockFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFileToEdit(path);
  if (absl::IsNotFound(text.status())) return "";
  if (!text.ok()) return std::string(text.status().message());
  pid_t pid = 0;
  std::from_chars(text->data(), text->data() + text->size(), pid);
  if (pid <= 0) {
    return absl::StrCat(path, " is there without a process's number (remove it if nobody edits)");
  }
  if (kill(pid, 0) != 0 && errno == ESRCH) return "";  // it is over, as shadow's tools see it
  return absl::StrCat(path, " is held by ", NameOf(pid));
}

std::string WhoHolds(int fd) {
  if (const std::string holder = TryRecordLock(fd); !holder.empty()) return holder;
  for (const char* path : {"/etc/group.lock", "/etc/gshadow.lock"}) {
    if (const std::string holder = HolderOfLockFile(path); !holder.empty()) return holder;
  }
  return "";
}

}  // namespace

PasswordLock::PasswordLock(std::chrono::milliseconds patience)
    : fd_(open(kLock, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0600)) {
  if (!fd_.ok()) {
    status_ = absl::UnavailableError(
        absl::StrCat("the groups cannot be locked in the guest: ", kLock, ": ", strerror(errno)));
    return;
  }
  const auto until = std::chrono::steady_clock::now() + patience;
  std::string holder;
  while (!(holder = WhoHolds(fd_.get())).empty() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(kBetweenTries);
  }
  if (holder.empty()) return;
  status_ =
      absl::UnavailableError(absl::StrCat("the groups are being edited in the guest: ", holder));
}

}  // namespace rum::guest
