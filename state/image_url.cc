#include "state/image_url.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "state/bind_address.h"

namespace rum {
namespace {

constexpr char kHidden[] = "***";
constexpr char kScheme[] = "://";
constexpr size_t kSchemeSize = sizeof kScheme - 1;
constexpr size_t kMostShown = 64;  // bytes of a value; a key is longer

// What tells one image from another, and opens nothing. All else may be a key: names of those are
// as many as there are servers.
bool IsPlainName(const std::string& name) {
  static const auto* const names = new std::vector<std::string>{
      "alt",    "arch",     "architecture", "branch", "build", "channel",  "dist",    "distro",
      "dl",     "download", "edition",      "export", "file",  "filename", "flavor",  "format",
      "inline", "lang",     "name",         "os",     "path",  "platform", "product", "raw",
      "ref",    "ref_type", "release",      "suite",  "tag",   "type",     "v",       "variant",
      "ver",    "version"};
  return std::find(names->begin(), names->end(), absl::AsciiStrToLower(name)) != names->end();
}

// "name=value" of a query.
std::string ShownParameter(const std::string& parameter) {
  const size_t equals = parameter.find('=');
  const std::string name = parameter.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : parameter.substr(equals + 1);
  if (IsPlainName(name) && value.size() <= kMostShown) return parameter;
  // A word alone may be a key itself, with '=' at its end as base64 has it.
  if (value.find_first_not_of('=') == std::string::npos) return parameter.empty() ? "" : kHidden;
  return absl::StrCat(name, "=", kHidden);
}

std::string ShownQuery(const std::string& query) {
  std::vector<std::string> parameters = absl::StrSplit(query, absl::ByAnyChar("&;"));
  for (std::string& parameter : parameters) parameter = ShownParameter(parameter);
  return absl::StrJoin(parameters, "&");
}

// Where the host begins in what follows "://". A password with a '/' in it is no URL, and is hidden
// all the same.
size_t HostAt(const std::string& rest) {
  const size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  const std::string authority = rest.substr(0, end);
  if (const size_t at = authority.rfind('@'); at != std::string::npos) return at + 1;
  const size_t colon = authority.rfind(':');
  const bool port = colon == std::string::npos || authority.back() == ']' ||
                    authority.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  const size_t later = rest.rfind('@');
  return port || later == std::string::npos ? 0 : later + 1;
}

// Where the scheme begins that ends at `end`.
size_t SchemeAt(const std::string& line, size_t end) {
  size_t first = end;
  while (first > 0 && (absl::ascii_isalnum(static_cast<unsigned char>(line[first - 1])) != 0 ||
                       absl::StrContains("+-.", line.substr(first - 1, 1)))) {
    --first;
  }
  return first;
}

// Of the text that a URL is in, whose scheme begins at `first`.
size_t EndOfUrl(const std::string& line, size_t first, size_t begin) {
  const char before = first == 0 ? ' ' : line[first - 1];
  const bool quoted = before == '"' || before == '\'';
  const size_t end = quoted ? line.find(before, begin) : line.find_first_of(" \t", begin);
  return std::min(end, line.size());
}

}  // namespace

std::string ShownUrl(const std::string& url) {
  const size_t scheme = url.find(kScheme);
  if (scheme == std::string::npos || absl::StartsWith(url, "/")) return url;
  const size_t begin = scheme + kSchemeSize;
  if (absl::EqualsIgnoreCase(url.substr(0, scheme), "file")) return url;
  std::string rest = url.substr(begin);
  rest = rest.substr(HostAt(rest));
  if (const size_t fragment = rest.find('#'); fragment != std::string::npos) rest.resize(fragment);
  if (const size_t query = rest.find('?'); query != std::string::npos) {
    rest = absl::StrCat(rest.substr(0, query + 1), ShownQuery(rest.substr(query + 1)));
  }
  return url.substr(0, begin) + rest;
}

std::string WithoutSecrets(const std::string& line) {
  std::string shown = line;
  for (size_t at = line.find(kScheme); at != std::string::npos; at = line.find(kScheme, at + 1)) {
    const size_t begin = at + kSchemeSize;
    const size_t first = SchemeAt(line, at);
    // No other is of an image.
    if (!absl::StartsWithIgnoreCase(line.substr(first), "http")) continue;
    size_t end = EndOfUrl(line, first, begin);
    const std::string rest = line.substr(begin, end - begin);
    // Escaped characters may be any, also the quote.
    const bool escaped = absl::StrContains(rest, "\\");
    if (escaped) end = line.size();
    const bool plain = !escaped && ShownUrl("x://" + rest) == "x://" + rest;
    for (size_t i = begin; i < end && !plain; ++i) {
      const bool character = (static_cast<unsigned char>(shown[i]) & 0xC0) != 0x80;
      shown[i] = character ? '*' : '\0';
    }
  }
  shown.erase(std::remove(shown.begin(), shown.end(), '\0'), shown.end());
  return shown;
}

bool IsLoopbackUrl(const std::string& url) {
  constexpr char kHttp[] = "http://";
  if (!absl::StartsWithIgnoreCase(url, kHttp)) return false;
  std::string rest = url.substr(sizeof kHttp - 1);
  rest.resize(std::min(rest.find_first_of("/?#"), rest.size()));
  std::string host = rest.substr(HostAt(rest));
  if (absl::StartsWith(host, "[")) {
    const size_t close = host.find(']');
    if (close == std::string::npos) return false;
    return host.substr(1, close - 1) == "::1";
  }
  host.resize(std::min(host.find(':'), host.size()));
  return absl::EqualsIgnoreCase(host, "localhost") || IsLoopback(host);
}

std::string ChecksumProblem(const std::string& url, const std::string& sha256) {
  if (!sha256.empty() || absl::StartsWithIgnoreCase(url, "https://") || IsLoopbackUrl(url)) {
    return "";
  }
  return absl::StrCat("image.sha256 is missing: whoever is on the way can send another image than ",
                      ShownUrl(url),
                      ", as http:// is; set it to the SHA-256 of the image, or name "
                      "an https:// URL");
}

}  // namespace rum
