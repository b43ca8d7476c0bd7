#include "state/state_store.h"

#include <fcntl.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "state/identity.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using google::protobuf::util::MessageDifferencer;

MachineRecord Sample(const std::string& id = "0123456789ab") {
  MachineRecord record;
  record.set_format(1);
  record.set_id(id);
  record.set_name("dev");
  record.set_config_path("/projects/dév/rum.toml");
  record.set_generation(7);
  record.mutable_applied()->mutable_resources()->set_memory_mb(1024);
  (*record.mutable_applied()->mutable_drives())["data"].set_size(uint64_t{1} << 40);
  record.add_runs()->set_kind("boot");
  record.add_owned_groups("docker");
  return record;
}

std::string Bytes(const fs::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

void Write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

class FileStateStore : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "records";
    fs::remove_all(folder_);
    Open();
  }
  void TearDown() override {
    store_.reset();
    fs::remove_all(folder_);
  }
  void Open() {
    store_.reset();
    auto store = OpenFileStateStore(folder_);
    ASSERT_TRUE(store.ok()) << std::string(store.status().message());
    store_ = std::move(*store);
  }
  fs::path File() const { return folder_ / "0123456789ab.record"; }

  fs::path folder_;
  std::unique_ptr<StateStore> store_;
};

TEST_F(FileStateStore, KeepsARecordAcrossProcesses) {
  ASSERT_TRUE(store_->Save(Sample()).ok());
  Open();
  const auto loaded = store_->Load("0123456789ab");
  ASSERT_TRUE(loaded.ok()) << std::string(loaded.status().message());
  EXPECT_TRUE(MessageDifferencer::Equals(*loaded, Sample()));
}

TEST_F(FileStateStore, HasNoRecordOfAMachineThatItNeverSaw) {
  EXPECT_TRUE(absl::IsNotFound(store_->Load("ffffffffffff").status()));
  EXPECT_TRUE(store_->Remove("ffffffffffff").ok());
}

TEST_F(FileStateStore, ListsAndRemoves) {
  for (const char* id : {"bbb", "aaa", "ccc"}) ASSERT_TRUE(store_->Save(Sample(id)).ok());
  ASSERT_TRUE(store_->Remove("bbb").ok());
  EXPECT_EQ(*store_->List(), (std::vector<std::string>{"aaa", "ccc"}));
}

