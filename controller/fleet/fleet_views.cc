// What machines use.
#include <algorithm>
#include <chrono>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/time/clock.h"
#include "agent-api/threads.h"
#include "controller/fleet/fleet.h"

namespace rum {

// A libvirt that hangs has one question of ours before it, however often it is asked.
Controller::UsageLook Controller::LookAtUsages(const std::string& uri,
                                               const std::shared_ptr<Hypervisor>& hypervisor,
                                               const std::vector<MachineIdentity>& machines) {
  std::lock_guard<std::mutex> lock(usage_mutex_);
  UsageLook& look = usage_looks_[uri];
  const bool under_way =
      look.valid() && look.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  if (under_way) return look;
  const auto answer = std::make_shared<std::promise<UsageAnswer>>();
  look = answer->get_future().share();
  absl::StatusOr<std::thread> asking = StartThread([answer, hypervisor, machines] {
    absl::StatusOr<std::map<std::string, Usage>> usages = hypervisor->Usages(machines);
    answer->set_value({std::move(usages), absl::Now()});
  });
  if (asking.ok()) {
    asking->detach();
  } else {
    answer->set_value({asking.status(), absl::Now()});
  }
  return look;
}

absl::StatusOr<std::vector<MachineUsage>> Controller::Usages(const std::string& config_path,
                                                             absl::Duration patience) {
  std::vector<std::shared_ptr<Machine>> wanted;
  std::vector<std::shared_ptr<Machine>> made;
  for (const auto& [id, machine] : Machines()) {
    if (machine->made()) made.push_back(machine);
  }
  if (config_path.empty()) {
    wanted = made;
  } else {
    const MachineOr machine = FindMade(config_path);
    if (!machine.ok()) return machine.status();
    wanted = {*machine};
  }
  // Of each libvirt all machines are asked about: whoever asks at the same time has the same
  // answer.
  std::map<std::string, std::vector<MachineIdentity>> of_uri;
  std::map<std::string, std::string> uri_of;
  for (const std::shared_ptr<Machine>& machine : made) {
    const MachineRecord record = machine->Snapshot();
    const std::string uri = UriOf(record.desired(), record);
    of_uri[uri].push_back(machine->identity());
    uri_of[machine->identity().id] = uri;
  }
  std::map<std::string, UsageLook> looks;
  std::vector<MachineUsage> all;
  for (const std::shared_ptr<Machine>& machine : wanted) {
    MachineUsage& one = all.emplace_back();
    one.machine = machine->identity();
    one.forwards = machine->Forwards();
    if (uri_of.count(one.machine.id) == 0) {
      one.unknown = "it was not made yet: `rum up` makes it";
      continue;
    }
    const std::string& uri = uri_of[one.machine.id];
    if (looks.count(uri) > 0) continue;
    const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = machine->access().Libvirt();
    if (hypervisor.ok()) looks[uri] = LookAtUsages(uri, *hypervisor, of_uri[uri]);
    if (!hypervisor.ok()) one.unknown = std::string(hypervisor.status().message());
  }
  const auto until = std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(patience);
  for (MachineUsage& one : all) {
    const auto look = looks.find(uri_of[one.machine.id]);
    if (!one.unknown.empty() || look == looks.end()) continue;
    if (look->second.wait_until(until) != std::future_status::ready) {
      one.unknown = "libvirt does not answer";
      continue;
    }
    const UsageAnswer& answer = look->second.get();
    if (!answer.usages.ok()) {
      one.unknown = std::string(answer.usages.status().message());
      continue;
    }
    one.at = answer.at;
    const auto usage = answer.usages->find(one.machine.id);
    if (usage != answer.usages->end()) one.usage = usage->second;
  }
  std::sort(all.begin(), all.end(), [](const MachineUsage& a, const MachineUsage& b) {
    return std::tie(a.machine.name, a.machine.config_path) <
           std::tie(b.machine.name, b.machine.config_path);
  });
  return all;
}

}  // namespace rum
