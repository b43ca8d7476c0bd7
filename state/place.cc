#include "state/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "state/file.h"
#include "state/identity.h"

namespace rum {
namespace {

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

FolderMark FolderMarkOf(const std::string& config_path) {
  FolderMark mark;
  struct statx info {};
  if (statx(AT_FDCWD, FolderOf(config_path).c_str(), 0, STATX_INO | STATX_BTIME, &info) != 0) {
    return mark;
  }
  mark.set_device(makedev(info.stx_dev_major, info.stx_dev_minor));
  mark.set_inode(info.stx_ino);
  if ((info.stx_mask & STATX_BTIME) != 0) {
    mark.set_born_ns(info.stx_btime.tv_sec * 1000000000 + info.stx_btime.tv_nsec);
  }
  return mark;
}

bool SameFolder(const FolderMark& a, const FolderMark& b) {
  if (a.inode() == 0 || a.inode() != b.inode()) return false;
  // A number of an inode is used again soon, its time is not; the number of a device may be another
  // one after a reboot.
  if (a.born_ns() != 0 && b.born_ns() != 0) return a.born_ns() == b.born_ns();
  return a.device() == b.device();
}

bool IsGone(const std::string& config_path) {
  struct stat info {};
  return lstat(config_path.c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool LeadsTo(const std::string& from, const std::string& to) {
  if (from == to || NameOf(from) != NameOf(to)) return false;
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::canonical(FolderOf(from), error);
  return !error && folder / NameOf(from) == to;
}

bool NotePlace(const std::string& config_path, const std::string& text_hash,
               MachineRecord* record) {
  const FolderMark folder = FolderMarkOf(config_path);
  if (text_hash.empty() || folder.inode() == 0) return false;
  if (record->text_hash() == text_hash &&
      record->folder().SerializeAsString() == folder.SerializeAsString()) {
    return false;
  }
  record->set_text_hash(text_hash);
  *record->mutable_folder() = folder;
  return true;
}

bool MayHaveMovedTo(const std::string& config_path, const MachineRecord& record) {
  if (IsGone(config_path)) return false;
  if (NameOf(config_path) == NameOf(record.config_path()) &&
      SameFolder(FolderMarkOf(config_path), record.folder())) {
    return true;
  }
  if (record.text_hash().empty()) return false;
  const absl::StatusOr<std::string> text = ReadFile(config_path);
  return text.ok() && Sha256Hex(*text) == record.text_hash();
}

}  // namespace rum
