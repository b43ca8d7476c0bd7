#ifndef RUM_CONTROLLER_FLEET_RECORD_BOX_H_
#define RUM_CONTROLLER_FLEET_RECORD_BOX_H_

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "state/identity.h"
#include "state/record.pb.h"
#include "state/state_store.h"

namespace rum {

// One machine's record as it was saved last: many read it, while whoever has the turn to change the
// machine works on a copy. Thread-safe. As a store it saves a record and then lets the others see
// it, so that a status during a long apply is right.
class RecordBox : public StateStore {
 public:
  // `store` outlives it. `config_path`: where the machine's file is now. `on_load` is called once,
  // when the record is there, with a lock held: it must not ask the box.
  RecordBox(const MachineIdentity& born, StateStore* store,
            std::function<std::string()> config_path,
            std::function<void(const MachineRecord&)> on_load);

  // The record, where the store has just been read; nothing if it is known already.
  void TakeUp(MachineRecord record);
  // Reads it, unless it is known. A damaged one has been set aside by the store: the machine goes
  // on without memory, and load_error() says so.
  absl::Status Ready();
  MachineRecord Get();  // a fresh one, where none could be read
  std::string load_error() const;
  // `up` was said once and `destroy` was not; also when it cannot be read.
  bool made();
  bool want_running();
  // Changes what the others see, and keeps it with the next record that is saved. Returns it.
  MachineRecord Amend(const std::function<void(MachineRecord*)>& amend);
  // Saves what the user consented to. Of a machine that was not made nothing is kept but a word
  // that stands.
  absl::Status SaveWord(const MachineRecord& record);
  // Removes it from the store. The number of its last event goes on, for those who watch.
  absl::Status Forget();

  absl::StatusOr<MachineRecord> Load(const std::string& id) override { return store_->Load(id); }
  absl::Status Save(const MachineRecord& record) override;
  absl::Status Remove(const std::string& id) override { return store_->Remove(id); }
  absl::StatusOr<std::vector<std::string>> List() override { return store_->List(); }

 private:
  MachineRecord Fresh() const;
  MachineRecord TakenOver(MachineRecord record) const;
  void Show(const MachineRecord& record);

  const MachineIdentity born_;
  StateStore* const store_;
  const std::function<std::string()> config_path_;
  const std::function<void(const MachineRecord&)> on_load_;
  mutable std::mutex mutex_;
  bool loaded_ = false;
  std::string load_error_;
  MachineRecord record_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_RECORD_BOX_H_
