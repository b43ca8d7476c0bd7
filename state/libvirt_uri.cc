#include "state/libvirt_uri.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "state/names.h"

namespace rum {
namespace {

constexpr char kForms[] =
    "must be qemu:///system, qemu:///session, test:///default or "
    "qemu+ssh://[USER@]HOST[:PORT]/system (also qemu+tls, qemu+tcp; /session)";
constexpr char kElsewhere[] =
    "leave it out here and put it into libvirt's own configuration, which is yours "
    "(LIBVIRT_DEFAULT_URI; uri_default and uri_aliases of libvirt.conf)";

// A name that is no option to ssh and has nothing that a URI or a shell reads as something else.
bool IsPlainWord(const std::string& word) {
  return !word.empty() && word[0] != '-' && word[0] != '.' &&
         std::all_of(word.begin(), word.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

bool IsHost(const std::string& host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    in6_addr bytes;
    return inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &bytes) == 1;
  }
  return IsPlainWord(host);
}

bool IsPort(const std::string& text) {
  uint32_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  return error == std::errc() && stop == end && port >= 1 && port <= 65535;
}

// [USER@]HOST[:PORT]
bool IsAuthority(std::string text) {
  if (const size_t at = text.find('@'); at != std::string::npos) {
    if (!IsPlainWord(text.substr(0, at))) return false;
    text.erase(0, at + 1);
  }
  const size_t colon = text.rfind(':');
  const size_t bracket = text.rfind(']');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    if (!IsPort(text.substr(colon + 1))) return false;
    text.resize(colon);
  }
  return IsHost(text);
}

bool IsTestNode(const std::string& path) {
  return path.size() > 1 && std::all_of(path.begin(), path.end(), [](unsigned char c) {
           return c > ' ' && c != 0x7f && c != '%';
         });
}

}  // namespace

std::string LibvirtUriProblem(const std::string& uri) {
  const auto refuse = [&](const std::string& why) {
    return absl::StrCat(kForms, " (got ", Quoted(uri), why, "): ", kElsewhere);
  };
  const size_t scheme_end = uri.find("://");
  if (scheme_end == std::string::npos) {
    return refuse(IsPlainWord(uri) ? ", an alias, which means something to you alone" : "");
  }
  if (uri.find_first_of("?#") != std::string::npos) {
    return refuse(": what follows ? and # can name programs, sockets and keys of this host");
  }
  const std::string scheme = uri.substr(0, scheme_end);
  const std::string rest = uri.substr(scheme_end + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string authority = rest.substr(0, slash), path = rest.substr(slash);
  if (scheme == "test" && authority.empty() && IsTestNode(path)) return "";
  const bool instance = path == "/system" || path == "/session";
  if (scheme == "qemu" && authority.empty() && instance) return "";
  const bool remote = scheme == "qemu+ssh" || scheme == "qemu+tls" || scheme == "qemu+tcp";
  if (remote && instance && IsAuthority(authority)) return "";
  if (absl::StartsWith(scheme, "qemu+") && !remote) {
    return refuse(absl::StrCat(": ", Quoted(scheme), " reaches programs and sockets of this host"));
  }
  return refuse("");
}

bool IsRemoteLibvirt(const std::string& uri) {
  return !uri.empty() && uri != "qemu:///system" && uri != "qemu:///session" &&
         !absl::StartsWith(uri, "test:///");
}

std::string RemoteLibvirtText(const std::string& uri) {
  const size_t scheme_end = uri.find("://");
  std::string host = scheme_end == std::string::npos ? uri : uri.substr(scheme_end + 3);
  host = host.substr(0, host.find('/'));
  const size_t at = host.find('@');
  if (at == std::string::npos) return absl::StrCat("works on the libvirt of ", host);
  return absl::StrCat("works on the libvirt of ", host.substr(at + 1), ", as ", host.substr(0, at));
}

}  // namespace rum
