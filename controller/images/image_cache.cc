#include "controller/images/image_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "controller/images/cache_folder.h"
#include "controller/images/download.h"
#include "controller/images/durable_file.h"
#include "controller/images/fetch.h"
#include "state/identity.h"
#include "state/image_url.h"
#include "state/schema.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr char kPart[] = ".part";

uint64_t BytesOnDisk(const std::string& path) {
  struct stat file;
  constexpr uint64_t kBlock = 512;  // stat(2)
  return stat(path.c_str(), &file) == 0 ? static_cast<uint64_t>(file.st_blocks) * kBlock : 0;
}

absl::Time ModificationTime(const std::string& path) {
  struct stat file;
  return stat(path.c_str(), &file) == 0 ? absl::TimeFromTimespec(file.st_mtim) : absl::UnixEpoch();
}

CachedImage Described(const CacheFolder& cache, const std::string& name) {
  CachedImage image;
  CacheFolder::Entry entry;
  image.name = name;
  image.whole = cache.Load(name, &entry);
  image.url = ShownUrl(entry.about.url());
  image.url_hash =
      entry.about.url_hash().empty() ? Sha256Hex(entry.about.url()) : entry.about.url_hash();
  image.path = entry.image;
  image.bytes = BytesOnDisk(entry.image);
  image.fetched = absl::FromUnixMillis(entry.about.fetched_ms());
  return image;
}

CachedImage DescribedPart(const CacheFolder& cache, const std::string& key) {
  CachedImage image;
  PartialDownload about;
  image.name = key + kPart;
  image.path = cache.PartOf(key);
  LoadJson(image.path + ".json", &about).IgnoreError();
  image.url = ShownUrl(about.url());
  image.bytes = BytesOnDisk(image.path);
  image.fetched = ModificationTime(image.path);
  return image;
}

// Where an entry's lock is.
std::string LockPath(const CacheFolder& cache, const CachedImage& image) {
  absl::string_view key = image.name;
  if (absl::ConsumeSuffix(&key, kPart)) return cache.LockOf(std::string(key));
  return cache.Path(image.name + "/lock");
}

absl::StatusOr<std::vector<CachedImage>> Scan(const CacheFolder& cache) {
  const absl::StatusOr<CacheFolder::Listing> listing = cache.List();
  if (!listing.ok()) return listing.status();
  std::vector<CachedImage> images;
  for (const std::string& name : listing->entries) images.push_back(Described(cache, name));
  for (const std::string& key : listing->parts) images.push_back(DescribedPart(cache, key));
  std::sort(images.begin(), images.end(),
            [](const CachedImage& a, const CachedImage& b) { return a.name < b.name; });
  return images;
}

// What disks stand on, by real paths.
absl::StatusOr<std::set<std::string>> PathsOf(const PathsInUse& in_use) {
  if (!in_use) return absl::FailedPreconditionError("nobody says which images are in use");
  const absl::StatusOr<std::set<std::string>> paths = in_use();
  if (!paths.ok()) return paths.status();
  std::set<std::string> real;
  for (const std::string& path : *paths) {
    std::error_code error;
    const fs::path canonical = fs::weakly_canonical(path, error);
    real.insert(error ? path : canonical.string());
  }
  return real;
}

absl::Status RemoveLocked(const CacheFolder& cache, const CachedImage& image) {
  if (absl::EndsWith(image.name, kPart)) return RemovePart(image.path);
  return cache.Remove(image.name);
}

// What crashes left, and the locks of URLs that nobody fetches.
void Sweep(const CacheFolder& cache) {
  const absl::StatusOr<CacheFolder::Listing> listing = cache.List();
  if (!listing.ok()) return;
  std::error_code error;
  for (const std::string& folder : listing->removed) fs::remove_all(cache.Path(folder), error);
  for (const std::string& key : listing->preparing) {
    if (FileLock::TryExclusive(cache.LockOf(key))) fs::remove_all(cache.Path(key + ".new"), error);
  }
  const absl::StatusOr<CacheFolder::Listing> after = cache.List();
  if (!after.ok()) return;
  for (const std::string& key : after->locks) {
    const std::shared_ptr<FileLock> lock = FileLock::TryExclusive(cache.LockOf(key));
    if (lock) fs::remove(cache.LockOf(key), error);
  }
}

}  // namespace

