#include "controller/fleet/file_places.h"

#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <deque>
#include <sstream>

namespace rum {
namespace {

constexpr int kMostLinks = 40;  // as the kernel follows

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// The words of a path, "." and empty ones left out.
std::deque<std::string> WordsOf(const std::string& path) {
  std::deque<std::string> words;
  std::istringstream stream(path);
  for (std::string word; std::getline(stream, word, '/');) {
    if (!word.empty() && word != ".") words.push_back(word);
  }
  return words;
}

std::string Joined(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() != '/' ? folder + "/" + name : folder + name;
}

// Where a link leads; empty: it is none.
std::string LinkAt(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t size = readlink(path.c_str(), target, sizeof target);
  return size < 0 ? "" : std::string(target, static_cast<size_t>(size));
}

}  // namespace

std::vector<FilePlace> PlacesOf(const std::string& path) {
  std::vector<FilePlace> places;
  const size_t slash = path.rfind('/');
  std::string folder = path.substr(0, slash + 1);
  std::deque<std::string> words = {path.substr(slash + 1)};
  for (int links = 0; !words.empty() && links <= kMostLinks;) {
    const std::string name = words.front();
    words.pop_front();
    const std::string here = Joined(folder, name);
    const std::string target = name == ".." ? "" : LinkAt(here);
    if (!target.empty() || words.empty()) {
      const FilePlace place{folder, name};
      if (std::find(places.begin(), places.end(), place) == places.end()) places.push_back(place);
    }
    if (target.empty()) {
      folder = here;
      continue;
    }
    ++links;
    const std::deque<std::string> more = WordsOf(target);
    words.insert(words.begin(), more.begin(), more.end());
    if (target[0] == '/') folder = "/";
  }
  return places;
}

FolderId FolderAt(const std::string& path) {
  struct stat seen {};
  if (stat(path.c_str(), &seen) != 0) return {};
  return {seen.st_dev, seen.st_ino};
}

FileLook LookAt(const std::string& path) {
  struct stat seen {};
  if (stat(path.c_str(), &seen) != 0) return {.error = errno};
  return {.device = seen.st_dev,
          .inode = seen.st_ino,
          .mode = seen.st_mode,
          .size = seen.st_size,
          .written_ns = Nanoseconds(seen.st_mtim),
          .changed_ns = Nanoseconds(seen.st_ctim)};
}

bool TellsChanges(const std::string& folder) {
  struct statfs system {};
  if (statfs(folder.c_str(), &system) != 0) return false;
  switch (static_cast<uint32_t>(system.f_type)) {  // statfs(2), magic.h
    case 0x6969:                                   // NFS
    case 0x01021997:                               // 9p
    case 0x65735546:                               // FUSE, and with it virtiofs, sshfs
    case 0xFF534D42:                               // CIFS
    case 0xFE534D42:                               // SMB2
    case 0x517B:                                   // SMB
    case 0x00C36400:                               // Ceph
    case 0x5346414F:                               // AFS
    case 0x6B414653:                               // AFS of the kernel
    case 0x73757245:                               // Coda
    case 0x786F4256:                               // VirtualBox's
    case 0x01161970:                               // GFS2
    case 0x7461636F:                               // OCFS2
    case 0xBACBACBC:                               // VMware's
      return false;
    default:
      return true;
  }
}

}  // namespace rum
