#include "controller/images/http.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "controller/images/location.h"
#include "state/image_url.h"

namespace rum {
namespace {

constexpr size_t kRedirectBody = 1 << 20;  // bytes; more is not a redirect's explanation

using Handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

struct Transfer {
  CURL* curl;
  const HttpRequest& request;
  HttpReply reply;
  bool begun = false;
  size_t thrown_away = 0;
  absl::Status status;  // of begin, write or tick
};

std::string Header(CURL* curl, const char* name) {
  curl_header* header = nullptr;
  return curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value
                                                                                 : "";
}

void ReadHeaders(Transfer* exchange) {
  CURL* const curl = exchange->curl;
  HttpReply& reply = exchange->reply;
  long version = 0;
  curl_off_t length = -1;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
  curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &version);
  curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  reply.etag = Header(curl, "ETag");
  reply.last_modified = Header(curl, "Last-Modified");
  reply.date = Header(curl, "Date");
  reply.content_range = Header(curl, "Content-Range");
  reply.content_length = length;
  const bool chunked =
      absl::StrContains(absl::AsciiStrToLower(Header(curl, "Transfer-Encoding")), "chunked");
  reply.end_is_marked = length >= 0 || chunked || version >= CURL_HTTP_VERSION_2_0;
}

bool HasWantedBody(long status) { return status == 200 || status == 206; }

void Begin(Transfer* exchange) {
  exchange->begun = true;
  ReadHeaders(exchange);
  if (HasWantedBody(exchange->reply.status)) {
    exchange->status = exchange->request.begin(exchange->reply);
  }
}

size_t OnBody(char* data, size_t, size_t size, void* user) {
  auto* const exchange = static_cast<Transfer*>(user);
  if (!exchange->begun) Begin(exchange);
  if (!exchange->status.ok()) return 0;
  const long status = exchange->reply.status;
  if (!HasWantedBody(status)) {
    // The address of a redirect is known only at the end of its body.
    exchange->thrown_away += size;
    return status < 400 && exchange->thrown_away <= kRedirectBody ? size : 0;
  }
  exchange->status = exchange->request.write(std::string_view(data, size));
  return exchange->status.ok() ? size : 0;
}

int OnTick(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto* const exchange = static_cast<Transfer*>(user);
  curl_off_t speed = 0;
  curl_easy_getinfo(exchange->curl, CURLINFO_SPEED_DOWNLOAD_T, &speed);
  if (!exchange->request.tick || !exchange->status.ok()) return 0;
  exchange->status = exchange->request.tick(speed);
  return exchange->status.ok() ? 0 : 1;
}

void SetLimits(CURL* curl, const HttpLimits& limits) {
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);  // each step is looked at first
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);        // nor SIGPIPE: our programs ignore it
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(limits.connect_timeout)));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                   static_cast<long>(absl::ToInt64Seconds(limits.stall)));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, static_cast<long>(limits.stall_bytes_per_second));
  if (!limits.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, limits.ca_file.c_str());
}

HeaderList Headers(const HttpRequest& request) {
  // What is kept are the bytes as published: no encoding made up on the way.
  curl_slist* list = curl_slist_append(nullptr, "Accept-Encoding: identity");
  for (const std::string& header : request.headers) list = curl_slist_append(list, header.c_str());
  return HeaderList(list, curl_slist_free_all);
}

// What comes before the words of curl and OpenSSL, which say little to who has not read them.
const char* MeaningOf(CURLcode code, bool proxied) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "the name of the server is not known: is it right, and is this host online? ";
    case CURLE_COULDNT_RESOLVE_PROXY:
      return "the name of the proxy is not known (https_proxy in the controller's environment; "
             "`rum controller restart` gives it that of this shell): ";
    case CURLE_COULDNT_CONNECT:
      return proxied ? "nothing takes the connection at the proxy (https_proxy in the controller's "
                       "environment; `rum controller restart` gives it that of this shell): "
                     : "nothing takes the connection there: is the server up, and the port right? ";
    case CURLE_PARTIAL_FILE:
      return "the connection ended before all had come; the same command goes on from there: ";
    case CURLE_OPERATION_TIMEDOUT:
      return "the server does not answer any more: ";
    case CURLE_SSL_CONNECT_ERROR:
      return "the server speaks no TLS that this host knows (is it https?): ";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "this host does not trust the server's certificate (is the clock right, and the "
             "package ca-certificates installed?): ";
    default:
      return "";
  }
}

// Empty: it has none. Who curl failed to connect to is the proxy if it is not this one.
std::string HostOf(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parts(curl_url(), curl_url_cleanup);
  char* host = nullptr;
  if (curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parts.get(), CURLUPART_HOST, &host, 0) != CURLUE_OK) {
    return "";
  }
  const std::string name = std::string(absl::StripSuffix(absl::StripPrefix(host, "["), "]"));
  curl_free(host);
  return name;
}

absl::Status Failed(CURLcode code, const char* detail, const std::string& url, bool proxied) {
  const std::string text = absl::StrCat(ShownUrl(url), ": ", MeaningOf(code, proxied),
                                        detail[0] != 0 ? detail : curl_easy_strerror(code));
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
    return absl::InvalidArgumentError(text);
  }
  return absl::UnavailableError(text);
}

// One request, without redirects. `next`: where the reply sends us, or empty.
absl::StatusOr<HttpReply> Perform(CURL* curl, const HttpRequest& request, const std::string& url,
                                  std::string* next) {
  Transfer exchange{curl, request, {}, false, 0, absl::OkStatus()};
  char detail[CURL_ERROR_SIZE] = {};
  exchange.reply.url = url;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  // What needs no network goes through no proxy.
  curl_easy_setopt(curl, CURLOPT_NOPROXY, IsLoopbackUrl(url) ? "*" : nullptr);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnTick);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
  if (code == CURLE_OK && !exchange.begun) Begin(&exchange);
  if (!exchange.status.ok()) return exchange.status;
  const bool refused = exchange.begun && exchange.reply.status >= 400;  // its body was cut short
  if (code != CURLE_OK && !refused)
    return Failed(code, detail, url, !absl::StrContains(detail, HostOf(url)));
  char* location = nullptr;
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &location);
  if (location != nullptr) *next = location;
  return exchange.reply;
}

}  // namespace

absl::StatusOr<HttpReply> HttpGet(const HttpRequest& request, const HttpLimits& limits) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  const Handle curl(curl_easy_init(), curl_easy_cleanup);
  if (global != CURLE_OK || !curl) return absl::InternalError("libcurl does not start");
  const HeaderList headers = Headers(request);
  SetLimits(curl.get(), limits);
  curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "rum");
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  std::string url = request.url;
  for (int step = 0; step <= limits.redirects; ++step) {
    std::string next;
    absl::StatusOr<HttpReply> reply = Perform(curl.get(), request, url, &next);
    if (!reply.ok() || next.empty()) return reply;
    if (absl::Status status = MayRedirect(url, next, request.checked); !status.ok()) return status;
    url = next;
  }
  return absl::UnavailableError(
      absl::StrCat(ShownUrl(request.url), ": more than ", limits.redirects, " redirects"));
}

}  // namespace rum
