#ifndef RUM_CONTROLLER_FLEET_FLEET_LOOKS_H_
#define RUM_CONTROLLER_FLEET_FLEET_LOOKS_H_

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "controller/fleet/fleet.h"

namespace rum {

// Asks machines for their status side by side: a libvirt that hangs, whose calls cannot be
// cancelled, keeps the threads that wait for it and no other. One look at a machine at a time.
class Controller::Looks {
 public:
  struct Seen {
    MachineStatus status;
    bool libvirt_answered = false;
  };

  ~Looks();  // waits for all looks
  // Returns, by id, what those say that answered within `patience`.
  std::map<std::string, Seen> Ask(const std::vector<std::shared_ptr<Machine>>& machines,
                                  absl::Duration patience);

 private:
  struct Look {
    std::thread thread;
    bool done = false;
    Seen seen;
  };

  std::mutex mutex_;
  std::condition_variable ended_;
  std::map<std::string, std::shared_ptr<Look>> under_way_;  // by id
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_FLEET_LOOKS_H_
