#ifndef RUM_CONTROLLER_GUESTS_CHANNEL_DESK_H_
#define RUM_CONTROLLER_GUESTS_CHANNEL_DESK_H_

#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/guests/outlet.h"

namespace rum {

// Asks the controller, who may connect, for the guest's channels, from the guest's process.
// Thread-safe; one thread wants a channel at a time.
class ChannelDesk {
 public:
  explicit ChannelDesk(Outlet* outlet) : outlet_(*outlet) {}

  // Waits until the controller has opened it or said why not.
  absl::StatusOr<int> Want(guests::Channel channel);
  void Opened(const guests::ToProcess::Opened& opened, Fd fd);
  // While it is shut, nobody waits for it.
  void Shut(guests::Channel channel, bool shut);

 private:
  struct Place {
    bool shut = false;
    bool wanted = false;
    std::optional<absl::Status> status;  // the answer
    Fd fd;
  };

  Outlet& outlet_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Place, 2> places_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_CHANNEL_DESK_H_
