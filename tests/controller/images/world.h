#ifndef RUM_TESTS_CONTROLLER_IMAGES_WORLD_H_
#define RUM_TESTS_CONTROLLER_IMAGES_WORLD_H_

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "controller/images/fetch.h"
#include "controller/images/image_cache.h"
#include "tests/controller/images/http_server.h"

namespace rum {

// A qcow2 image by its header, `size` bytes, the rest by `seed`.
std::string Qcow2(size_t size, unsigned seed = 1);
// A raw disk with a partition table.
std::string RawDisk(size_t size);

std::string Bytes(const std::string& path);
void Write(const std::string& path, const std::string& bytes);
std::string Sha256(const std::string& bytes);
std::string Sha512(const std::string& bytes);

// Nothing stands on anything.
PathsInUse NothingInUse();
PathsInUse InUse(const std::set<std::string>& paths);

// A cache in a folder of its own.
class CacheWorld : public testing::Test {
 protected:
  CacheWorld();
  ~CacheWorld() override;

  absl::StatusOr<FetchedImage> Fetch(const ImageSource& source);
  absl::StatusOr<FetchedImage> Fetch(const std::string& url) {
    return Fetch(ImageSource{url, "", ""});
  }
  std::vector<CachedImage> List(const PathsInUse& in_use = NothingInUse());
  bool Said(const std::string& part) const;  // by progress
  std::string SaidText() const;
  // The only .part of the cache.
  std::string PartPath() const;
  // Everything below the cache's folder, without folders.
  std::vector<std::string> Files() const;

  std::string folder_;  // with room for more than the cache
  std::string cache_folder_;
  ImageCache cache_;
  HttpLimits limits_;
  std::vector<std::string> said_;
};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_IMAGES_WORLD_H_
