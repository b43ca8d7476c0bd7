#include "controller/hypervisor/volume_names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

struct KindName {
  VolumeKind kind;
  const char* infix;
  const char* suffix;
};

constexpr KindName kKinds[] = {{VolumeKind::kRoot, ".root.", ".qcow2"},
                               {VolumeKind::kSeed, ".seed.", ".iso"},
                               {VolumeKind::kDrive, ".drive.", ".qcow2"},
                               {VolumeKind::kCopy, ".copy.", ".img"}};

}  // namespace

std::string VolumeName(const std::string& domain, VolumeKind kind, const std::string& part) {
  for (const KindName& name : kKinds) {
    if (name.kind == kind) return absl::StrCat(domain, name.infix, part, name.suffix);
  }
  return "";
}

std::optional<OwnVolume> ParseVolumeName(const std::string& domain, const std::string& volume) {
  for (const KindName& name : kKinds) {
    const std::string head = absl::StrCat(domain, name.infix);
    const std::string tail = name.suffix;
    if (volume.size() <= head.size() + tail.size()) continue;
    if (!absl::StartsWith(volume, head) || !absl::EndsWith(volume, tail)) continue;
    std::string part = volume.substr(head.size(), volume.size() - head.size() - tail.size());
    // Parts have no dots, and every other machine's name would bring one.
    if (part.find('.') == std::string::npos) return OwnVolume{name.kind, part};
  }
  return std::nullopt;
}

}  // namespace rum
