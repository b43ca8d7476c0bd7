#include "state/names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"

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

// The numbers of a key begin with the length of its type's name, whose first three bytes are 0.
bool IsKeyData(const std::string& data) {
  const size_t end = data.find_last_not_of('=') + 1;
  return data.rfind("AAAA", 0) == 0 && data.size() - end <= 2 &&
         All(data.substr(0, end), [](char c) { return IsAlnum(c) || c == '+' || c == '/'; });
}

}  // namespace

bool IsHostname(const std::string& text) {
  if (text.size() > 253) return false;
  for (size_t at = 0;;) {
    const size_t dot = std::min(text.find('.', at), text.size());
    if (!IsLabel(text.substr(at, dot - at))) return false;
    if (dot == text.size()) return true;
    at = dot + 1;
  }
}

bool IsUserName(const std::string& text) {
  return !text.empty() && text.size() <= 32 && (IsLower(text[0]) || text[0] == '_') &&
         All(text, [](char c) { return IsLower(c) || IsDigit(c) || c == '_' || c == '-'; });
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

bool IsOpenSshKey(const std::string& text) {
  static const std::set<std::string> types = {"ssh-ed25519",
                                              "ssh-rsa",
                                              "ssh-dss",
                                              "ecdsa-sha2-nistp256",
                                              "ecdsa-sha2-nistp384",
                                              "ecdsa-sha2-nistp521",
                                              "sk-ssh-ed25519@openssh.com",
                                              "sk-ecdsa-sha2-nistp256@openssh.com"};
  if (text.find_first_of("\r\n") != std::string::npos) return false;
  const size_t type = std::min(text.find(' '), text.size());
  if (type == text.size() || types.count(text.substr(0, type)) == 0) return false;
  const size_t data = std::min(text.find(' ', type + 1), text.size());
  return IsKeyData(text.substr(type + 1, data - type - 1));
}

std::string KeyWithoutComment(const std::string& line) {
  const size_t data = std::min(line.find(' '), line.size() - 1) + 1;
  return line.substr(0, line.find(' ', data));
}

std::string KeyName(const std::string& line) {
  const std::string key = KeyWithoutComment(line);
  if (line.size() > key.size() + 1) return line.substr(key.size() + 1);
  constexpr size_t kLast = 8;
  return absl::StrCat(key.substr(0, key.find(' ')), " …",
                      key.substr(key.size() - std::min(kLast, key.size())));
}

std::string PlainAddress(const std::string& address) {
  in6_addr bytes;
  char text[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET6, address.c_str(), &bytes) != 1) return address;
  return inet_ntop(AF_INET6, &bytes, text, sizeof text);
}

std::string Quoted(const std::string& text) {
  constexpr size_t kMost = 80;
  if (text.size() <= kMost) return "\"" + absl::Utf8SafeCEscape(text) + "\"";
  size_t end = kMost;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not through a character
  return "\"" + absl::Utf8SafeCEscape(text.substr(0, end)) + "...\"";
}

}  // namespace rum
