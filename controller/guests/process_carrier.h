#ifndef RUM_CONTROLLER_GUESTS_PROCESS_CARRIER_H_
#define RUM_CONTROLLER_GUESTS_PROCESS_CARRIER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "controller/guests/process_link.h"
#include "controller/listeners/carrier.h"

namespace rum {

// Gives clients' sockets to a guest's process, which carries them: none of their bytes come by
// here. A client whose process dies is reset by the kernel. io thread only, but for what is said.
class ProcessCarrier : public Carrier {
 public:
  ProcessCarrier(std::shared_ptr<ProcessSender> sender, uint64_t generation)
      : sender_(std::move(sender)), generation_(generation) {}

  uint64_t generation() const { return generation_; }
  void Close();  // resets every connection; any thread

  uint64_t Carry(Fd* client, uint16_t port, std::chrono::milliseconds patience,
                 CarryEvents events) override;
  void Abort(uint64_t connection, const std::string& why) override;
  bool Probe(uint16_t port, std::function<void(int error)> done) override;

  // What the process says; not ok: no process says that. Any thread: the caller waits until the io
  // thread has taken it, so that what is said faster is not kept.
  absl::Status Take(const guests::FromProcess& message);
  // The process is no more. Any thread.
  void Lose(const std::string& why);

 private:
  struct One {
    CarryEvents events;
    uint64_t to_guest = 0;
    uint64_t to_client = 0;
  };

  absl::Status TakeHere(const guests::FromProcess& message);
  static bool Count(One* one, uint64_t to_guest, uint64_t to_client);
  void LoseAll(const std::string& why);
  void Over(uint64_t number, const std::string& why);

  const std::shared_ptr<ProcessSender> sender_;
  const uint64_t generation_;
  bool closed_ = false;
  std::map<uint64_t, One> ones_;
  std::map<uint64_t, std::function<void(int)>> probes_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_PROCESS_CARRIER_H_
