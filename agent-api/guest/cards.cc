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
#include <optional>
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

std::string MacOfBytes(const unsigned char* bytes, size_t size) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < size; ++i) {
    texts.push_back(absl::StrCat(absl::Hex(bytes[i], absl::kZeroPad2)));
  }
  return absl::StrJoin(texts, ":");
}

// By which messages name the cards with these MAC addresses.
std::set<unsigned> IndicesOf(const std::set<std::string>& macs) {
  std::set<unsigned> indices;
  for (const Link& link : LinksNow().value_or(std::vector<Link>())) {
    if (macs.count(link.mac) > 0) indices.insert(link.index);
  }
  return indices;
}

// The MAC address that a message of a link carries; empty: none.
std::string MacIn(const nlmsghdr* message) {
  const auto* link = static_cast<const ifinfomsg*>(NLMSG_DATA(message));
  int left = static_cast<int>(IFLA_PAYLOAD(message));
  for (const rtattr* each = IFLA_RTA(link); RTA_OK(each, left); each = RTA_NEXT(each, left)) {
    if (each->rta_type != IFLA_ADDRESS) continue;
    return MacOfBytes(static_cast<const unsigned char*>(RTA_DATA(each)), RTA_PAYLOAD(each));
  }
  return "";
}

}  // namespace

std::optional<std::vector<Link>> LinksNow() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return std::nullopt;
  std::map<std::string, Link> links;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if ((i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    Link& link = links[i->ifa_name];
    link.name = i->ifa_name;
    link.up = (i->ifa_flags & IFF_UP) != 0;
    if (i->ifa_addr == nullptr) continue;
    if (i->ifa_addr->sa_family == AF_PACKET) {
      const auto* own = reinterpret_cast<const sockaddr_ll*>(i->ifa_addr);
      link.index = static_cast<unsigned>(own->sll_ifindex);
      link.mac = MacOfBytes(own->sll_addr, own->sll_halen);
    } else if (const std::string text = AddressText(i->ifa_addr); !text.empty()) {
      link.addresses.insert(text);
    }
  }
  freeifaddrs(list);
  std::vector<Link> all;
  for (const auto& [name, link] : links) all.push_back(link);
  return all;
}

int ListenToLinks() {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

bool DrainLinks(int socket, const std::set<std::string>& macs) {
  alignas(nlmsghdr) char buffer[16384];
  std::optional<std::set<unsigned>> indices;  // asked for once, if at all
  bool sign = false;
  for (ssize_t size;
       (size = recv(socket, buffer, sizeof buffer, 0)) > 0 || errno == ENOBUFS || errno == EINTR;) {
    if (size < 0 && errno == ENOBUFS) sign = true;
    if (size < 0 || sign) continue;
    auto left = static_cast<unsigned>(size);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK) {
        sign = sign || macs.count(MacIn(message)) > 0;
      } else if (message->nlmsg_type == RTM_NEWADDR || message->nlmsg_type == RTM_DELADDR) {
        const auto* address = static_cast<const ifaddrmsg*>(NLMSG_DATA(message));
        if (!indices.has_value()) indices = IndicesOf(macs);
        sign = sign || indices->count(address->ifa_index) > 0;
      }
    }
  }
  return sign;
}

Cards::Cards() : netlink_(ListenToLinks()) {}

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
  if (!changed && listed_) return cards_;
  cards_.clear();
  const std::optional<std::vector<Link>> links = LinksNow();
  listed_ = links.has_value();
  for (const Link& link : links.value_or(std::vector<Link>())) {
    agent::Card& card = cards_.emplace_back();
    card.set_name(link.name);
    card.set_mac(link.mac);
    for (const std::string& text : link.addresses) card.add_addresses(text);
  }
  return cards_;
}

}  // namespace rum::guest
