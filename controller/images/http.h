#ifndef RUM_CONTROLLER_IMAGES_HTTP_H_
#define RUM_CONTROLLER_IMAGES_HTTP_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rum {

struct HttpLimits {
  absl::Duration connect_timeout = absl::Seconds(30);
  absl::Duration stall =
      absl::Seconds(30);  // whole seconds; this long below the next line: given up
  int64_t stall_bytes_per_second = 1000;
  int redirects = 10;
  std::string ca_file;  // whom https trusts; empty: whom the system trusts
};

// What came before a reply's body.
struct HttpReply {
  long status = 0;
  std::string url;  // after all redirects
  std::string etag;
  std::string last_modified;
  std::string date;
  std::string content_range;
  int64_t content_length = -1;  // -1: not said
  // A cut can be told from the end: there is a length, or a framing that has an end of its own.
  bool end_is_marked = false;
};

struct HttpRequest {
  std::string url;                   // http or https
  bool checked = false;              // the body is compared with a checksum: see MayRedirect
  std::vector<std::string> headers;  // "Name: value"
  // Called once before the body of a reply that is 200 or 206, even when it is empty; other bodies
  // are thrown away. An error ends the exchange and is what HttpGet gives.
  std::function<absl::Status(const HttpReply&)> begin;
  std::function<absl::Status(std::string_view)> write;
  // Some times a second while there is an exchange; bytes per second. An error ends it, as above.
  // May be null.
  std::function<absl::Status(int64_t speed)> tick;
};

// One GET with its redirects (MayRedirect), in a process that ignores SIGPIPE. A reply of any
// status is a reply. Unavailable: there was none, or its body broke off, stalled, or was not
// well-formed. InvalidArgument: not a URL.
absl::StatusOr<HttpReply> HttpGet(const HttpRequest& request, const HttpLimits& limits);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_HTTP_H_
