// The store on a disk that loses power or fails, at any of its calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "state/state_store.h"
#include "tests/fakes/disk/fragile_disk.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::HasSubstr;

constexpr char kId[] = "0123456789ab";

MachineRecord Generation(int64_t generation) {
  MachineRecord record;
  record.set_format(1);
  record.set_id(kId);
  record.set_generation(generation);
  record.set_name(std::string(3000, 'n'));
  return record;
}

// 0: there is none. What is damaged or cannot be read is none of these.
int64_t GenerationIn(const std::string& folder) {
  const auto store = OpenFileStateStore(folder);
  if (!store.ok()) return -1;
  const absl::StatusOr<MachineRecord> record = (*store)->Load(kId);
  if (absl::IsNotFound(record.status())) return 0;
  return record.ok() ? record->generation() : -1;
}

class StoreOnAFragileDisk : public testing::Test {
 protected:
  StoreOnAFragileDisk() {
    fs::remove_all(base_);
    fs::create_directories(base_);
  }
  ~StoreOnAFragileDisk() override { fs::remove_all(base_); }

  void Open() {
    auto store = OpenFileStateStore(folder_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void ExpectAfterCuts(FragileDisk* disk, const testing::Matcher<int64_t>& generation) {
    disk->ForEachCut(base_ / "left", [&](const std::string& cut) {
      EXPECT_THAT(GenerationIn(base_ / "left" / "rum"), generation) << cut;
    });
  }

  const fs::path base_ = fs::path(testing::TempDir()) / "fragile";
  const fs::path state_ = base_ / "state";
  const fs::path folder_ = state_ / "rum";
  std::unique_ptr<StateStore> store_;
};

TEST_F(StoreOnAFragileDisk,
       ARecordIsTheOldOrTheNewOneAfterAPowerCutAtAnyCallAndTheNewOneOnceItIsSaved) {
  fs::create_directories(state_);
  Open();
  ASSERT_TRUE(store_->Save(Generation(1)).ok());
  FragileDisk disk(state_);
  disk.AfterEach([&] { ExpectAfterCuts(&disk, AnyOf(1, 2)); });
  ASSERT_TRUE(store_->Save(Generation(2)).ok());
  EXPECT_GE(disk.calls(), 5) << "create, write, sync, rename, sync the folder";
  disk.AfterEach([] {});
  ExpectAfterCuts(&disk, 2);
}

TEST_F(StoreOnAFragileDisk, TheFirstRecordIsThereWithItsFolder) {
  fs::create_directories(state_);
  FragileDisk disk(state_);
  disk.AfterEach([&] { ExpectAfterCuts(&disk, AnyOf(0, 1)); });
  Open();
  ASSERT_TRUE(store_->Save(Generation(1)).ok());
  disk.AfterEach([] {});
  ExpectAfterCuts(&disk, 1);
}

TEST_F(StoreOnAFragileDisk, ARecordThatWasRemovedStaysAway) {
  fs::create_directories(state_);
  Open();
  ASSERT_TRUE(store_->Save(Generation(1)).ok());
  FragileDisk disk(state_);
  ASSERT_TRUE(store_->Remove(kId).ok());
  ExpectAfterCuts(&disk, 0);
}

TEST_F(StoreOnAFragileDisk, AFailureOfAnyCallSaysWhereAndWhatToDoAndTheNextSaveWorks) {
  fs::create_directories(state_);
  Open();
  FragileDisk disk(state_);
  for (const auto& [error, advice] :
       {std::pair(EIO, "dmesg"), std::pair(ENOSPC, "free some space")}) {
    ASSERT_TRUE(store_->Save(Generation(1)).ok());
    int failures = 0;
    for (int nth = 0;; ++nth) {
      disk.Fail(nth, error);
      const absl::Status saved = store_->Save(Generation(2));
      if (disk.failed().empty()) break;
      ++failures;
      EXPECT_TRUE(absl::IsUnavailable(saved)) << nth << ": " << saved;
      EXPECT_THAT(std::string(saved.message()), HasSubstr(folder_.string()));
      EXPECT_THAT(std::string(saved.message()), HasSubstr(std::strerror(error)));
      EXPECT_THAT(std::string(saved.message()), HasSubstr(advice));
      disk.Fail(-1, 0);
      EXPECT_FALSE(fs::exists((folder_ / kId).string() + ".record.new")) << "in the way of others";
      EXPECT_THAT(store_->Load(kId)->generation(), AnyOf(1, 2));
      ASSERT_TRUE(store_->Save(Generation(2)).ok());
      EXPECT_EQ(store_->Load(kId)->generation(), 2);
      ASSERT_TRUE(store_->Save(Generation(1)).ok());
    }
    EXPECT_GE(failures, 5);
    disk.Fail(-1, 0);
  }
}

TEST_F(StoreOnAFragileDisk, AFolderThatCannotBeMadeOrOpenedIsNamed) {
  fs::create_directories(state_);
  FragileDisk disk(state_);
  for (int nth = 0;; ++nth) {
    disk.Fail(nth, ENOSPC);
    const auto store = OpenFileStateStore(folder_);
    if (disk.failed().empty()) break;
    disk.Fail(-1, 0);
    if (store.ok()) continue;  // its mode, which it had already
    EXPECT_THAT(std::string(store.status().message()), HasSubstr(state_.string())) << nth;
    fs::remove_all(folder_);
  }
  disk.Fail(-1, 0);
  EXPECT_EQ(GenerationIn(folder_), 0);
}

TEST_F(StoreOnAFragileDisk, ARemovalThatFailsSaysSoAndIsDoneTheNextTime) {
  fs::create_directories(state_);
  Open();
  ASSERT_TRUE(store_->Save(Generation(1)).ok());
  FragileDisk disk(state_);
  disk.Fail(0, EIO);
  EXPECT_THAT(std::string(store_->Remove(kId).message()), HasSubstr(folder_.string()));
  EXPECT_EQ(store_->Load(kId)->generation(), 1);
  EXPECT_TRUE(store_->Remove(kId).ok());
}

}  // namespace
}  // namespace rum
