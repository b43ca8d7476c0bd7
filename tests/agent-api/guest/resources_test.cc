// CPUs and memory of a guest, in a folder that stands for the kernel's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/cpus.h"
#include "agent-api/guest/memory.h"
#include "agent-api/guest/text_file.h"
#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::chrono::milliseconds kNoPatience{0};

class Resources : public testing::Test {
 protected:
  // One without a switch where `online` is empty.
  void AddCpu(unsigned number, const std::string& online) {
    const std::string folder = system_ / absl::StrCat("cpu/cpu", number);
    fs::create_directories(folder);
    if (!online.empty()) Spill(folder + "/online", online + "\n");
  }
  std::string Cpu(unsigned number) {
    return FirstLine(Slurp(system_ / absl::StrCat("cpu/cpu", number, "/online")));
  }
  void AddBlock(unsigned number, const std::string& state) {
    const std::string folder = system_ / absl::StrCat("memory/memory", number);
    fs::create_directories(folder);
    Spill(folder + "/state", state + "\n");
  }
  std::string Block(unsigned number) {
    return FirstLine(Slurp(system_ / absl::StrCat("memory/memory", number, "/state")));
  }
  // A machine with four CPUs, of which two are online.
  void SetUp() override {
    AddCpu(0, "");
    AddCpu(1, "1");
    AddCpu(2, "0");
    AddCpu(10, "0");
    fs::create_directories(system_ / "cpu/cpufreq");  // is none
    Spill(system_ / "cpu/online", "0-1\n");
    AddBlock(0, "online");
    AddBlock(32, "offline");
    AddBlock(33, "offline");
    Spill(system_ / "memory/block_size_bytes", "8000000\n");
    Spill(system_ / "memory/auto_online_blocks", "offline\n");
  }

  Folder system_;
};

TEST_F(Resources, OfTheCpusTheLowestComeAndTheHighestGo) {
  EXPECT_EQ(CountCpus(system_.path()).online, 2u);
  EXPECT_EQ(CountCpus(system_.path()).there, 4u);
  EXPECT_EQ(SetOnlineCpus(system_.path(), 3), absl::OkStatus());
  EXPECT_EQ(Cpu(2), "1");
  EXPECT_EQ(Cpu(10), "0");
  EXPECT_EQ(SetOnlineCpus(system_.path(), 4), absl::OkStatus());
  EXPECT_EQ(CountCpus(system_.path()).online, 4u);
  EXPECT_EQ(SetOnlineCpus(system_.path(), 2), absl::OkStatus());
  EXPECT_EQ(Cpu(1), "1");
  EXPECT_EQ(Cpu(2), "0");
  EXPECT_EQ(Cpu(10), "0");
  EXPECT_EQ(SetOnlineCpus(system_.path(), 2), absl::OkStatus()) << "twice is once";
}

TEST_F(Resources, TheCpuThatTheGuestBootedOnStays) {
  AddCpu(0, "1");  // as older kernels have it
  EXPECT_EQ(SetOnlineCpus(system_.path(), 1), absl::OkStatus());
  EXPECT_EQ(Cpu(0), "1");
  EXPECT_EQ(CountCpus(system_.path()).online, 1u);
  EXPECT_EQ(SetOnlineCpus(system_.path(), 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CountCpus(system_.path()).online, 1u);
}

TEST_F(Resources, WithoutHotplugAllCpusAreOnlineAndNoneCanGo) {
  for (const unsigned cpu : {1u, 2u, 10u})
    fs::remove(system_ / absl::StrCat("cpu/cpu", cpu, "/online"));
  Spill(system_ / "cpu/online", "0-2,10\n");
  EXPECT_EQ(CountCpus(system_.path()).online, 4u);
  EXPECT_FALSE(SetOnlineCpus(system_.path(), 2).ok());
  EXPECT_EQ(CountCpus(system_.path()).online, 4u);
}

TEST_F(Resources, ACpuThatIsBeingPluggedIsWaitedFor) {
  // Its folder is there before its switch, and it is not online yet.
  AddCpu(11, "");
  std::thread kernel([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    AddCpu(11, "0");
  });
  EXPECT_EQ(SetOnlineCpus(system_.path(), 5, std::chrono::seconds(60)), absl::OkStatus());
  kernel.join();
  EXPECT_EQ(Cpu(11), "1");
}

TEST_F(Resources, MoreCpusThanThereAreIsAnErrorThatSaysSo) {
  const absl::Status status = SetOnlineCpus(system_.path(), 9, kNoPatience);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has 4 CPUs, 9 are to be online"));
}

TEST_F(Resources, AGuestWithoutThatFolderTellsOfNoCpus) {
  EXPECT_EQ(CountCpus("/nowhere").online, 0u);
  EXPECT_EQ(OfflineMemoryKib("/nowhere"), 0u);
  EXPECT_EQ(BringMemoryOnline("/nowhere"), absl::OkStatus());
}

TEST_F(Resources, MemoryComesOnlineSoThatItCanBeTakenBack) {
  EXPECT_EQ(OfflineMemoryKib(system_.path()), 2u * 128 * 1024);
  EXPECT_EQ(BringMemoryOnline(system_.path()), absl::OkStatus());
  EXPECT_EQ(Block(0), "online");
  for (const unsigned block : {32u, 33u}) EXPECT_EQ(Block(block), "online_movable");
  EXPECT_EQ(Slurp(system_ / "memory/auto_online_blocks"), "online_movable");
  EXPECT_EQ(OfflineMemoryKib(system_.path()), 0u);
}

TEST_F(Resources, MemoryInUseIsReadFromTheKernelsTable) {
  Spill(system_ / "meminfo",
        "MemTotal:         399480 kB\nMemFree:    10 kB\nMemAvailable:     312004 kB\n");
  const MemoryUse use = ReadMemoryUse(system_ / "meminfo");
  EXPECT_EQ(use.total, 399480u);
  EXPECT_EQ(use.available, 312004u);
  EXPECT_EQ(ReadMemoryUse("/nowhere").total, 0u);
}

}  // namespace
}  // namespace rum::guest
