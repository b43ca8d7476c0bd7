#ifndef RUM_CONTROLLER_GUESTS_CHANNEL_OPENING_H_
#define RUM_CONTROLLER_GUESTS_CHANNEL_OPENING_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent-api/client/guest_agent.h"

namespace rum {

// Opens a channel of a guest when its process wants it, on a thread of its own, for that may block
// in libvirt. Thread-safe.
class ChannelOpening {
 public:
  // Called on that thread with what came of it.
  using Answer = std::function<void(const absl::StatusOr<int>& channel)>;
  ChannelOpening(ChannelOpener open, Answer answer);
  ~ChannelOpening();  // waits for one that is being opened
  ChannelOpening(const ChannelOpening&) = delete;
  ChannelOpening& operator=(const ChannelOpening&) = delete;

  // Unavailable: there is no thread for it. Again where it is not ok.
  absl::Status Begin();
  // False: one is wanted already.
  bool Want();
  // Whatever was wanted, nobody waits for it.
  void Forget();
  // Goes on by another way; empty: there is none.
  void Become(ChannelOpener open);

 private:
  void Work();

  const Answer answer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  ChannelOpener open_;
  bool wanted_ = false;
  int forgotten_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_CHANNEL_OPENING_H_
