#ifndef RUM_CLI_FORWARD_URL_H_
#define RUM_CLI_FORWARD_URL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/aspects/plan.pb.h"

namespace rum {

// The forward that `said` names, by the port of the host or else of the guest; empty: the only one.
// What it is not is said with what there is.
absl::StatusOr<ForwardFacts> PickForward(const std::vector<ForwardFacts>& forwards,
                                         const std::string& said);

// Says where a browser of this host finds it. Is made of numbers and an address alone, whatever a
// file or a guest says: InvalidArgument where the host's end is no address.
absl::StatusOr<std::string> UrlOf(const ForwardFacts& forward);

// The words that show `url`: $BROWSER as browsers' manuals have it (programs between colons, %s for
// the URL), else xdg-open where there is a display. Empty: nothing can show it. No shell reads
// them.
struct BrowserEnvironment {
  const char* browser = nullptr;  // null: not set
  const char* display = nullptr;
  const char* wayland_display = nullptr;
  const char* path = nullptr;
};
std::vector<std::string> BrowserWords(const std::string& url, const BrowserEnvironment& here);

}  // namespace rum

#endif  // RUM_CLI_FORWARD_URL_H_
