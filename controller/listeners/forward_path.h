#ifndef RUM_CONTROLLER_LISTENERS_FORWARD_PATH_H_
#define RUM_CONTROLLER_LISTENERS_FORWARD_PATH_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "controller/listeners/carrier.h"

namespace rum {

// Keeps the forward channel of one running machine open: a thread opens it, for that may block, and
// the io thread carries what goes through it. Thread-safe.
class ForwardPath {
 public:
  // `open` gives a connected stream socket that the path then owns. NotFound: the machine has no
  // such channel, so that the path stays closed; every other error passes.
  explicit ForwardPath(std::function<absl::StatusOr<int>()> open, HostEndTimes times = {});
  ~ForwardPath();  // resets every connection. Not on the io thread
  ForwardPath(const ForwardPath&) = delete;
  ForwardPath& operator=(const ForwardPath&) = delete;

  // Unavailable: threads or descriptors have run out, so that nothing will ever go through it.
  const absl::Status& status() const;
  // May outlive the path, closed.
  std::shared_ptr<Carrier> carrier() const;

 private:
  class Parts;
  const std::shared_ptr<Parts> parts_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_LISTENERS_FORWARD_PATH_H_
