#ifndef RUM_CONTROLLER_HYPERVISOR_BASE_IMAGES_H_
#define RUM_CONTROLLER_HYPERVISOR_BASE_IMAGES_H_

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "controller/images/image_cache.h"
#include "state/config.pb.h"

namespace rum {

// Returns where this user's base images are kept: CacheDir()/base.
std::string BaseImageFolder();

// The images that rum.toml files name, on this host. Thread-safe.
class BaseImages {
 public:
  BaseImages() : cache_(BaseImageFolder()) {}

  // The file behind image.base, which is downloaded when need be: see ImageCache::Fetch. Blocks.
  absl::StatusOr<FetchedImage> Fetch(const Image& image, const Onlooker& onlooker);
  // All files here that image.base may stand for or has stood for, without asking anybody.
  std::set<std::string> FilesOf(const Image& image);
  // Sees to it that nobody writes to a file that disks stand on, if it is one of the cache.
  void Protect(const std::string& path);
  ImageCache& cache() { return cache_; }

 private:
  ImageCache cache_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_BASE_IMAGES_H_
