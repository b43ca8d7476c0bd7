#ifndef RUM_CONTROLLER_SERVICE_EVENT_WRITER_H_
#define RUM_CONTROLLER_SERVICE_EVENT_WRITER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "controller/reconcile/reconciler.h"
#include "controller/service/control.pb.h"

namespace rum {

// Tells a client what happens, on a thread of its own: a client that has gone away, or that does
// not read (`rum up | less`), holds up nothing. Results and progress all wait for it; of a script's
// output at most 1 MiB does. One that reads slowly is waited for; one that has read nothing for
// five seconds gets a line that says how much was left out.
class EventWriter {
 public:
  // `write` may block; false: the client is gone. Unavailable: there is no thread for it.
  static absl::StatusOr<std::unique_ptr<EventWriter>> Begin(
      std::function<bool(const control::ApplyEvent&)> write);
  ~EventWriter();  // waits until all is written, or the client is gone
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  EventSink Sink();  // not to be called after this is gone
  void End(const ApplyOutcome& outcome);

 private:
  explicit EventWriter(std::function<bool(const control::ApplyEvent&)> write)
      : write_(std::move(write)) {}
  void Push(control::ApplyEvent event);
  void PushOutput(const std::string& bytes, bool error);
  void SayWhatWasLeftOut();  // needs the lock
  void WriteAll();

  const std::function<bool(const control::ApplyEvent&)> write_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<control::ApplyEvent> waiting_;
  size_t output_waiting_ = 0;  // bytes
  size_t left_out_ = 0;        // bytes
  bool slow_ = false;          // the client does not read
  bool ended_ = false;
  bool gone_ = false;
  std::thread writer_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_SERVICE_EVENT_WRITER_H_
