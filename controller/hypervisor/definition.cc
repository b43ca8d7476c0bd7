#include "controller/hypervisor/definition.h"

#include <algorithm>
#include <cctype>

#include "state/identity.h"
#include "state/image_url.h"

namespace rum {
namespace {

bool IsPlain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
}

}  // namespace

Config DefinitionFor(const Config& wanted, const std::optional<Config>& present) {
  Config config = wanted;
  config.clear_provision();
  config.clear_ports();
  if (config.has_image()) config.mutable_image()->set_base(ShownUrl(config.image().base()));
  if (!present.has_value()) return config;
  *config.mutable_image() = present->image();
  config.mutable_user()->set_name(present->user().name());
  config.mutable_advanced()->set_libvirt_uri(present->advanced().libvirt_uri());
  config.mutable_resources()->set_disk(
      std::max(wanted.resources().disk(), present->resources().disk()));
  for (auto& [name, drive] : *config.mutable_drives()) {
    auto old = present->drives().find(name);
    if (old != present->drives().end()) drive.set_size(std::max(drive.size(), old->second.size()));
  }
  return config;
}

Config WithSizesOf(const Config& live, Config persistent) {
  persistent.mutable_resources()->set_disk(live.resources().disk());
  for (auto& [name, drive] : *persistent.mutable_drives()) {
    auto there = live.drives().find(name);
    if (there != live.drives().end()) drive.set_size(there->second.size());
  }
  return persistent;
}

std::string MountTag(const Mount& mount) {
  if (!mount.tag().empty()) return mount.tag();
  std::string tag;
  bool plain = true;
  for (char c : mount.target()) {
    if (IsPlain(c)) {
      tag += c;
    } else if (c == '/') {
      if (!tag.empty() && tag.back() != '-') tag += '-';
    } else {
      plain = false;
    }
  }
  // "/a-b" and "/a/b" must not meet either: only a target that gives itself back is taken as it is.
  std::string back = "/" + tag;
  std::replace(back.begin(), back.end(), '-', '/');
  if (plain && !tag.empty() && tag.size() <= 36 && back == mount.target()) return tag;
  return tag.substr(0, 23) + "-" + Sha256Hex(mount.target()).substr(0, 12);
}

std::string DriveSerial(const std::string& drive) {
  bool plain = drive.size() <= 16 && std::all_of(drive.begin(), drive.end(), IsPlain);
  if (plain && !drive.empty()) return "rum-" + drive;
  return "rum-" + Sha256Hex("drive:" + drive).substr(0, 16);
}

std::string OwnNetworkName(const std::string& machine_id, const std::string& network) {
  const bool plain = network.size() <= 40 && std::all_of(network.begin(), network.end(), IsPlain);
  return "rum-" + machine_id + "." +
         (plain ? network : Sha256Hex("network:" + network).substr(0, 16));
}

}  // namespace rum
