#include "state/bind_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "state/names.h"

namespace rum {
namespace {

bool IsIpv4(const std::string& text) {
  in_addr bytes;
  return inet_pton(AF_INET, text.c_str(), &bytes) == 1;
}

bool IsIpv6(const std::string& text) {
  in6_addr bytes;
  return inet_pton(AF_INET6, text.c_str(), &bytes) == 1;
}

// As the kernel names interfaces: dev_valid_name.
bool IsInterface(const std::string& name) {
  return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%';
         });
}

// What a person meant who wrote something that is no address.
std::string Meant(const std::string& text) {
  if (text == "localhost") return ": write \"127.0.0.1\"";
  if (text == "*" || text == "any" || text == "all") {
    return ": write \"::\" for all addresses, \"0.0.0.0\" for those of IPv4";
  }
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    return ": without the brackets";
  }
  if (text.find_first_of(" \t\r\n") != std::string::npos) return ": without white space";
  if (const size_t colon = text.rfind(':');
      colon != std::string::npos && IsIpv4(text.substr(0, colon))) {
    return ": the port stands in `host`";
  }
  if (absl::StrContains(text, "/")) return ": an address alone, not a network";
  in_addr bytes;
  if (text.find_first_not_of("0123456789.") == std::string::npos &&
      inet_aton(text.c_str(), &bytes) != 0) {
    return ": four numbers without zeros before them";
  }
  return "";
}

std::string Ipv4Problem(const std::string& text) {
  in_addr bytes;
  inet_pton(AF_INET, text.c_str(), &bytes);
  const uint32_t address = ntohl(bytes.s_addr);
  const std::string got = absl::StrCat("must be an address of this host (got ", Quoted(text));
  if (IN_MULTICAST(address)) return absl::StrCat(got, ", which is multicast)");
  if (address == INADDR_BROADCAST) return absl::StrCat(got, ", which is broadcast)");
  if (address >> 28 == 0xF) return absl::StrCat(got, ", which is reserved)");
  if (address >> 24 == 0 && address != INADDR_ANY) {
    return absl::StrCat(got, "; \"0.0.0.0\" is all of them)");
  }
  return "";
}

std::string Ipv6Problem(const std::string& text, const std::string& scope, bool has_scope) {
  in6_addr bytes;
  inet_pton(AF_INET6, text.c_str(), &bytes);
  const std::string got = absl::StrCat("must be an address of this host (got ",
                                       Quoted(has_scope ? absl::StrCat(text, "%", scope) : text));
  if (IN6_IS_ADDR_V4MAPPED(&bytes) || IN6_IS_ADDR_V4COMPAT(&bytes)) {
    char inner[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &bytes.s6_addr[12], inner, sizeof inner);
    return absl::StrCat(got, ", which is an IPv4 address in IPv6's clothes: write \"", inner,
                        "\")");
  }
  if (IN6_IS_ADDR_MULTICAST(&bytes)) return absl::StrCat(got, ", which is multicast)");
  const bool local = IN6_IS_ADDR_LINKLOCAL(&bytes);
  if (local && !has_scope) {
    return absl::StrCat(got, ", which is there once for each interface: name one, as in \"", text,
                        "%eth0\")");
  }
  if (!local && has_scope) {
    return absl::StrCat(got, ": only a link-local address, fe80::/10, has an interface)");
  }
  if (has_scope && !IsInterface(scope)) {
    return absl::StrCat(got, ": ", Quoted(scope), " is not the name of an interface)");
  }
  return "";
}

std::string UnixProblem(const std::string& path) {
  constexpr size_t kMost = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty() || path.back() == '/') {
    return "must be unix:PATH with the path of a file, such as \"unix:./app.sock\"";
  }
  const bool control =
      std::any_of(path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (control) return absl::StrCat("must have no control characters (got ", Quoted(path), ")");
  if (path.size() > kMost) {
    return absl::StrCat("must have a path of at most ", kMost, " bytes, as unix sockets have (got ",
                        path.size(), ": ", path, ")");
  }
  return "";
}

}  // namespace

bool IsUnixBind(const std::string& bind) { return absl::StartsWith(bind, kUnixBind); }

std::string UnixPath(const std::string& bind) { return bind.substr(sizeof kUnixBind - 1); }

std::string BindProblem(const std::string& address) {
  if (IsUnixBind(address)) return UnixProblem(UnixPath(address));
  const size_t percent = address.find('%');
  const bool has_scope = percent != std::string::npos;
  const std::string plain = address.substr(0, percent);
  const std::string scope = has_scope ? address.substr(percent + 1) : "";
  const bool clean = address.find('\0') == std::string::npos;
  if (clean && IsIpv6(plain)) return Ipv6Problem(plain, scope, has_scope);
  if (clean && !has_scope && IsIpv4(plain)) return Ipv4Problem(plain);
  return absl::StrCat("must be an IPv4 or IPv6 address (got ", Quoted(address), Meant(address),
                      ")");
}

bool IsLoopback(const std::string& address) {
  in_addr v4;
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6;
  if (inet_pton(AF_INET6, address.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool BindsCollide(const std::string& a, const std::string& b) {
  const auto both = [&](const char* x, const char* y) { return a == x && b == y; };
  if (a == b) return true;
  if (IsUnixBind(a) || IsUnixBind(b)) return false;
  if (both("::", "0.0.0.0") || both("0.0.0.0", "::")) return false;
  if (a == "::" || b == "::") return true;
  const bool v4 = IsIpv4(a) && IsIpv4(b);
  return v4 && (a == "0.0.0.0" || b == "0.0.0.0");
}

}  // namespace rum
