#include "agent-api/guest/cards.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace rum::guest {
namespace {

// Empty: not one by which others reach the card.
std::string AddressText(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  } else if (address->sa_family == AF_INET6) {
    const in6_addr& bytes = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    if (!IN6_IS_ADDR_LINKLOCAL(&bytes)) inet_ntop(AF_INET6, &bytes, text, sizeof text);
  }
  return text;
}

// Empty: it is no card's own.
std::string MacText(const sockaddr* address) {
  if (address->sa_family != AF_PACKET) return "";
  const auto* link = reinterpret_cast<const sockaddr_ll*>(address);
  std::vector<std::string> bytes;
  for (int i = 0; i < link->sll_halen; ++i) {
    bytes.push_back(absl::StrCat(absl::Hex(link->sll_addr[i], absl::kZeroPad2)));
  }
  return absl::StrJoin(bytes, ":");
}

bool List(std::vector<agent::Card>* cards) {
  cards->clear();
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return false;
  std::map<std::string, std::string> macs;
  std::map<std::string, std::set<std::string>> addresses;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if ((i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    std::set<std::string>& of_card = addresses[i->ifa_name];
    if (i->ifa_addr == nullptr) continue;
    if (const std::string mac = MacText(i->ifa_addr); !mac.empty()) macs[i->ifa_name] = mac;
    if (const std::string text = AddressText(i->ifa_addr); !text.empty()) of_card.insert(text);
  }
  freeifaddrs(list);
  for (const auto& [name, texts] : addresses) {
    agent::Card card;
    card.set_name(name);
    card.set_mac(macs[name]);
    for (const std::string& text : texts) card.add_addresses(text);
    cards->push_back(std::move(card));
  }
  return true;
}

int ListenToNetlink() {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

}  // namespace

Cards::Cards() : netlink_(ListenToNetlink()) {}

Cards::~Cards() {
  if (netlink_ >= 0) close(netlink_);
}

bool Cards::Changed() {
  char message[8192];
  bool changed = netlink_ < 0;
  // ENOBUFS: some were lost, so that there was one.
  for (ssize_t n; (n = recv(netlink_, message, sizeof message, 0)) >= 0 || errno == ENOBUFS ||
                  errno == EINTR;) {
    changed = true;
  }
  return changed;
}

std::vector<agent::Card> Cards::Now() {
  const std::lock_guard<std::mutex> guard(mutex_);
  // Before the list is made: what changes meanwhile is news for the next call.
  const bool changed = Changed();
  if (changed || !listed_) listed_ = List(&cards_);
  return cards_;
}

}  // namespace rum::guest
