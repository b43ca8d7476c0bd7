// Any text as a domain's definition: what is none is refused; of what is one, an edit changes what
// is rum's, a second edit nothing, and nobody else's device is lost.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <pugixml.hpp>
#include <set>
#include <sstream>
#include <string>

#include "controller/hypervisor/domain_xml.h"

namespace {

rum::DomainParts Parts(bool more) {
  rum::DomainParts parts;
  parts.identity = {"/p/shop/rum.toml", "shop", "0123456789ab"};
  parts.connection = rum::ConnectionKind::kSystem;
  parts.domain_type = "qemu";
  parts.uuid = rum::DomainUuid(parts.identity);
  parts.disk_nonce = "00112233aabbccdd";
  parts.root_path = "/pool/root.qcow2";
  parts.seed_path = "/pool/seed.iso";
  parts.config.mutable_resources()->set_cpus(more ? 4 : 1);
  parts.config.mutable_resources()->set_memory_mb(more ? 2048 : 512);
  parts.config.mutable_network()->set_nat(true);
  parts.config.mutable_advanced()->set_machine("q35");
  if (!more) return parts;
  (*parts.config.mutable_drives())["data"].set_size(1 << 20);
  parts.drive_paths["data"] = "/pool/data.qcow2";
  parts.config.mutable_network()->add_interfaces()->set_network("lan");
  rum::Mount* mount = parts.config.add_mounts();
  mount->set_source("/s");
  mount->set_target("/t");
  parts.vsock = true;
  return parts;
}

// Devices of a kind that rum has none of, each as text, and how often it is there.
std::map<std::string, int> Foreign(const std::string& xml) {
  static constexpr const char* kKinds[] = {"graphics", "video",   "hostdev",  "sound",
                                           "input",    "tpm",     "redirdev", "smartcard",
                                           "hub",      "watchdog"};
  pugi::xml_document document;
  document.load_string(xml.c_str(), pugi::parse_full | pugi::parse_ws_pcdata);
  std::map<std::string, int> found;
  for (const pugi::xml_node device : document.child("domain").child("devices")) {
    for (const char* kind : kKinds) {
      if (device.name() != std::string(kind)) continue;
      std::ostringstream text;
      device.print(text, "", pugi::format_raw);
      ++found[text.str()];
    }
  }
  return found;
}

// False for what libvirt cannot have given: two devices of one alias, or a device with two children
// of which its schema knows one (https://libvirt.org/formatdomain.html#devices).
bool IsLibvirts(const std::string& xml) {
  pugi::xml_document document;
  document.load_string(xml.c_str());
  std::set<std::string> aliases;
  for (const pugi::xpath_node& alias : document.select_nodes("//alias/@name")) {
    if (!aliases.insert(alias.attribute().value()).second) return false;
  }
  for (const pugi::xml_node device : document.child("domain").child("devices")) {
    for (const char* one : {"address", "alias", "cid", "driver", "mac", "model", "readonly",
                            "serial", "source", "target"}) {
      if (device.child(one).next_sibling(one)) return false;
    }
  }
  return true;
}

void Fail(const char* what, const std::string& first, const std::string& second) {
  std::fprintf(stderr, "%s\n%s\n----\n%s\n", what, first.c_str(), second.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string xml(reinterpret_cast<const char*>(data) + 1, size - 1);
  const rum::DomainParts parts = Parts(data[0] % 2 == 1);
  const auto facts = rum::ReadDomainXml(xml, "kvm");
  const auto edited = rum::EditDomainXml(xml, parts);
  if (!edited.ok() || !IsLibvirts(xml)) return 0;
  if (!facts.ok()) Fail("what can be edited cannot be read", xml, *edited);
  const auto again = rum::EditDomainXml(*edited, parts);
  if (!again.ok()) Fail("an edit is no definition", xml, *edited);
  if (*again != *edited) Fail("a second edit changes something", *edited, *again);
  const auto read = rum::ReadDomainXml(*edited, "qemu");
  if (!read.ok()) Fail("an edit cannot be read", xml, *edited);
  if (Foreign(xml) != Foreign(*edited)) Fail("somebody's device is lost", xml, *edited);
  if (read->config.resources().cpus() != parts.config.resources().cpus() ||
      read->root_path != parts.root_path || read->drive_paths != parts.drive_paths) {
    Fail("an edit is not what it was to be", xml, *edited);
  }
  return 0;
}
