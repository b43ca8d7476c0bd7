#ifndef RUM_TESTS_FAKES_STATE_MEMORY_STATE_STORE_H_
#define RUM_TESTS_FAKES_STATE_MEMORY_STATE_STORE_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "state/state_store.h"

namespace rum {

// A disk in memory: what outlives a controller.
struct MemoryDisk {
  std::mutex mutex;
  std::map<std::string, MachineRecord> records;
  int saves = 0;
  absl::Status fail_saves;
};

// Records on a MemoryDisk.
class MemoryStateStore : public StateStore {
 public:
  explicit MemoryStateStore(std::shared_ptr<MemoryDisk> disk) : disk_(std::move(disk)) {}

  absl::StatusOr<MachineRecord> Load(const std::string& id) override {
    std::lock_guard<std::mutex> lock(disk_->mutex);
    auto found = disk_->records.find(id);
    if (found == disk_->records.end()) return absl::NotFoundError("no record of " + id);
    return found->second;
  }
  absl::Status Save(const MachineRecord& record) override {
    std::lock_guard<std::mutex> lock(disk_->mutex);
    if (!disk_->fail_saves.ok()) return disk_->fail_saves;
    disk_->records[record.id()] = record;
    ++disk_->saves;
    return absl::OkStatus();
  }
  absl::Status Remove(const std::string& id) override {
    std::lock_guard<std::mutex> lock(disk_->mutex);
    disk_->records.erase(id);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List() override {
    std::lock_guard<std::mutex> lock(disk_->mutex);
    std::vector<std::string> ids;
    for (const auto& [id, record] : disk_->records) ids.push_back(id);
    return ids;
  }

 private:
  const std::shared_ptr<MemoryDisk> disk_;
};

}  // namespace rum

#endif  // RUM_TESTS_FAKES_STATE_MEMORY_STATE_STORE_H_
