#include "controller/images/cache_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "controller/images/durable_file.h"
#include "state/file.h"
#include "state/identity.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadable = 80;  // characters of a name
constexpr size_t kHash = 12;      // hex digits

// -1: it is not there, or not a file.
int64_t SizeOf(const std::string& path) {
  struct stat file;
  return lstat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode) ? file.st_size : -1;
}

// Takes "-" and a hash off the end.
bool ConsumeHash(absl::string_view* name) {
  if (name->size() <= kHash + 1) return false;
  const absl::string_view end = name->substr(name->size() - kHash - 1);
  name->remove_suffix(kHash + 1);
  return end[0] == '-' && std::all_of(end.begin() + 1, end.end(),
                                      [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

// Other people's files are not listed, and so never deleted, even if the folder is the wrong one.
bool IsKey(absl::string_view name) { return ConsumeHash(&name); }
bool IsName(absl::string_view name) { return ConsumeHash(&name) && ConsumeHash(&name); }

void Sort(const std::string& name, bool is_folder, CacheFolder::Listing* listing) {
  absl::string_view stem = name;
  if (is_folder) {
    if (IsName(name)) {
      listing->entries.push_back(name);
    } else if (absl::ConsumeSuffix(&stem, ".new") && IsKey(stem)) {
      listing->preparing.emplace_back(stem);
    } else if (absl::ConsumeSuffix(&stem, ".gone") && IsName(stem)) {
      listing->removed.push_back(name);
    }
    return;
  }
  if (absl::ConsumeSuffix(&stem, ".lock") && IsKey(stem)) listing->locks.emplace_back(stem);
  for (const char* ending : {".part", ".part.json", ".part.json.new"}) {
    if (absl::ConsumeSuffix(&stem, ending) && IsKey(stem)) listing->parts.emplace_back(stem);
  }
}

}  // namespace

absl::StatusOr<CacheFolder> CacheFolder::Open(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    // QEMU may be run as another user.
    if (absl::Status made = MakeFolders(folder, 0777); !made.ok()) return made;
  }
  const fs::path real = fs::canonical(folder, error);
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("image cache ", folder));
  return CacheFolder(real.string());
}

std::string CacheFolder::KeyOf(const std::string& url, const std::string& name) {
  std::string readable = name.substr(0, kReadable);
  for (char& c : readable) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '_';
  }
  while (!readable.empty() && (readable[0] == '.' || readable[0] == '-')) readable.erase(0, 1);
  if (readable.empty()) readable = "image";
  return absl::StrCat(readable, "-", Sha256Hex(url).substr(0, kHash));
}

bool CacheFolder::Load(const std::string& name, Entry* entry) const {
  entry->name = name;
  entry->image = Path(name + "/image");
  return LoadJson(Path(name + "/entry.json"), &entry->about).ok() && entry->about.format() == 1 &&
         SizeOf(entry->image) == entry->about.image_bytes();
}

std::vector<CacheFolder::Entry> CacheFolder::VersionsOf(const std::string& key,
                                                        const std::string& url) const {
  std::vector<Entry> versions;
  const absl::StatusOr<Listing> listing = List();
  if (!listing.ok()) return versions;
  for (const std::string& name : listing->entries) {
    if (!absl::StartsWith(name, key + "-")) continue;
    Entry entry;
    entry.hold = FileLock::Shared(Path(name + "/lock"));
    if (entry.hold && Load(name, &entry) && IsOfUrl(entry.about, url)) versions.push_back(entry);
  }
  std::stable_sort(versions.begin(), versions.end(), [](const Entry& a, const Entry& b) {
    return a.about.fetched_ms() > b.about.fetched_ms();
  });
  return versions;
}

absl::StatusOr<CacheFolder::Listing> CacheFolder::List() const {
  Listing listing;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    std::error_code gone;
    Sort(name, fs::is_directory(it->symlink_status(gone)), &listing);
  }
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("image cache ", folder_));
  std::sort(listing.entries.begin(), listing.entries.end());
  std::sort(listing.parts.begin(), listing.parts.end());
  listing.parts.erase(std::unique(listing.parts.begin(), listing.parts.end()), listing.parts.end());
  return listing;
}

absl::StatusOr<std::string> CacheFolder::MakeReady(const std::string& key) const {
  const std::string folder = Path(key + ".new");
  std::error_code error;
  fs::remove_all(folder, error);
  if (!error) fs::create_directory(folder, error);
  if (error) return DiskError(error.value(), folder);
  return folder;
}

absl::StatusOr<CacheFolder::Entry> CacheFolder::Add(const std::string& key,
                                                    CacheEntry about) const {
  const std::string ready = Path(key + ".new"), image = ready + "/image";
  Entry entry;
  entry.name = absl::StrCat(key, "-", about.sha256().substr(0, kHash));
  entry.image = Path(entry.name + "/image");
  about.set_format(1);
  about.set_image_bytes(SizeOf(image));
  entry.about = about;
  // Readable, so that QEMU can be run as another user.
  if (chmod(image.c_str(), 0644) != 0) return DiskError(errno, image);
  if (absl::Status status = SyncFile(image); !status.ok()) return status;
  // Held before anybody can see it; the lock is the file's, not the name's. Made before what syncs
  // the folder's names.
  const std::string lock = ready + "/lock";
  const std::shared_ptr<FileLock> hold = FileLock::Shared(lock);
  if (!hold) return DiskError(errno, lock);
  if (absl::Status status = SaveJson(about, ready + "/entry.json"); !status.ok()) return status;
  for (int tries = 0; tries < 3; ++tries) {
    if (rename(ready.c_str(), Path(entry.name).c_str()) == 0) {
      entry.hold = hold;
      if (absl::Status status = SyncFile(folder_); !status.ok()) return status;
      return entry;
    }
    if (errno != ENOTEMPTY && errno != EEXIST) return DiskError(errno, Path(entry.name));
    // The same bytes as once before: disks may stand on those.
    entry.hold = FileLock::Shared(Path(entry.name + "/lock"));
    if (!entry.hold) continue;  // just deleted
    if (SizeOf(entry.image) != about.image_bytes() &&
        rename(image.c_str(), entry.image.c_str()) != 0) {
      return DiskError(errno, entry.image);
    }
    if (absl::Status status = Save(entry); !status.ok()) return status;
    std::error_code error;
    fs::remove_all(ready, error);
    return entry;
  }
  return absl::UnavailableError(absl::StrCat(Path(entry.name), ": is in the way"));
}

absl::Status CacheFolder::Save(const Entry& entry) const {
  CacheEntry about = entry.about;
  if (about.url_hash().empty()) SetUrl(about.url(), &about);
  return SaveJson(about, Path(entry.name + "/entry.json"));
}

absl::Status CacheFolder::Remove(const std::string& name) const {
  const std::string aside = Path(name + ".gone");
  std::error_code error;
  fs::remove_all(aside, error);
  if (rename(Path(name).c_str(), aside.c_str()) != 0) return absl::ErrnoToStatus(errno, Path(name));
  fs::remove_all(aside, error);
  if (error) return absl::ErrnoToStatus(error.value(), aside);
  return absl::OkStatus();
}

}  // namespace rum
