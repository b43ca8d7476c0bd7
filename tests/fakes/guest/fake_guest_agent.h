#ifndef RUM_TESTS_FAKES_GUEST_FAKE_GUEST_AGENT_H_
#define RUM_TESTS_FAKES_GUEST_FAKE_GUEST_AGENT_H_

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent-api/client/guest_agent.h"

namespace rum {

// A guest in memory: it outlives the agents that hosts make for it, as a real one does. Members are
// read and changed by tests between calls, under `mutex` when something else runs.
struct FakeGuest {
  FakeGuest() { settings.set_timezone("UTC"); }

  mutable std::mutex mutex;
  std::condition_variable changed;
  bool connected = true;
  std::string boot_id = "boot-1";
  std::string hostname = "localhost";
  std::string static_hostname = "localhost";
  agent::Settings settings;                     // those that its agent knows
  std::set<std::string> strangers = {"ghost"};  // every other user is there, and the same one
  std::set<std::string> no_zones = {"Europe/Nowhere"};
  // CPUs and MiB of memory that the machine has; null: the agent is too old to tell what the guest
  // uses of them.
  std::function<std::pair<uint32_t, uint64_t>()> given;
  uint32_t offline_cpus = 0;                  // of them
  uint64_t used_mb = 200;                     // of the memory
  uint64_t offline_mb = 0;                    // plugged, and not the kernel's yet
  std::set<std::string> groups;               // of the user
  std::set<std::string> keys;                 // "TYPE DATA", of the user
  std::string address = "192.0.2.2";          // empty: none yet
  std::set<std::string> mounted;              // targets
  std::map<std::string, std::string> broken;  // targets that cannot be mounted, and why
  // What its agent tells of its disks, by serial; none: it is of an older rum.
  std::map<std::string, agent::DriveState> drives;
  bool sets_up_cards = false;  // its agent does; else it is of an older rum
  // MAC addresses of cards to which nobody in the guest sees, and why its agent cannot; empty: it
  // can.
  std::map<std::string, std::string> unseen_cards;
  std::set<std::string> own_cards;          // those that its agent has set up
  std::map<std::string, std::string> busy;  // targets that cannot be unmounted, and who uses them
  bool knows_shares = false;                // false: its agent is of an older rum
  bool has_virtiofs = true;
  std::map<std::string, std::string> tags;  // of the shared folders that are mounted, by target
  std::map<std::string, std::string> mounted_elsewhere;  // tags, and by whom
  std::vector<agent::ScriptRun> runs;                    // the ledger
  std::map<std::string, std::string> outputs;            // by run_id
  std::string boot_script_hash;                          // what the agent would run by itself
  std::vector<std::string> cancelled;                    // run_ids
  std::map<std::string, int> exit_statuses;              // of scripts by their text; absent: 0
  std::map<std::string, int> reboots;  // texts that reboot the guest so many times
  std::vector<std::string> executed;   // the texts that ran, in order
  std::vector<std::string> host_keys;  // of its sshd
  int calls = 0;                       // that change something
  absl::Status refused;                // what the client makes of each observation
  absl::Status fail_next;              // of the next call that changes something
  absl::Status fail_after;             // of the one after that
  std::function<void()> on_change;     // set by the host: what the guest pushes

  void SetConnected(bool value);
  // Another boot: hostname from the file, no script is going on, all CPUs are.
  void Reboot(const std::string& new_boot_id);
  int TimesRun(const std::string& script) const;
};

class FakeGuestAgent : public GuestAgent {
 public:
  explicit FakeGuestAgent(std::shared_ptr<FakeGuest> guest) : guest_(std::move(guest)) {}

  absl::Status WaitConnected(absl::Duration timeout) override;
  absl::StatusOr<agent::Observation> Observe(const agent::ObserveRequest& request) override;
  absl::Status SetHostname(const std::string& hostname) override;
  absl::Status Set(const agent::Settings& settings) override;
  absl::Status SetResources(const agent::SetResourcesRequest& request) override;
  absl::Status SetGroups(const agent::SetGroupsRequest& request) override;
  absl::Status SetAuthorizedKeys(const agent::SetAuthorizedKeysRequest& request) override;
  absl::StatusOr<agent::SetStorageReply> SetStorage(
      const agent::SetStorageRequest& request) override;
  absl::Status SetCards(const agent::SetCardsRequest& request) override;
  absl::StatusOr<agent::ScriptRun> RunScript(
      const agent::RunScriptRequest& request,
      const std::function<void(const agent::RunScriptEvent&)>& output) override;
  absl::StatusOr<agent::ScriptRun> FollowRun(
      const agent::FollowRunRequest& request,
      const std::function<bool(const agent::RunScriptEvent&)>& output) override;
  absl::Status CancelRun(const std::string& run_id) override;
  absl::Status SetBootScript(const agent::SetBootScriptRequest& request) override;
  absl::Status Exec(const std::function<bool(agent::ExecInput*)>& next_input,
                    const std::function<void(const agent::ExecOutput&)>& output) override;
  absl::Status Copy(const std::function<bool(agent::CopyMessage*)>& next_input,
                    const std::function<void(const agent::CopyMessage&)>& output) override;
  absl::StatusOr<std::vector<std::string>> ReadHostKeys() override;
  void Dial(uint16_t port, std::function<void(absl::StatusOr<int>)> done) override;

 private:
  // These need the lock.
  absl::Status Session() const;
  absl::Status Begin();  // of a call that changes something
  absl::Status MayRun(const agent::RunScriptRequest& request) const;
  agent::ScriptRun* Find(const std::string& run_id) const;
  agent::RunScriptEvent OutputOf(const std::string& run_id, uint64_t offset) const;
  void TellCards(const agent::ObserveRequest& request, agent::Observation* observation) const;
  void Grant(const agent::DriveWish& wish, agent::DriveState* state);
  agent::Shares Shares(const google::protobuf::RepeatedPtrField<std::string>& leaving) const;
  std::pair<uint32_t, uint64_t> Given();  // without the lock; 0: it cannot tell

  const std::shared_ptr<FakeGuest> guest_;
};

}  // namespace rum

#endif  // RUM_TESTS_FAKES_GUEST_FAKE_GUEST_AGENT_H_
