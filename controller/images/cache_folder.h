#ifndef RUM_CONTROLLER_IMAGES_CACHE_FOLDER_H_
#define RUM_CONTROLLER_IMAGES_CACHE_FOLDER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/images/cache.pb.h"
#include "controller/images/checksums.h"
#include "controller/images/file_lock.h"
#include "state/identity.h"
#include "state/image_url.h"

namespace rum {

// `About`: CacheEntry or PartialDownload, of which a file that others may come to read tells no
// secret: its `url` is ShownUrl(), and it is known again by the hash of the whole.
template <typename About>
void SetUrl(const std::string& url, About* about) {
  about->set_url(ShownUrl(url));
  about->set_url_hash(Sha256Hex(url));
}
template <typename About>
bool IsOfUrl(const About& about, const std::string& url) {
  // An earlier build wrote it as it was.
  return about.url_hash().empty() ? about.url() == url : about.url_hash() == Sha256Hex(url);
}

// How the cache lies on the disk. Per URL:
//
//   KEY.lock, KEY.part, KEY.part.json   who fetches, and what has come so far
//   KEY.new/                            a version that is being made ready
//
// and per version of it, never changed once it is there but for entry.json:
//
//   NAME/image, NAME/entry.json, NAME/lock
//
// A version comes and goes by one rename of its folder. KEY and NAME are made from URL and content
// and are safe as components of a path.
class CacheFolder {
 public:
  struct Entry {
    std::string name;
    std::string image;  // path
    CacheEntry about;
    std::shared_ptr<FileLock> hold;  // shared
  };

  static absl::StatusOr<CacheFolder> Open(const std::string& folder);  // makes it
  explicit CacheFolder(std::string folder) : folder_(std::move(folder)) {}

  static std::string KeyOf(const std::string& url, const std::string& name);
  std::string LockOf(const std::string& key) const { return Path(key + ".lock"); }
  std::string PartOf(const std::string& key) const { return Path(key + ".part"); }
  std::string Path(const std::string& component) const { return folder_ + "/" + component; }

  // Whole versions of a URL, the newest first, each held. `key`: KeyOf(url).
  std::vector<Entry> VersionsOf(const std::string& key, const std::string& url) const;

  struct Listing {
    std::vector<std::string> entries;    // NAMEs, whole or not
    std::vector<std::string> parts;      // KEYs
    std::vector<std::string> preparing;  // KEYs; of a crash if nobody has the key's lock
    std::vector<std::string> removed;    // folders that a crash left half removed
    std::vector<std::string> locks;      // KEYs
  };
  absl::StatusOr<Listing> List() const;
  // False: its files are not whole.
  bool Load(const std::string& name, Entry* entry) const;

  // Makes, with the URL's lock, an empty folder to make a version ready in, and the way of its
  // `image` into the cache; one with that content that is there already stays as it is, with what
  // `about` says now.
  absl::StatusOr<std::string> MakeReady(const std::string& key) const;
  absl::StatusOr<Entry> Add(const std::string& key, CacheEntry about) const;
  absl::Status Save(const Entry& entry) const;
  // Removes it, with its lock held exclusively.
  absl::Status Remove(const std::string& name) const;

 private:
  std::string folder_;  // canonical
};

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_CACHE_FOLDER_H_
