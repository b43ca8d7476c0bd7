#include "cli/forward_url.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/ssh_words.h"
#include "state/item_name.h"
#include "state/schema.h"

namespace rum {
namespace {

std::string NameOf(const ForwardFacts& forward) {
  return absl::StrCat(HostPort(forward.bind(), forward.host()), " (guest ", forward.guest(), ")");
}

std::string AllOf(const std::vector<ForwardFacts>& forwards) {
  std::vector<std::string> names;
  for (const ForwardFacts& forward : forwards) names.push_back(NameOf(forward));
  return absl::StrJoin(names, ", ");
}

std::string NearestPort(const std::string& said, const std::vector<ForwardFacts>& forwards) {
  std::vector<std::string> ports;
  for (const ForwardFacts& forward : forwards) {
    ports.push_back(absl::StrCat(forward.host()));
    ports.push_back(absl::StrCat(forward.guest()));
  }
  return DidYouMean(said, ports);
}

bool IsHttps(uint32_t port) { return port == 443 || port == 8443; }

// As a URL has it; empty: it is none. What listens everywhere is reached at home.
std::string AddressInUrl(const std::string& bind) {
  in_addr four{};
  in6_addr six{};
  if (bind.empty()) return "127.0.0.1";
  if (inet_pton(AF_INET, bind.c_str(), &four) == 1)
    return four.s_addr == INADDR_ANY ? "127.0.0.1" : bind;
  if (inet_pton(AF_INET6, bind.c_str(), &six) != 1) return "";
  return IN6_IS_ADDR_UNSPECIFIED(&six) ? "[::1]" : absl::StrCat("[", bind, "]");
}

}  // namespace

absl::StatusOr<ForwardFacts> PickForward(const std::vector<ForwardFacts>& forwards,
                                         const std::string& said) {
  if (forwards.empty()) {
    return absl::NotFoundError(
        "the machine has no forwards: `[[ports]]` in its file makes one (`rum explain ports`)");
  }
  if (said.empty()) {
    if (forwards.size() == 1) return forwards[0];
    return absl::InvalidArgumentError(absl::StrCat("which one? Say the port: ", AllOf(forwards)));
  }
  uint32_t port = 0;
  if (!absl::SimpleAtoi(said, &port) || port == 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(said, ": a port is a number from 1 to 65535; there are ", AllOf(forwards)));
  }
  std::vector<ForwardFacts> by_host, by_guest;
  for (const ForwardFacts& forward : forwards) {
    if (forward.host() == port) by_host.push_back(forward);
    if (forward.guest() == port) by_guest.push_back(forward);
  }
  const auto& meant = by_host.empty() ? by_guest : by_host;
  // The same port on several addresses is one service: the nearest address shows it.
  const auto loopback = std::find_if(meant.begin(), meant.end(), [](const ForwardFacts& forward) {
    return forward.bind().empty() || forward.bind() == "127.0.0.1";
  });
  if (loopback != meant.end()) return *loopback;
  if (!meant.empty()) return meant[0];
  return absl::NotFoundError(absl::StrCat("no forward has port ", port, NearestPort(said, forwards),
                                          "; there are ", AllOf(forwards)));
}

absl::StatusOr<std::string> UrlOf(const ForwardFacts& forward) {
  const std::string address = AddressInUrl(forward.bind());
  if (address.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(HostPort(forward.bind(), forward.host()),
                                                   ": a browser cannot open a unix socket"));
  }
  const bool https = IsHttps(forward.guest());
  const bool usual = forward.host() == (https ? 443 : 80);
  return absl::StrCat(https ? "https" : "http", "://", address,
                      usual ? "" : absl::StrCat(":", forward.host()), "/");
}

std::vector<std::string> BrowserWords(const std::string& url, const BrowserEnvironment& here) {
  const std::string browsers = here.browser == nullptr ? "" : here.browser;
  for (const absl::string_view one : absl::StrSplit(browsers, ':', absl::SkipWhitespace())) {
    std::vector<std::string> words = absl::StrSplit(one, ' ', absl::SkipEmpty());
    const std::string program = FindProgram(words[0], here.path);
    if (program.empty()) continue;
    words[0] = program;
    bool placed = false;
    for (size_t i = 1; i < words.size(); ++i) {
      placed = placed || words[i].find("%s") != std::string::npos;
      words[i] = absl::StrReplaceAll(words[i], {{"%s", url}});
    }
    if (!placed) words.push_back(url);
    return words;
  }
  const auto set = [](const char* value) { return value != nullptr && *value != '\0'; };
  if (!set(here.display) && !set(here.wayland_display)) return {};
  const std::string opener = FindProgram("xdg-open", here.path);
  return opener.empty() ? std::vector<std::string>() : std::vector<std::string>{opener, url};
}

}  // namespace rum
