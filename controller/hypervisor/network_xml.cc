#include "controller/hypervisor/network_xml.h"

#include <arpa/inet.h>

#include <algorithm>
#include <pugixml.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/xml_tree.h"

namespace rum {
namespace {

using pugi::xml_node;

uint32_t MaskOf(int prefix) { return prefix <= 0 ? 0 : ~uint32_t{0} << (32 - prefix); }

std::optional<uint32_t> ParseAddress(const std::string& text) {
  in_addr address{};
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::string AddressText(uint32_t address) {
  return absl::StrCat(address >> 24, ".", address >> 16 & 255, ".", address >> 8 & 255, ".",
                      address & 255);
}

int PrefixOf(xml_node ip) {
  if (!ip.attribute("prefix").empty()) return ip.attribute("prefix").as_int();
  const std::optional<uint32_t> mask = ParseAddress(ip.attribute("netmask").value());
  return mask.has_value() ? __builtin_popcount(*mask) : 24;
}

}  // namespace

std::string Subnet::Text() const { return absl::StrCat(AddressText(address), "/", prefix); }

bool Subnet::Overlaps(const Subnet& other) const {
  const uint32_t mask = MaskOf(std::min(prefix, other.prefix));
  return (address & mask) == (other.address & mask);
}

std::optional<Subnet> SubnetOf(const std::string& address) {
  const std::optional<uint32_t> bits = ParseAddress(address);
  if (!bits.has_value()) return std::nullopt;
  return Subnet{*bits & MaskOf(24), 24};
}

absl::StatusOr<Subnet> FreeSubnet(const std::vector<Subnet>& used, uint32_t wish) {
  // RFC 1918, the smallest first: a VPN often has one of them whole.
  for (const auto& [first, count] :
       {std::pair{192U << 24 | 168U << 16, 1U << 8}, std::pair{172U << 24 | 16U << 16, 1U << 12},
        std::pair{10U << 24, 1U << 16}}) {
    for (uint32_t i = 0; i < count; ++i) {
      const Subnet subnet{first | (wish + i) % count << 8, 24};
      const bool taken = std::any_of(used.begin(), used.end(),
                                     [&](const Subnet& other) { return subnet.Overlaps(other); });
      if (!taken) return subnet;
    }
  }
  return absl::ResourceExhaustedError("no private /24 is free for a host-only network");
}

std::string MakeNetworkXml(const HostNetwork& network) {
  pugi::xml_document document;
  xml_node root = document.append_child("network");
  root.append_child("name").text().set(network.name.c_str());
  if (!network.uuid.empty()) root.append_child("uuid").text().set(network.uuid.c_str());
  xml_node bridge = root.append_child("bridge");
  Set(bridge, "stp", "on");
  Set(bridge, "delay", "0");
  xml_node ip = root.append_child("ip");
  const uint32_t base = network.subnet.address;
  Set(ip, "address", AddressText(base + 1));
  Set(ip, "prefix", absl::StrCat(network.subnet.prefix));
  xml_node dhcp = ip.append_child("dhcp");
  xml_node range = dhcp.append_child("range");
  Set(range, "start", AddressText(base + 2));
  Set(range, "end", AddressText(base + 254));
  for (const auto& [mac, address] : network.reservations) {
    xml_node host = dhcp.append_child("host");
    Set(host, "mac", mac);
    Set(host, "ip", address);
  }
  std::ostringstream out;
  document.save(out, "  ", pugi::format_default | pugi::format_no_declaration);
  return out.str();
}

absl::StatusOr<NetworkFacts> ReadNetworkXml(const std::string& xml) {
  pugi::xml_document document;
  const pugi::xml_parse_result parsed = document.load_buffer(xml.data(), xml.size());
  xml_node root = document.child("network");
  if (!parsed || !root) return absl::InvalidArgumentError("not the XML of a network");
  NetworkFacts facts;
  facts.network.name = root.child("name").text().as_string();
  facts.network.uuid = root.child("uuid").text().as_string();
  for (xml_node ip : root.children("ip")) {
    const std::optional<uint32_t> address = ParseAddress(ip.attribute("address").value());
    if (!address.has_value()) continue;  // IPv6
    const int prefix = PrefixOf(ip);
    facts.subnets.push_back({*address & MaskOf(prefix), prefix});
    for (xml_node host : ip.child("dhcp").children("host")) {
      facts.network.reservations[host.attribute("mac").value()] = host.attribute("ip").value();
    }
  }
  if (!facts.subnets.empty()) facts.network.subnet = facts.subnets.front();
  return facts;
}

}  // namespace rum
