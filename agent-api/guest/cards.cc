#include "agent-api/guest/cards.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/text_file.h"

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

}  // namespace

std::vector<agent::Card> Cards() {
  std::map<std::string, std::set<std::string>> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if ((i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    std::set<std::string>& of_card = addresses[i->ifa_name];
    const std::string text = i->ifa_addr == nullptr ? "" : AddressText(i->ifa_addr);
    if (!text.empty()) of_card.insert(text);
  }
  freeifaddrs(list);
  std::vector<agent::Card> cards;
  for (const auto& [name, texts] : addresses) {
    agent::Card card;
    card.set_name(name);
    card.set_mac(FirstLine(ReadFile(absl::StrCat("/sys/class/net/", name, "/address"))));
    for (const std::string& text : texts) card.add_addresses(text);
    cards.push_back(std::move(card));
  }
  return cards;
}

}  // namespace rum::guest
