#include "controller/hypervisor/base_images.h"

#include <filesystem>

#include "absl/strings/match.h"
#include "controller/hypervisor/base_image.h"
#include "controller/images/shorthands.h"
#include "state/identity.h"

namespace rum {

std::string BaseImageFolder() { return CacheDir() + "/base"; }

absl::StatusOr<FetchedImage> BaseImages::Fetch(const Image& image, const Onlooker& onlooker) {
  const absl::StatusOr<ImageSource> source =
      SourceOf(image.base(), image.sha256(), HostArchitecture());
  if (!source.ok()) return source.status();
  return cache_.Fetch(*source, onlooker);
}

void BaseImages::Protect(const std::string& path) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::canonical(BaseImageFolder(), error);
  if (error || !absl::StartsWith(path, folder.string() + "/")) return;
  MakeReadOnly(path);
}

std::set<std::string> BaseImages::FilesOf(const Image& image) {
  std::set<std::string> files;
  const absl::StatusOr<ImageSource> source = SourceOf(image.base(), "", HostArchitecture());
  if (!source.ok()) return files;
  if (const auto local = ProbeBaseImage(image.base()); local.ok()) files.insert(local->path);
  const absl::StatusOr<std::vector<CachedImage>> cached =
      cache_.List([] { return std::set<std::string>(); });
  if (!cached.ok()) return files;
  for (const CachedImage& entry : *cached) {
    if (entry.IsOf(source->url)) files.insert(entry.path);
  }
  return files;
}

}  // namespace rum
