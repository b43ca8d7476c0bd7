#ifndef RUM_STATE_SURROUNDINGS_H_
#define RUM_STATE_SURROUNDINGS_H_

#include <string>
#include <vector>

#include "state/consent.h"

namespace rum {

// Looks at what Withhold() has to know of the host for these configurations of the file at
// `config_path`: follows links, and reads the first bytes of local images, of those elsewhere only
// where everybody may, or where the image is among the values `given`.
Surroundings LookAround(const std::string& config_path, const std::vector<const Config*>& configs,
                        const std::vector<ConsentedValue>& given = {});

// Whether `path` is the folder or inside it; both absolute and without links. False of an empty
// folder.
bool IsInside(const std::string& path, const std::string& folder);
// Returns all before the last component of an absolute path.
std::string FolderOfPath(const std::string& path);
// Whether image.base names a file of this host.
bool IsLocalImage(const std::string& base);
// The item, and what stands in its value between an image and what it is a layer over.
constexpr char kImageField[] = "image.base";
constexpr char kLayerOver[] = ", a layer over ";
// A path as one line of ASCII that no character of it can turn around, different for each path.
std::string PlainPath(const std::string& path);

}  // namespace rum

#endif  // RUM_STATE_SURROUNDINGS_H_
