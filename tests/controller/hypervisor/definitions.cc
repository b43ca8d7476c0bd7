#include "tests/controller/hypervisor/definitions.h"

#include <fstream>
#include <sstream>

#include "controller/hypervisor/definition.h"

namespace rum {

DomainParts ShopParts() {
  DomainParts parts;
  parts.identity = {"/home/ada/shop/rum.toml", "shop", "0123456789ab"};
  Config& config = parts.config;
  config.mutable_image()->set_base("/images/debian-12.qcow2");
  config.mutable_resources()->set_cpus(2);
  config.mutable_resources()->set_memory_mb(2048);
  config.mutable_resources()->set_disk(20ULL << 30);
  config.mutable_network()->set_nat(true);
  config.mutable_network()->set_hostname("shop");
  Interface* lan = config.mutable_network()->add_interfaces();
  lan->set_network("lan");
  lan->set_ip("192.168.50.9");
  Interface* lab = config.mutable_network()->add_interfaces();
  lab->set_network("lab");
  lab->set_joined(true);
  config.mutable_user()->set_name("rum");
  Mount* mount = config.add_mounts();
  mount->set_source("/home/ada/shop");
  mount->set_target("/src");
  (*config.mutable_drives())["data"].set_size(1 << 30);
  (*config.mutable_drives())["cache"].set_size(2ULL << 30);
  config.mutable_advanced()->set_domain_type("auto");
  config.mutable_advanced()->set_machine("q35");
  parts.connection = ConnectionKind::kSystem;
  parts.networks["lan"] = OwnNetworkName(parts.identity.id, "lan");
  parts.domain_type = "qemu";
  parts.uuid = DomainUuid(parts.identity);
  parts.disk_nonce = "0011223344556677";
  parts.base_path = config.image().base();
  parts.base_mark = "12:34.56";
  const std::string volumes = "/var/lib/libvirt/images/rum/" + parts.identity.domain_name();
  parts.root_path = volumes + ".root.0011223344556677.qcow2";
  parts.seed_path = volumes + ".seed.89abcdef01234567.iso";
  for (const char* name : {"data", "cache"}) {
    parts.drive_paths[name] = volumes + ".drive.rum-" + name + ".qcow2";
  }
  parts.vsock = true;
  parts.tcg_cache = true;
  return parts;
}

std::string Definition(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream("tests/controller/hypervisor/testdata/" + name).rdbuf();
  return text.str();
}

std::string At(const std::string& xml, const std::string& path) {
  pugi::xml_document document;
  document.load_string(xml.c_str());
  const pugi::xpath_node found = document.select_node(path.c_str());
  return found.attribute() ? found.attribute().value() : found.node().text().as_string();
}

std::vector<std::string> ElementsAt(const std::string& xml, const std::string& path) {
  pugi::xml_document document;
  document.load_string(xml.c_str());
  std::vector<std::string> elements;
  for (const pugi::xpath_node& found : document.select_nodes(path.c_str())) {
    std::ostringstream text;
    found.node().print(text, "", pugi::format_raw);
    elements.push_back(text.str());
  }
  return elements;
}

}  // namespace rum
