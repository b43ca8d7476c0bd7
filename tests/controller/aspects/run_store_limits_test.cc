// What a guest can make the host keep of its runs.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "agent-api/budget.h"
#include "controller/aspects/run_store.h"
#include "tests/agent-api/guest/folder.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kQuota = 8 << 20;

class RunStoreLimits : public testing::Test {
 protected:
  uint64_t Bytes() const {
    uint64_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      if (entry.is_regular_file()) bytes += entry.file_size();
    }
    return bytes;
  }
  size_t Folders() const {
    if (!fs::exists(folder_ / "runs/m")) return 0;
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_ / "runs/m"), fs::directory_iterator()));
  }
  static size_t Descriptors() {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
  }
  void Write(const std::string& run_id, uint64_t offset, size_t size) {
    agent::RunScriptEvent event;
    event.set_offset(offset);
    event.set_standard_output(std::string(size, 'x'));
    store_.Take("m", run_id, event);
  }
  void End(const std::string& run_id, const std::string& kind, int64_t started_ms) {
    agent::RunScriptEvent event;
    event.mutable_ended()->set_run_id(run_id);
    event.mutable_ended()->set_kind(kind);
    event.mutable_ended()->set_started_ms(started_ms);
    event.mutable_ended()->set_ended_ms(started_ms + 1);
    store_.Take("m", run_id, event);
  }

  const Folder folder_;
  RunStore store_{folder_ / "runs", kQuota};
};

TEST_F(RunStoreLimits, RunsOfInventedKindsMakeNoFiles) {
  for (int i = 0; i < 1000; ++i) {
    agent::ScriptRun run;
    run.set_run_id("run-" + std::to_string(i));
    run.set_kind("kind-" + std::to_string(i));
    store_.Note("m", run);
  }
  EXPECT_EQ(Folders(), 0u);
}

TEST_F(RunStoreLimits, OfRunsThatNobodyKnowsAFewAreKeptAndFewerAreOpen) {
  const size_t before = Descriptors();
  for (int i = 0; i < 100; ++i) Write("run-" + std::to_string(i), 0, 10);
  EXPECT_LE(Folders(), RunStore::kMostUnknown + 1);
  EXPECT_LE(Descriptors(), before + RunStore::kMostWriters);
}

TEST_F(RunStoreLimits, WhatABuildWithoutLimitsLeftGoesAtTheNextOutput) {
  for (int i = 0; i < 100; ++i) {
    const std::string folder = folder_ / ("runs/m/run-" + std::to_string(i));
    fs::create_directories(folder);
    agent::ScriptRun run;
    run.set_run_id("run-" + std::to_string(i));
    run.set_kind("kind-" + std::to_string(i));
    Spill(folder + "/run", run.SerializeAsString());
  }
  Write("one", 0, 10);
  EXPECT_LE(Folders(), kRunKinds * RunStore::kMostRuns + 1);
  EXPECT_EQ(store_.End("m", "one"), 10u);
}

TEST_F(RunStoreLimits, AnEndThatNamesAnotherRunIsNoEnd) {
  Write("one", 0, 10);
  agent::RunScriptEvent event;
  event.mutable_ended()->set_run_id("two");
  event.mutable_ended()->set_kind("boot");
  event.mutable_ended()->set_ended_ms(1);
  store_.Take("m", "one", event);
  EXPECT_FALSE(store_.Whole("m", "one"));
  EXPECT_EQ(Folders(), 1u);
}

TEST_F(RunStoreLimits, AllRunsOfAMachineTakeUpAQuotaAndTheOldestGo) {
  for (int run = 0; run < 10; ++run) {
    const std::string id = "run-" + std::to_string(run);
    for (uint64_t at = 0; at < 2 << 20; at += 64 * 1024) Write(id, at, 64 * 1024);
    End(id, "boot", run);
  }
  EXPECT_LE(Bytes(), kQuota + kQuota / 16);
  EXPECT_GT(Bytes(), kQuota / 2) << "what people look at is there";
  EXPECT_TRUE(store_.Whole("m", "run-9"));
  EXPECT_FALSE(fs::exists(folder_ / "runs/m/run-0"));
}

TEST_F(RunStoreLimits, OffsetsThatRunOverAreNotBelieved) {
  Write("one", 0, 10);
  Write("one", UINT64_MAX - 4, 10);
  EXPECT_EQ(store_.End("m", "one"), 10u);
  agent::RunScriptEvent empty;
  for (uint64_t i = 0; i < 100; ++i) {
    empty.set_offset(1000 * i);
    store_.Take("m", "one", empty);
  }
  EXPECT_EQ(store_.End("m", "one"), 10u);
}

TEST_F(RunStoreLimits, OneThatWasClosedForOthersGoesOnWhereItEnded) {
  for (const char* id : {"one", "other-0", "other-1", "other-2", "other-3"}) {
    agent::ScriptRun run;
    run.set_run_id(id);
    run.set_kind("boot");
    store_.Note("m", run);
  }
  Write("one", 0, 10);
  for (int i = 0; i < 4; ++i) Write("other-" + std::to_string(i), 0, 1);
  Write("one", 5, 10);
  EXPECT_EQ(store_.End("m", "one"), 15u);
}

}  // namespace
}  // namespace rum
