#include "controller/images/location.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "state/image_url.h"

namespace rum {
namespace {

struct ParsedUrl {
  explicit ParsedUrl(const std::string& url) : handle(curl_url(), curl_url_cleanup) {
    // Schemes that curl does not know are parsed too: a message names them.
    ok = handle && curl_url_set(handle.get(), CURLUPART_URL, url.c_str(),
                                CURLU_ALLOW_SPACE | CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
  }
  std::string Part(CURLUPart part, unsigned flags = 0) const {
    char* text = nullptr;
    if (!ok || curl_url_get(handle.get(), part, &text, flags) != CURLUE_OK) return "";
    const std::unique_ptr<char, decltype(&curl_free)> owner(text, curl_free);
    return text;
  }

  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> handle;
  bool ok = false;
};

std::string LastComponent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string SchemeOf(const std::string& url) {
  return absl::AsciiStrToLower(ParsedUrl(url).Part(CURLUPART_SCHEME));
}

}  // namespace

absl::StatusOr<Location> LocationOf(const std::string& url) {
  Location location;
  if (absl::StartsWith(url, "/")) {
    location.path = url;
    location.name = LastComponent(url);
    return location;
  }
  const absl::Status bad = absl::InvalidArgumentError(absl::StrCat(
      "image \"", ShownUrl(url), "\": neither an http(s):// or file:// URL nor an absolute path"));
  if (!absl::StrContains(url, "://")) return bad;  // curl guesses a scheme
  const ParsedUrl parsed(url);
  const std::string scheme = absl::AsciiStrToLower(parsed.Part(CURLUPART_SCHEME));
  const std::string path = parsed.Part(CURLUPART_PATH, CURLU_URLDECODE);
  if (path.empty()) return bad;
  location.name = LastComponent(path);
  if (scheme == "file") {
    location.path = path;
  } else if (scheme == "http" || scheme == "https") {
    location.remote = true;
    location.secure = scheme == "https";
    location.url = url;
  } else {
    return bad;
  }
  return location;
}

absl::Status MayRedirect(const std::string& from, const std::string& to, bool checked) {
  const std::string before = SchemeOf(from), after = SchemeOf(to);
  const std::string text =
      absl::StrCat(ShownUrl(from), " redirects to ", ShownUrl(to), ", which is not followed: ");
  if (after != "http" && after != "https") {
    return absl::UnavailableError(absl::StrCat(text, "only http and https are"));
  }
  if (before == "https" && after == "http") {
    return absl::UnavailableError(absl::StrCat(text, "it would leave https"));
  }
  if (after == "http" && !checked && IsLoopbackUrl(from) && !IsLoopbackUrl(to)) {
    return absl::UnavailableError(
        absl::StrCat(text, "it would leave this host without a checksum"));
  }
  return absl::OkStatus();
}

}  // namespace rum
