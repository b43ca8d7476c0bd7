#ifndef RUM_CONTROLLER_IMAGES_IMAGE_CACHE_H_
#define RUM_CONTROLLER_IMAGES_IMAGE_CACHE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/base/onlooker.h"
#include "controller/images/shorthands.h"

namespace rum {

// An image on this host, unpacked: what a root disk can be made from.
struct FetchedImage {
  std::string path;  // absolute
  std::shared_ptr<void>
      hold;  // while it lives nobody, in no process, deletes the file from the cache
};

// Takes everybody's right to write to a file that disks are layers over: one byte written there, as
// `virsh blockcommit` without --shallow does, changes them all. What cannot be done now is done
// when it is used again.
void MakeReadOnly(const std::string& path);

// An entry of the cache.
struct CachedImage {
  std::string name;  // unique in the cache; what Delete() takes
  std::string url;   // as it may be shown
  std::string path;
  std::string url_hash;  // see CacheEntry
  bool IsOf(const std::string& whole_url) const;
  uint64_t bytes = 0;  // on the disk
  absl::Time fetched;
  bool whole = false;   // false: a download that broke off and can go on
  bool in_use = false;  // a disk stands on it, or somebody fetches it just now
};

// Paths that disks stand on, so that nothing below them is deleted; asked anew each time. An error
// deletes nothing.
using PathsInUse = std::function<absl::StatusOr<std::set<std::string>>()>;

// Base images of this user on this host, keyed by URL and validator (RFC 9110, ETag and
// Last-Modified), never by a file's name. Safe for any number of processes and threads at once: two
// that want the same image make one download.
class ImageCache {
 public:
  explicit ImageCache(std::string folder);  // made when it is needed

  // The image behind `source`, from the cache where the server says that it has not changed, or
  // cannot be asked. A local file that need not be unpacked is given as it is. A download goes on
  // where the last one broke off. InvalidArgument: not an image, or no such scheme. NotFound: the
  // file or the URL is not there. FailedPrecondition: a checksum does not match. Unavailable:
  // network or server; what is there stays for the next try. ResourceExhausted: the disk is full.
  // The onlooker is told of it not more often than ten times a second.
  absl::StatusOr<FetchedImage> Fetch(const ImageSource& source, const Onlooker& onlooker);

  absl::StatusOr<std::vector<CachedImage>> List(const PathsInUse& in_use);  // by name
  // FailedPrecondition: it is in use. NotFound: no entry has that name; a name is never a path.
  absl::Status Delete(const std::string& name, const PathsInUse& in_use);
  // Deletes every entry that is not in use, and what broke-off downloads left; gives what it
  // deleted.
  absl::StatusOr<std::vector<CachedImage>> Prune(const PathsInUse& in_use);

 private:
  const std::string folder_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_IMAGE_CACHE_H_
