#ifndef RUM_STATE_STATE_STORE_H_
#define RUM_STATE_STATE_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "state/record.pb.h"

namespace rum {

// Keeps the records of machines. Thread-safe.
class StateStore {
 public:
  virtual ~StateStore() = default;
  // NotFound: there is none. DataLoss: it was damaged; it has been set aside, the message says
  // where.
  virtual absl::StatusOr<MachineRecord> Load(const std::string& id) = 0;
  // Replaces the record as a whole; when it returns Ok the record survives a power cut.
  // Unavailable: the disk does not take it now; the old one is there, or the new one.
  virtual absl::Status Save(const MachineRecord& record) = 0;
  virtual absl::Status Remove(const std::string& id) = 0;  // Ok when there is none
  virtual absl::StatusOr<std::vector<std::string>> List() = 0;
};

// One file a machine below `folder` (made 0700): checksum, write to a temporary, fsync, rename,
// fsync of the folder. Holds a lock on the folder for its life; FailedPrecondition when another
// process has it.
absl::StatusOr<std::unique_ptr<StateStore>> OpenFileStateStore(const std::string& folder);

// A record, or why it cannot be had.
struct StoredRecord {
  std::string id;
  absl::StatusOr<MachineRecord> record;
};

// All records below `folder` by their ids, without its lock and without changing anything: for a
// look where no controller can be asked.
absl::StatusOr<std::vector<StoredRecord>> ReadRecords(const std::string& folder);

}  // namespace rum

#endif  // RUM_STATE_STATE_STORE_H_
