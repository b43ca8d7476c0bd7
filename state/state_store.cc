#include "state/state_store.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "state/file.h"
#include "state/identity.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[] = "rum-record 1 sha256=";
constexpr char kEnding[] = ".record";
constexpr uint32_t kFormat = 1;

absl::Status Failed(const std::string& what, const std::string& path) {
  return absl::InternalError(absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
}

class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  ~OpenFile() {
    if (fd_ >= 0) close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// What the disk cannot take now it may take later.
absl::Status Later(const absl::Status& status) {
  return status.ok() ? status : absl::UnavailableError(status.message());
}

// NotFound: there is none. DataLoss: it is damaged.
absl::StatusOr<MachineRecord> ReadRecord(const std::string& path, const std::string& id) {
  const absl::StatusOr<std::string> bytes = ReadFile(path);
  if (absl::IsNotFound(bytes.status())) {
    return absl::NotFoundError(absl::StrCat("no record of ", id));
  }
  // A disk that does not answer says nothing about the record: it stays where it is.
  if (!bytes.ok()) {
    return absl::InternalError(
        absl::StrCat("read ", path, ": ", std::string(bytes.status().message())));
  }
  const absl::Status damaged = absl::DataLossError(absl::StrCat(path, " is damaged"));
  const size_t end = std::min(bytes->find('\n'), bytes->size());
  const std::string body = bytes->substr(std::min(end + 1, bytes->size()));
  if (bytes->substr(0, end) != kMagic + Sha256Hex(body)) return damaged;
  MachineRecord record;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer rum, whose format the next lines see
  const bool parsed = google::protobuf::util::JsonStringToMessage(body, &record, options).ok();
  if (parsed && record.format() > kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " was written by a newer rum (format ", record.format(), ")"));
  }
  if (parsed && record.id() == id) return record;
  return damaged;
}

absl::StatusOr<std::vector<std::string>> IdsIn(const std::string& folder) {
  std::vector<std::string> ids;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == kEnding) ids.push_back(entry->path().stem());
  }
  if (error) return absl::InternalError(absl::StrCat(folder, ": ", error.message()));
  std::sort(ids.begin(), ids.end());
  return ids;
}

class FileStateStore : public StateStore {
 public:
  FileStateStore(std::string folder, int lock) : folder_(std::move(folder)), lock_(lock) {}

  absl::StatusOr<MachineRecord> Load(const std::string& id) override {
    const std::lock_guard<std::mutex> guard(mutex_);
    absl::StatusOr<MachineRecord> record = ReadRecord(PathOf(id), id);
    return absl::IsDataLoss(record.status()) ? SetAside(id) : record;
  }

  absl::Status Save(const MachineRecord& record) override {
    const std::lock_guard<std::mutex> guard(mutex_);
    std::string json;
    google::protobuf::util::JsonPrintOptions options;
    options.add_whitespace = true;
    options.preserve_proto_field_names = true;
    if (!google::protobuf::util::MessageToJsonString(record, &json, options).ok()) {
      return absl::InternalError(
          absl::StrCat("the record of ", record.id(), " is not valid UTF-8"));
    }
    return Later(
        ReplaceFile(PathOf(record.id()), absl::StrCat(kMagic, Sha256Hex(json), "\n", json)));
  }

  absl::Status Remove(const std::string& id) override {
    const std::lock_guard<std::mutex> guard(mutex_);
    return Later(RemoveFile(PathOf(id)));
  }

  absl::StatusOr<std::vector<std::string>> List() override {
    const std::lock_guard<std::mutex> guard(mutex_);
    return IdsIn(folder_);
  }

 private:
  std::string PathOf(const std::string& id) const { return folder_ + "/" + id + kEnding; }

  absl::Status SetAside(const std::string& id) {
    std::string aside;
    for (int n = 1; aside.empty() || fs::exists(aside); ++n) {
      aside = absl::StrCat(folder_, "/", id, ".damaged-", n);
    }
    if (rename(PathOf(id).c_str(), aside.c_str()) != 0) return Failed("set aside", PathOf(id));
    return absl::DataLossError(
        absl::StrCat("the record of this machine was damaged; it has been kept as ", aside));
  }

  const std::string folder_;
  OpenFile lock_;
  std::mutex mutex_;
};

}  // namespace

absl::StatusOr<std::vector<StoredRecord>> ReadRecords(const std::string& folder) {
  std::vector<StoredRecord> records;
  std::error_code error;
  if (!fs::exists(folder, error) && !error) return records;
  const absl::StatusOr<std::vector<std::string>> ids = IdsIn(folder);
  if (!ids.ok()) return ids.status();
  for (const std::string& id : *ids) {
    records.push_back({id, ReadRecord(absl::StrCat(folder, "/", id, kEnding), id)});
    // Removed just now.
    if (absl::IsNotFound(records.back().record.status())) records.pop_back();
  }
  return records;
}

absl::StatusOr<std::unique_ptr<StateStore>> OpenFileStateStore(const std::string& folder) {
  if (absl::Status made = MakeFolders(folder); !made.ok()) return made;
  std::error_code error;
  fs::permissions(folder, fs::perms::owner_all, error);
  const std::string path = folder + "/lock";
  const int lock = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return Failed("open", path);
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    close(lock);
    return absl::FailedPreconditionError(
        absl::StrCat(folder,
                     " is in use by another controller, which was started with another "
                     "XDG_RUNTIME_DIR or RUM_RUNTIME_DIR: "
                     "`rum controller stop` with the same ends it, or `pkill -f 'rum controller "
                     "run'`; machines go on"));
  }
  return std::make_unique<FileStateStore>(folder, lock);
}

}  // namespace rum
