#ifndef RUM_CONTROLLER_IMAGES_FETCH_H_
#define RUM_CONTROLLER_IMAGES_FETCH_H_

#include <string>

#include "absl/status/statusor.h"
#include "controller/images/http.h"
#include "controller/images/image_cache.h"

namespace rum {

// ImageCache::Fetch with the network's limits as a parameter.
absl::StatusOr<FetchedImage> FetchImage(const std::string& folder, const ImageSource& source,
                                        const Onlooker& onlooker, const HttpLimits& limits);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_FETCH_H_
