#include "state/names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

// Not <cctype>: the locale must not decide what a name is.
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsLower(c) || (c >= 'A' && c <= 'Z') || IsDigit(c); }

template <typename Predicate>
bool All(const std::string& text, Predicate predicate) {
  return std::all_of(text.begin(), text.end(), predicate);
}

bool IsLabel(const std::string& label) {
  return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
         All(label, [](char c) { return IsAlnum(c) || c == '-'; });
}

bool IsRfc1123(const std::string& text) {
  for (size_t at = 0;;) {
    const size_t dot = std::min(text.find('.', at), text.size());
    if (!IsLabel(text.substr(at, dot - at))) return false;
    if (dot == text.size()) return true;
    at = dot + 1;
  }
}

// RFC 6761 section 6.3, and what distributions write into /etc/hosts for ::1.
bool IsLoopbackName(const std::string& name) {
  static const std::set<std::string> names = {
      "localhost",  "localhost.localdomain",   "localhost4",    "localhost4.localdomain4",
      "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback"};
  return names.count(name) > 0 || absl::EndsWith(name, ".localhost");
}

// Programs ask inet_aton(3) before they look for a name, and that also takes "10.1" and "0x7f.1".
bool IsAddressLike(const std::string& text) {
  in_addr bytes;
  return inet_aton(text.c_str(), &bytes) != 0 ||
         All(text, [](char c) { return IsDigit(c) || c == '.'; });
}

}  // namespace

std::string HostnameProblem(const std::string& text) {
  constexpr size_t kMost = 64;  // __NEW_UTS_LEN
  const std::string got = absl::StrCat(" (got ", Quoted(text), ")");
  if (!IsRfc1123(text)) {
    return absl::StrCat(
        "must be an RFC 1123 name: labels of 1 to 63 letters, digits and '-', no '-' at an edge, "
        "64 characters in all",
        got);
  }
  if (text.size() > kMost) {
    return absl::StrCat("must have at most 64 characters, as Linux has none longer (this has ",
                        text.size(), ")", got);
  }
  if (IsLoopbackName(absl::AsciiStrToLower(text))) {
    return absl::StrCat("must not be a name that every machine has for itself", got);
  }
  if (IsAddressLike(text)) {
    return absl::StrCat("must not read as an address: no name of digits alone", got);
  }
  return "";
}

bool IsHostname(const std::string& text) { return HostnameProblem(text).empty(); }

bool IsUserName(const std::string& text) {
  return !text.empty() && text.size() <= 32 && (IsLower(text[0]) || text[0] == '_') &&
         All(text, [](char c) { return IsLower(c) || IsDigit(c) || c == '_' || c == '-'; });
}

const std::set<std::string>& SystemAccounts() {
  static const std::set<std::string> names = {
      "_apt", "adm",        "avahi", "backup", "bin",      "daemon",  "dbus",  "dnsmasq",
      "ftp",  "games",      "gnats", "halt",   "irc",      "list",    "lp",    "mail",
      "man",  "messagebus", "news",  "nobody", "operator", "polkitd", "proxy", "shutdown",
      "sshd", "sync",       "sys",   "syslog", "tcpdump",  "uucp",    "uuidd", "www-data"};
  return names;
}

bool IsSystemAccount(const std::string& name) {
  return SystemAccounts().count(name) > 0 || absl::StartsWith(name, "systemd-");
}

bool IsGroupName(const std::string& text) {
  const auto fits = [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f && std::strchr(":,#/", c) == nullptr;
  };
  return !text.empty() && text.size() <= 32 && std::strchr("-+~", text[0]) == nullptr &&
         text != "." && text != ".." && All(text, fits) && !All(text, IsDigit);
}

bool IsLoginName(const std::string& text) {
  return !text.empty() && text[0] != '-' && All(text, [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f &&
           std::strchr(":/\"'`$\\;&|<>", c) == nullptr;
  });
}

bool IsMachineName(const std::string& text) {
  return !text.empty() && IsAlnum(text[0]) &&
         All(text, [](char c) { return IsAlnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && All(text, [](char c) {
           return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

bool IsPoolName(const std::string& text) {
  const auto starts_with = [&](const char* word) { return text.rfind(word, 0) == 0; };
  // Words of zpool's own, with whatever follows.
  if (starts_with("mirror") || starts_with("raidz") || starts_with("draid") ||
      starts_with("spare") || text == "log") {
    return false;
  }
  return !text.empty() && text.size() <= 255 && absl::ascii_isalpha(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

std::string PlainAddress(const std::string& address) {
  in6_addr bytes;
  char text[INET6_ADDRSTRLEN];
  const size_t scope = std::min(address.find('%'), address.size());
  if (inet_pton(AF_INET6, address.substr(0, scope).c_str(), &bytes) != 1) return address;
  return absl::StrCat(inet_ntop(AF_INET6, &bytes, text, sizeof text), address.substr(scope));
}

std::string Quoted(const std::string& text) {
  constexpr size_t kMost = 80;
  if (text.size() <= kMost) return "\"" + absl::Utf8SafeCEscape(text) + "\"";
  size_t end = kMost;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not through a character
  return "\"" + absl::Utf8SafeCEscape(text.substr(0, end)) + "...\"";
}

}  // namespace rum
