#include "controller/hypervisor/named_paths.h"

#include <pugixml.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

using pugi::xml_node;

absl::Status Parse(const std::string& xml, pugi::xml_document* document) {
  const pugi::xml_parse_result parsed = document->load_buffer(xml.data(), xml.size());
  if (parsed) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("not XML: ", parsed.description()));
}

// A source of a disk: a file, or a block device.
std::string SourcePath(xml_node source) {
  const std::string file = source.attribute("file").value();
  return file.empty() ? source.attribute("dev").value() : file;
}

// Of a <disk> or <mirror> as its driver has it, of a <backingStore> its own; libvirt reads what
// has none as it is.
bool IsRaw(xml_node image) {
  std::string format = image.child("driver").attribute("type").value();
  if (format.empty()) format = image.child("format").attribute("type").value();
  return format.empty() || format == "raw";
}

void AddValue(const std::string& value, NamedPaths* named) {
  if (absl::StartsWith(value, "/")) {
    named->paths.insert(value);
  } else if (absl::StrContains(value, "/")) {
    named->words.push_back(value);
  }
}

void Walk(xml_node node, NamedPaths* named) {
  const std::string name = node.name();
  if (name == "metadata") return;
  for (const pugi::xml_attribute& attribute : node.attributes()) AddValue(attribute.value(), named);
  AddValue(node.text().as_string(), named);
  if (name == "source") {
    const std::string parent = node.parent().name();
    const std::string path = SourcePath(node);
    const bool image = parent == "disk" || parent == "mirror" || parent == "backingStore";
    if (image && !path.empty() && !IsRaw(node.parent())) named->layers.insert(path);
    const std::string pool = node.attribute("pool").value();
    if (!pool.empty()) named->volumes.emplace(pool, node.attribute("volume").value());
    if (parent == "interface" && node.attribute("network")) {
      named->networks.insert(node.attribute("network").value());
    }
  }
  for (xml_node child : node.children()) Walk(child, named);
}

}  // namespace

absl::StatusOr<NamedPaths> ReadNamedPaths(const std::string& xml) {
  pugi::xml_document document;
  if (absl::Status parsed = Parse(xml, &document); !parsed.ok()) return parsed;
  NamedPaths named;
  Walk(document, &named);
  return named;
}

absl::StatusOr<std::map<std::string, LiveDisk>> ReadLiveDisks(const std::string& xml) {
  pugi::xml_document document;
  if (absl::Status parsed = Parse(xml, &document); !parsed.ok()) return parsed;
  std::map<std::string, LiveDisk> disks;
  for (xml_node disk : document.child("domain").child("devices").children("disk")) {
    LiveDisk* live = &disks[SourcePath(disk.child("source"))];
    live->job = !disk.child("mirror").empty();
    for (xml_node layer = disk.child("backingStore"); layer; layer = layer.child("backingStore")) {
      const std::string path = SourcePath(layer.child("source"));
      if (!path.empty()) live->chain.insert(path);
    }
  }
  return disks;
}

}  // namespace rum