bool CachedImage::IsOf(const std::string& whole_url) const {
  return url_hash == Sha256Hex(whole_url);
}

void MakeReadOnly(const std::string& path) {
  struct stat file;
  constexpr mode_t kWrite = S_IWUSR | S_IWGRP | S_IWOTH;
  if (lstat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) return;
  if ((file.st_mode & kWrite) != 0) chmod(path.c_str(), file.st_mode & 07777 & ~kWrite);
}

ImageCache::ImageCache(std::string folder) : folder_(std::move(folder)) {}

absl::StatusOr<FetchedImage> ImageCache::Fetch(const ImageSource& source,
                                               const Onlooker& onlooker) {
  absl::StatusOr<FetchedImage> image = FetchImage(folder_, source, onlooker, HttpLimits());
  // A file that is given as it is stays as its owner wants it.
  if (image.ok() && image->hold != nullptr) MakeReadOnly(image->path);
  return image;
}

absl::StatusOr<std::vector<CachedImage>> ImageCache::List(const PathsInUse& in_use) {
  const absl::StatusOr<CacheFolder> cache = CacheFolder::Open(folder_);
  if (!cache.ok()) return cache.status();
  absl::StatusOr<std::vector<CachedImage>> images = Scan(*cache);
  if (!images.ok() || images->empty()) return images;
  const absl::StatusOr<std::set<std::string>> used = PathsOf(in_use);
  if (!used.ok()) return used.status();
  for (CachedImage& image : *images) {
    image.in_use = used->count(image.path) > 0 || FileLock::IsHeld(LockPath(*cache, image));
  }
  return images;
}

absl::Status ImageCache::Delete(const std::string& name, const PathsInUse& in_use) {
  const absl::StatusOr<CacheFolder> cache = CacheFolder::Open(folder_);
  if (!cache.ok()) return cache.status();
  const absl::StatusOr<std::vector<CachedImage>> images = Scan(*cache);
  if (!images.ok()) return images.status();
  const auto image = std::find_if(images->begin(), images->end(),
                                  [&](const CachedImage& each) { return each.name == name; });
  if (image == images->end()) {
    std::vector<std::string> names;
    for (const CachedImage& each : *images) names.push_back(each.name);
    return absl::NotFoundError(absl::StrCat("no image \"", name, "\" in the cache",
                                            DidYouMean(name, names),
                                            "; `rum image list` shows all"));
  }
  // The lock first: whoever gives the image to a new disk from now on fetches it anew.
  const std::shared_ptr<FileLock> lock = FileLock::TryExclusive(LockPath(*cache, *image));
  if (!lock) {
    return absl::FailedPreconditionError(
        absl::StrCat("image ", name, ": somebody fetches it or makes a disk of it just now"));
  }
  const absl::StatusOr<std::set<std::string>> used = PathsOf(in_use);
  if (!used.ok()) return used.status();
  if (used->count(image->path) > 0) {
    return absl::FailedPreconditionError(absl::StrCat("image ", name, ": a disk stands on it"));
  }
  return RemoveLocked(*cache, *image);
}

absl::StatusOr<std::vector<CachedImage>> ImageCache::Prune(const PathsInUse& in_use) {
  const absl::StatusOr<CacheFolder> cache = CacheFolder::Open(folder_);
  if (!cache.ok()) return cache.status();
  const absl::StatusOr<std::vector<CachedImage>> images = Scan(*cache);
  if (!images.ok()) return images.status();
  std::vector<std::pair<CachedImage, std::shared_ptr<FileLock>>> ours;
  for (const CachedImage& image : *images) {
    std::shared_ptr<FileLock> lock = FileLock::TryExclusive(LockPath(*cache, image));
    if (lock) ours.emplace_back(image, std::move(lock));
  }
  const absl::StatusOr<std::set<std::string>> used = PathsOf(in_use);
  if (!used.ok()) return used.status();
  std::vector<CachedImage> deleted;
  for (const auto& [image, lock] : ours) {
    if (used->count(image.path) > 0) continue;
    if (absl::Status status = RemoveLocked(*cache, image); !status.ok()) return status;
    deleted.push_back(image);
  }
  ours.clear();
  Sweep(*cache);
  return deleted;
}

}  // namespace rum
