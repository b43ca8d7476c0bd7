#include "agent-api/guest/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "agent-api/files/owned_fd.h"
#include "agent-api/guest/file_attributes.h"

namespace rum::guest {
namespace {

constexpr int kMostNames = 16;

absl::Status Failed(const std::string& what, const std::string& path) {
  return absl::InternalError(absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
}

absl::Status WriteAll(int fd, const std::string& path, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("write", path);
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

// Without waiting for what may never come: a user may have put a pipe in its place.
OwnedFd OpenToRead(int folder, const std::string& name, int flags) {
  return OwnedFd(
      openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags));
}

absl::Status TooLarge(const std::string& path, size_t most) {
  return absl::InternalError(absl::StrCat(path, " in the guest is larger than ", most >> 10,
                                          " KiB: what is it there for?"));
}

absl::Status MustBeRegular(int fd, const std::string& path, struct stat* file) {
  if (fstat(fd, file) != 0) return Failed("stat", path);
  if (S_ISREG(file->st_mode)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      path, " in the guest is ", S_ISDIR(file->st_mode) ? "a folder" : "not a regular file"));
}

// Where a file stands, held by its folder, so that both are the same until the end.
struct Place {
  std::string path;
  std::string name;
  OwnedFd folder;
};

absl::StatusOr<Place> PlaceOf(const std::string& path) {
  const absl::StatusOr<std::string> through = ThroughLinks(path);
  if (!through.ok()) return through.status();
  const size_t slash = through->rfind('/');
  const size_t begin = slash == std::string::npos ? 0 : slash + 1;
  const std::string folder = begin == 0 ? "." : through->substr(0, begin);
  Place place{*through, through->substr(begin),
              OwnedFd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC))};
  if (place.folder.ok()) return place;
  if (*through == path) return Failed("open", folder);
  return absl::InternalError(
      absl::StrCat(path, " in the guest is a link to ", *through, ": ", std::strerror(errno)));
}

// A new file beside `place`, and its name. What an earlier try left there goes; what cannot go is
// no hindrance.
OwnedFd MakeTemporary(const Place& place, std::string* name) {
  for (int i = 0; i < kMostNames; ++i) {
    *name = absl::StrCat(place.name, ".rum-new");
    if (i == 0) unlinkat(place.folder.get(), name->c_str(), 0);
    if (i > 0) absl::StrAppend(name, "-", getpid(), "-", i);
    OwnedFd made(openat(place.folder.get(), name->c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (made.ok() || errno != EEXIST) return made;
  }
  return {};
}

absl::Status Fill(int fd, const Place& place, int old, const std::string& bytes, mode_t mode) {
  if (absl::Status written = WriteAll(fd, place.path, bytes); !written.ok()) return written;
  if (old >= 0) {
    if (absl::Status kept = KeepAttributes(old, fd, place.path); !kept.ok()) return kept;
  } else if (fchmod(fd, mode) != 0) {
    return Failed("chmod", place.path);
  }
  return fsync(fd) == 0 ? absl::OkStatus() : Failed("fsync", place.path);
}

absl::Status Replace(const Place& place, const std::string& bytes, mode_t mode) {
  const int folder = place.folder.get();
  const OwnedFd old = OpenToRead(folder, place.name, O_NOFOLLOW);
  if (!old.ok() && errno != ENOENT) return Failed("open", place.path);
  if (old.ok()) {
    struct stat file {};
    if (absl::Status regular = MustBeRegular(old.get(), place.path, &file); !regular.ok())
      return regular;
  }
  std::string temporary;
  const OwnedFd made = MakeTemporary(place, &temporary);
  if (!made.ok()) return NotReplaced(place.path, folder, old.get(), errno);
  absl::Status status = Fill(made.get(), place, old.get(), bytes, mode);
  if (status.ok() && renameat(folder, temporary.c_str(), folder, place.name.c_str()) != 0) {
    status = NotReplaced(place.path, folder, old.get(), errno);
  }
  if (!status.ok()) unlinkat(folder, temporary.c_str(), 0);
  return status;
}

}  // namespace

absl::StatusOr<std::string> ReadFileToEdit(const std::string& path, size_t most) {
  const OwnedFd fd = OpenToRead(AT_FDCWD, path, 0);
  if (!fd.ok() && errno == ENOENT) return absl::NotFoundError(absl::StrCat("no file ", path));
  if (!fd.ok()) return Failed("open", path);
  struct stat file {};
  if (absl::Status regular = MustBeRegular(fd.get(), path, &file); !regular.ok()) return regular;
  const size_t size = static_cast<size_t>(file.st_size);
  if (size > most) return TooLarge(path, most);
  std::string text;
  text.reserve(size);
  char buffer[16 * 1024];
  for (ssize_t n; (n = read(fd.get(), buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("read", path);
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > most) return TooLarge(path, most);
    // A file that has a size had an end where it was read short; one of the kernel's has none.
    if (text.size() == size && static_cast<size_t>(n) < sizeof buffer) break;
  }
  return text;
}

std::string ReadFile(const std::string& path, size_t most) {
  return ReadFileToEdit(path, most).value_or("");
}

absl::StatusOr<std::string> ThroughLinks(const std::string& path) {
  std::filesystem::path place = path;
  for (int links = 0; links < kMostLinks; ++links) {
    std::error_code error;
    const std::filesystem::path to = std::filesystem::read_symlink(place, error);
    if (error) return place.string();
    place = to.is_absolute() ? to : place.parent_path() / to;
  }
  return absl::InternalError(absl::StrCat(path, " in the guest is a link that leads in a ring"));
}

absl::Status WriteFileAtomically(const std::string& path, const std::string& bytes, mode_t mode) {
  const absl::StatusOr<Place> place = PlaceOf(path);
  if (!place.ok()) return place.status();
  const absl::Status replaced = Replace(*place, bytes, mode);
  if (replaced.ok() || place->path == path) return replaced;
  return absl::Status(replaced.code(),
                      absl::StrCat(path, " in the guest is a link: ", replaced.message()));
}

absl::Status WriteNewFile(const std::string& path, const std::string& bytes, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return Failed("create", path);
  absl::Status status = WriteAll(fd, path, bytes);
  if (status.ok() && fchmod(fd, mode) != 0) status = Failed("chmod", path);
  close(fd);
  if (!status.ok()) unlink(path.c_str());
  return status;
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failed("open", folder);
  const absl::Status status = fsync(fd) == 0 ? absl::OkStatus() : Failed("fsync", folder);
  close(fd);
  return status;
}

}  // namespace rum::guest
