// What a guest's process and its controller do while nothing happens: nothing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "tests/controller/guests/by_process.h"
#include "tests/eventually.h"
#include "tests/fakes/guest/lying_agent.h"

namespace rum {
namespace {

// So long nobody wakes: a thread that looks once a second would have, also on a busy machine,
// where it only comes later.
constexpr unsigned kQuietSeconds = 4;
// The deadlines of the last calls pass meanwhile, without anything to do.
constexpr long kMostSleeps = 1;

// How often each thread went to sleep.
std::map<std::string, long> Sleeps(const std::string& process) {
  std::map<std::string, long> sleeps;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + process + "/task")) {
    std::ifstream status(thread.path() / "status");
    for (std::string word; status >> word;) {
      if (word == "voluntary_ctxt_switches:") status >> sleeps[thread.path().filename()];
    }
  }
  return sleeps;
}

// Since the first of them, by those that were there then.
long Since(const std::map<std::string, long>& before, const std::map<std::string, long>& now) {
  long all = 0;
  for (const auto& [thread, sleeps] : before) {
    const auto still = now.find(thread);
    if (still != now.end()) all += still->second - sleeps;
  }
  return all;
}

TEST(IdleProcessTest, SleepsUntilSomethingHappens) {
  LyingAgent agent{Lies()};
  agent.Serve();
  const auto process = ConnectByProcess(agent.opener());
  ASSERT_TRUE(process->WaitConnected(absl::Seconds(60)).ok());
  ASSERT_TRUE(process->Observe(agent::ObserveRequest()).ok());
  const std::string pid = std::to_string(process->pid());
  long sleeps = 0;
  EXPECT_TRUE(Eventually(
      [&] {
        const auto before = Sleeps(pid);
        sleep(kQuietSeconds);
        sleeps = Since(before, Sleeps(pid));
        return sleeps <= kMostSleeps;
      },
      std::chrono::seconds(60)))
      << sleeps << " times in " << kQuietSeconds << " seconds";
  // And is there when something does.
  EXPECT_TRUE(process->Observe(agent::ObserveRequest()).ok());
}

}  // namespace
}  // namespace rum
