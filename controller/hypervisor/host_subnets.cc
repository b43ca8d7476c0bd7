#include "controller/hypervisor/host_subnets.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <fstream>
#include <sstream>

namespace rum {
namespace {

constexpr int kShortest = 2;  // bits; shorter prefixes are ways to everywhere

std::vector<Subnet> AddressesOf(const std::string& except) {
  std::vector<Subnet> subnets;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return subnets;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_netmask == nullptr) continue;
    if (i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    if (except == i->ifa_name) continue;
    const uint32_t address =
        ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr);
    const uint32_t mask =
        ntohl(reinterpret_cast<const sockaddr_in*>(i->ifa_netmask)->sin_addr.s_addr);
    subnets.push_back({address & mask, __builtin_popcount(mask)});
  }
  freeifaddrs(list);
  return subnets;
}

}  // namespace

std::vector<Subnet> ReadRoutes(const std::string& table, const std::string& except) {
  std::vector<Subnet> routes;
  std::istringstream lines(table);
  std::string line;
  std::getline(lines, line);  // the names of the columns
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string interface, gateway, flags, references, uses, metric;
    uint32_t destination = 0, mask = 0;  // in the network's byte order
    words >> interface >> std::hex >> destination >> gateway >> flags >> references >> uses >>
        metric >> mask;
    const int prefix = __builtin_popcount(mask);
    if (words.fail() || interface == except || prefix < kShortest) continue;
    routes.push_back({ntohl(destination & mask), prefix});
  }
  return routes;
}

std::vector<Subnet> HostSubnets(const std::string& except) {
  std::vector<Subnet> subnets = AddressesOf(except);
  std::ostringstream table;
  table << std::ifstream("/proc/net/route").rdbuf();
  for (const Subnet& route : ReadRoutes(table.str(), except)) subnets.push_back(route);
  return subnets;
}

}  // namespace rum
