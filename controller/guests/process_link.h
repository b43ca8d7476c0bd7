#ifndef RUM_CONTROLLER_GUESTS_PROCESS_LINK_H_
#define RUM_CONTROLLER_GUESTS_PROCESS_LINK_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/channel/session_pace.h"
#include "controller/guests/frames.h"
#include "controller/guests/guests.pb.h"
#include "controller/guests/zygote.h"

namespace rum {

// Says things to a guest's process, whichever there is. Never waits: a process that does not take
// what it is told is ended. Thread-safe.
class ProcessSender {
 public:
  ProcessSender();

  // False: there is no process now, and `fd` stays the caller's.
  bool Send(const guests::ToProcess& message, Fd&& fd = Fd());
  // The process said what none says: it is ended, and that is why.
  void Refuse(const std::string& why);
  // So many descriptors wait that no more should.
  bool Crowded();

 private:
  friend class ProcessLink;
  // What is waiting goes out; false: it cannot.
  bool Flush();
  void Wake() const;

  std::mutex mutex_;
  Fd wake_;    // eventfd: there is something to do for the link
  Fd socket_;  // none: there is no process
  FrameWriter writer_;
  std::string refused_;
};

// Does what SpawnGuestProcess() does, which is the one but for tests.
using ProcessMaker = std::function<absl::StatusOr<Leashed>(const std::string& machine, Fd socket)>;

// Keeps a process for one guest: makes it, listens to it, and makes another one when it has ended,
// later each time where that is at once. Its functions are called on its thread.
class ProcessLink {
 public:
  struct Events {
    // What a process is told first.
    std::function<std::vector<guests::ToProcess>()> on_begin;
    // Not ok: no process says that.
    std::function<absl::Status(const guests::FromProcess& message)> on_message;
    // Why there is no process now. Unavailable: the last one has ended; DataLoss: it said what none
    // says; ResourceExhausted: none is to be had.
    std::function<void(const absl::Status& why)> on_end;
  };
  ProcessLink(std::string machine, ProcessMaker make, Events events);
  ~ProcessLink() { Stop(); }
  ProcessLink(const ProcessLink&) = delete;
  ProcessLink& operator=(const ProcessLink&) = delete;

  // Is called once, but again where it is not ok: there was no thread.
  absl::Status Begin();
  void Stop();  // lets the process say goodbye; nothing is called any more
  const std::shared_ptr<ProcessSender>& sender() const { return sender_; }
  pid_t pid() const { return pid_; }  // -1: there is none

 private:
  void Keep();
  absl::Status Live(Leashed* process);
  std::string Listen();
  bool Hear(FrameReader* reader, std::string* why);
  bool Pause(std::chrono::milliseconds pause);

  const std::string machine_;
  const ProcessMaker make_;
  const Events events_;
  const std::shared_ptr<ProcessSender> sender_ = std::make_shared<ProcessSender>();
  std::atomic<pid_t> pid_ = -1;
  std::atomic<bool> stopping_ = false;
  Pace unasked_;  // what the process says by itself
  std::mutex begin_;
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_PROCESS_LINK_H_