TEST_F(FileStateStore, IsForItsOwnerAlone) {
  ASSERT_TRUE(store_->Save(Sample()).ok());
  struct stat status;
  ASSERT_EQ(stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_EQ(stat(File().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(FileStateStore, BelongsToOneProcessAtATime) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    _exit(OpenFileStateStore(folder_).status().code() == absl::StatusCode::kFailedPrecondition ? 0
                                                                                               : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(FileStateStore, ADamagedRecordIsSetAsideAndReportedAndNeverReplaced) {
  ASSERT_TRUE(store_->Save(Sample()).ok());
  const std::string whole = Bytes(File());
  int n = 0;
  // Cut anywhere, or one bit of any byte turned over.
  for (size_t at = 0; at < whole.size(); at += 17) {
    for (std::string damaged : {whole.substr(0, at), whole}) {
      if (damaged.size() == whole.size()) damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
      Write(File(), damaged);
      const absl::Status status = store_->Load("0123456789ab").status();
      ASSERT_TRUE(absl::IsDataLoss(status)) << at << ": " << std::string(status.message());
      const fs::path aside = folder_ / ("0123456789ab.damaged-" + std::to_string(++n));
      EXPECT_NE(std::string(status.message()).find(aside), std::string::npos);
      EXPECT_EQ(Bytes(aside), damaged);
      EXPECT_TRUE(absl::IsNotFound(store_->Load("0123456789ab").status()));
    }
  }
  EXPECT_TRUE(store_->List()->empty());
}

TEST_F(FileStateStore, ARecordOfAnotherMachineIsDamage) {
  ASSERT_TRUE(store_->Save(Sample()).ok());
  fs::copy_file(File(), folder_ / "eeeeeeeeeeee.record");
  EXPECT_TRUE(absl::IsDataLoss(store_->Load("eeeeeeeeeeee").status()));
}

TEST_F(FileStateStore, ARecordOfANewerRumIsRefusedAndKept) {
  const std::string json = R"({"format": 2, "id": "0123456789ab", "of_the_future": {"x": 1}})";
  const std::string bytes = "rum-record 1 sha256=" + Sha256Hex(json) + "\n" + json;
  Write(File(), bytes);
  const absl::Status status = store_->Load("0123456789ab").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << std::string(status.message());
  EXPECT_EQ(Bytes(File()), bytes);
}

TEST_F(FileStateStore, AFileThatCannotBeReadStaysWhereItIs) {
  fs::create_directories(File());
  const absl::Status status = store_->Load("0123456789ab").status();
  EXPECT_TRUE(absl::IsInternal(status)) << std::string(status.message());
  EXPECT_TRUE(fs::is_directory(File()));
}

TEST_F(FileStateStore, AHalfWrittenReplacementLeavesTheOldRecord) {
  ASSERT_TRUE(store_->Save(Sample()).ok());
  Write(File().string() + ".new", "rum-record 1 sha");
  Open();
  EXPECT_TRUE(MessageDifferencer::Equals(*store_->Load("0123456789ab"), Sample()));
  MachineRecord next = Sample();
  next.set_generation(8);
  ASSERT_TRUE(store_->Save(next).ok());
  EXPECT_EQ(store_->Load("0123456789ab")->generation(), 8);
}

TEST_F(FileStateStore, AFailedSaveSaysSoAndKeepsTheOldRecord) {
  ASSERT_TRUE(store_->Save(Sample()).ok());
  fs::create_directories(File().string() + ".new");  // no file can be made there
  EXPECT_FALSE(store_->Save(Sample()).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(*store_->Load("0123456789ab"), Sample()));
}

// kill -9 at any moment of a save: the record is the old or the new one, whole.
TEST_F(FileStateStore, AProcessKilledWhileItSavesLeavesAWholeRecord) {
  store_.reset();
  for (int round = 0; round < 20; ++round) {
    int ready[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = OpenFileStateStore(folder_);
      MachineRecord record = Sample();
      record.set_name(std::string(1 << 16, 'x'));
      for (int64_t generation = 1;; ++generation) {
        record.set_generation(generation);
        if (!store.ok() || !(*store)->Save(record).ok()) _exit(1);
        if (generation == 1 && write(ready[1], "x", 1) != 1) _exit(1);
      }
    }
    close(ready[1]);
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    usleep(static_cast<useconds_t>(137 * round));  // another moment in each round
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    Open();
    const auto record = store_->Load("0123456789ab");
    ASSERT_TRUE(record.ok()) << std::string(record.status().message());
    EXPECT_GE(record->generation(), 1);
    store_.reset();
  }
}

TEST_F(FileStateStore, KeepsAnyTextThatIsUtf8) {
  EXPECT_TRUE(rc::check([this] {
    MachineRecord record = Sample();
    record.set_config_path(*rc::gen::container<std::string>(
        rc::gen::element('a', '"', '\\', '\n', '\t', '<', '\x1b', '\x7f', '/')));
    RC_ASSERT(store_->Save(record).ok());
    RC_ASSERT(MessageDifferencer::Equals(*store_->Load(record.id()), record));
  }));
}

TEST_F(FileStateStore, RecordsCanBeReadBesideWhoeverHasTheLock) {
  ASSERT_TRUE(store_->Save(Sample("bbbbbbbbbbbb")).ok());
  ASSERT_TRUE(store_->Save(Sample("aaaaaaaaaaaa")).ok());
  Write(folder_ / "cccccccccccc.record", "half a rec");
  const auto records = ReadRecords(folder_);
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 3u);
  EXPECT_EQ((*records)[0].id, "aaaaaaaaaaaa");
  EXPECT_TRUE(MessageDifferencer::Equals(*(*records)[1].record, Sample("bbbbbbbbbbbb")));
  EXPECT_TRUE(absl::IsDataLoss((*records)[2].record.status()));
  EXPECT_TRUE(fs::exists(folder_ / "cccccccccccc.record")) << "it changes nothing";
  EXPECT_TRUE(ReadRecords(folder_ / "nowhere")->empty());
}

// As the build before places were recorded wrote it.
TEST_F(FileStateStore, ReadsRecordsWithoutPlaces) {
  const std::string json =
      R"({"format": 1, "id": "0123456789ab", "name": "dev", "config_path": "/p/dev.toml",
          "applied": {"image": {"base": "x"}, "advanced": {"libvirt_uri": ""}},
          "generation": "3", "want_running": true})";
  Write(folder_ / "0123456789ab.record", "rum-record 1 sha256=" + Sha256Hex(json) + "\n" + json);
  const auto record = store_->Load("0123456789ab");
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->identity_rule(), 0u);
  EXPECT_EQ(record->libvirt_uri(), "");
  EXPECT_EQ(record->config_path(), "/p/dev.toml");
}

}  // namespace
}  // namespace rum
