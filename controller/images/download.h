#ifndef RUM_CONTROLLER_IMAGES_DOWNLOAD_H_
#define RUM_CONTROLLER_IMAGES_DOWNLOAD_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/images/cache.pb.h"
#include "controller/images/http.h"
#include "controller/images/progress.h"

namespace rum {

struct DownloadRequest {
  std::string url;
  std::string name;  // in texts for people
  std::string part;  // where the bytes go; part + ".json" says what they are a beginning of
  Validator cached;  // of a version that need not be sent again; empty: none
  // A checksum will be looked at afterwards: an end that is not marked can be believed for now.
  bool has_checksum = false;
  HttpLimits limits;
};

struct Download {
  enum class Outcome {
    kWhole,      // the part is all of it
    kUnchanged,  // the cached version is the present one
    kNoVersion,  // the server cannot be asked, or has none: `why`, NotFound or Unavailable
  };
  Outcome outcome = Outcome::kWhole;
  absl::Status why;
  Validator validator;
};

// Brings the part to its end: from where it stands if it is a beginning of what the server has now,
// else from zero. Whoever calls has the URL to himself. Unavailable: the server has a version, and
// its bytes broke off; the part stays for the next call. ResourceExhausted: the disk is full.
absl::StatusOr<Download> DownloadPart(const DownloadRequest& request, Progress* progress);

// Nothing is left of it. Ok when there is none.
absl::Status RemovePart(const std::string& part);

// A small file as a whole. NotFound: 404 or 410; Unavailable: all else.
absl::StatusOr<std::string> DownloadText(const std::string& url, const HttpLimits& limits,
                                         const Progress& progress);

}  // namespace rum

#endif  // RUM_CONTROLLER_IMAGES_DOWNLOAD_H_
