// The ledger on a disk that loses power or fails, at any of its calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "controller/hypervisor/ledger.h"
#include "tests/fakes/disk/fragile_disk.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LedgerOnAFragileDisk : public testing::Test {
 protected:
  LedgerOnAFragileDisk() {
    fs::remove_all(base_);
    fs::create_directories(state_);
    Use(state_);
  }
  ~LedgerOnAFragileDisk() override { fs::remove_all(base_); }

  static void Use(const fs::path& state) { setenv("RUM_STATE_DIR", state.c_str(), 1); }
  static Ledger Open() { return Ledger("0123456789ab", "qemu:///session"); }
  template <typename Volumes>
  void ExpectAfterCuts(FragileDisk* disk, const Volumes& volumes) {
    disk->ForEachCut(base_ / "left", [&](const std::string& cut) {
      Use(base_ / "left");
      EXPECT_THAT(Open().volumes(), volumes) << cut;
      Use(state_);
    });
  }

  const fs::path base_ = fs::path(testing::TempDir()) / "fragile-ledger";
  const fs::path state_ = base_ / "state";
};

TEST_F(LedgerOnAFragileDisk, WhatIsAboutToBeMadeIsKnownAfterAPowerCutFromTheFirstTimeOn) {
  FragileDisk disk(state_);
  Ledger ledger = Open();
  disk.AfterEach([&] { ExpectAfterCuts(&disk, AnyOf(IsEmpty(), ElementsAre("/pool/a"))); });
  ASSERT_TRUE(ledger.AddVolume("/pool/a").ok());
  disk.AfterEach([&] {
    ExpectAfterCuts(&disk, AnyOf(ElementsAre("/pool/a"), ElementsAre("/pool/a", "/pool/b")));
  });
  ASSERT_TRUE(ledger.AddVolume("/pool/b").ok());
  disk.AfterEach([] {});
  ExpectAfterCuts(&disk, ElementsAre("/pool/a", "/pool/b"));
  ASSERT_TRUE(ledger.ForgetVolume("/pool/a").ok() && ledger.ForgetVolume("/pool/b").ok());
  ExpectAfterCuts(&disk, IsEmpty());
}

TEST_F(LedgerOnAFragileDisk, WhatCouldNotBeWrittenIsNotTakenForWritten) {
  FragileDisk disk(state_);
  for (const int error : {EIO, ENOSPC}) {
    for (int nth = 0;; ++nth) {
      Ledger ledger = Open();
      disk.Fail(nth, error);
      const absl::Status noted = ledger.AddVolume("/pool/a");
      if (disk.failed().empty()) break;
      EXPECT_FALSE(noted.ok()) << nth;
      EXPECT_THAT(std::string(noted.message()), HasSubstr(state_.string()));
      disk.Fail(-1, 0);
      ASSERT_TRUE(ledger.AddVolume("/pool/a").ok()) << "the same, said again";
      EXPECT_THAT(Open().volumes(), ElementsAre("/pool/a")) << nth;
      ASSERT_TRUE(ledger.ForgetVolume("/pool/a").ok());
      fs::remove_all(state_ / "made");
    }
    disk.Fail(-1, 0);
    ASSERT_TRUE(Open().ForgetVolume("/pool/a").ok());
  }
}

TEST_F(LedgerOnAFragileDisk, OneThatCannotBeReadNowIsNotReplaced) {
  ASSERT_TRUE(Open().AddVolume("/pool/a").ok());
  const fs::path file = state_ / "made" / "0123456789ab.json";
  fs::rename(file, state_ / "kept");
  fs::create_directory(file);  // what can be read as little as a bad sector
  Ledger ledger = Open();
  EXPECT_THAT(std::string(ledger.readable().message()), HasSubstr(file.string()));
  EXPECT_FALSE(ledger.AddVolume("/pool/b").ok());
  EXPECT_FALSE(ledger.SawDisks("/pool/b", "nonce", {}).ok());
  EXPECT_TRUE(fs::is_directory(file));
  fs::remove(file);
  fs::rename(state_ / "kept", file);
  EXPECT_TRUE(Open().readable().ok());
  EXPECT_THAT(Open().volumes(), ElementsAre("/pool/a"));
}

TEST_F(LedgerOnAFragileDisk, OneThatIsDamagedIsLearnedAnew) {
  fs::create_directories(state_ / "made");
  std::ofstream(state_ / "made" / "0123456789ab.json") << "{\"there\": [{\"uri";
  Ledger ledger = Open();
  EXPECT_TRUE(ledger.readable().ok());
  EXPECT_TRUE(ledger.AddVolume("/pool/a").ok());
}

}  // namespace
}  // namespace rum
