#include "controller/fleet/fleet_looks.h"

#include <chrono>
#include <utility>

#include "agent-api/threads.h"

namespace rum {

Controller::Looks::~Looks() {
  for (auto& [id, look] : under_way_) look->thread.join();
}

std::map<std::string, Controller::Looks::Seen> Controller::Looks::Ask(
    const std::vector<std::shared_ptr<Machine>>& machines, absl::Duration patience) {
  std::map<std::string, std::shared_ptr<Look>> asked;
  std::map<std::string, Seen> seen;
  std::unique_lock<std::mutex> lock(mutex_);
  for (const std::shared_ptr<Machine>& machine : machines) {
    const std::string id = machine->identity().id;
    std::shared_ptr<Look>& look = under_way_[id];
    if (look != nullptr && look->done) {
      look->thread.join();  // which has nothing left to do
      look = nullptr;
    }
    if (look == nullptr) {
      look = std::make_shared<Look>();
      absl::StatusOr<std::thread> thread = StartThread([this, machine, look = look.get()] {
        Seen seen;
        seen.status = machine->Status(nullptr, &seen.libvirt_answered);
        std::lock_guard<std::mutex> done(mutex_);
        look->seen = std::move(seen);
        look->done = true;
        ended_.notify_all();
      });
      if (!thread.ok()) {
        seen[id].status.set_error(std::string(thread.status().message()));
        under_way_.erase(id);
        continue;
      }
      look->thread = *std::move(thread);
    }
    asked[id] = look;
  }
  const auto all_done = [&] {
    for (const auto& [id, look] : asked) {
      if (!look->done) return false;
    }
    return true;
  };
  ended_.wait_for(lock, absl::ToChronoMilliseconds(patience), all_done);
  for (const auto& [id, look] : asked) {
    if (look->done) seen[id] = look->seen;
  }
  return seen;
}

}  // namespace rum
