#ifndef RUM_CONTROLLER_GUESTS_PENDING_CALLS_H_
#define RUM_CONTROLLER_GUESTS_PENDING_CALLS_H_

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "controller/guests/call_stream.h"
#include "controller/guests/guests.pb.h"

namespace rum {

// A number that no other call or connection of this controller has.
uint64_t NextNumber();
// Whether some call or connection had that number.
bool WasNumber(uint64_t number);

// A call that a guest's process makes. Thread-safe.
class PendingCall {
 public:
  explicit PendingCall(uint64_t number) : number_(number) {}

  uint64_t number() const { return number_; }
  CallStream& stream() { return stream_; }
  void End(const absl::Status& status, std::string reply);
  // Waits for its end. False: there was none in `patience`.
  bool Await(absl::Duration patience, absl::Status* status, std::string* reply);

 private:
  const uint64_t number_;
  CallStream stream_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  absl::Status status_;
  std::string reply_;
};

// The calls that a guest's process makes. What it says about them is judged here: not ok is what no
// process says. Thread-safe.
class PendingCalls {
 public:
  std::shared_ptr<PendingCall> Add();
  void Forget(const PendingCall& call);
  absl::Status Take(const guests::FromProcess::Answer& answer);
  absl::Status Take(const guests::Piece& piece);
  absl::Status Take(const guests::Taken& taken);
  // The process is no more.
  void Lose(const absl::Status& why);

 private:
  absl::Status Find(uint64_t number, std::shared_ptr<PendingCall>* call);

  std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<PendingCall>> calls_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_PENDING_CALLS_H_
