// What a guest's process, its agent and the controller for it do while nothing happens: nothing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/controller/guests/by_process.h"
#include "tests/eventually.h"
#include "tests/idle.h"

namespace rum {
namespace {

// So long nobody wakes: a thread that looks once a second would have, also on a busy machine,
// where it only comes later.
constexpr unsigned kQuietSeconds = 4;
// Meanwhile the deadline of the last call passes, without anything to do; the agent looks six times
// a minute whether its host is still there; and this thread is the one that waits here.
constexpr long kMostSleeps = 2;

// How often each thread went to sleep.
std::map<std::string, long> Sleeps(const std::string& process) {
  std::map<std::string, long> sleeps;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + process + "/task")) {
    std::ifstream status(thread.path() / "status");
    const ThreadLook look = ReadThreadLook({std::istreambuf_iterator<char>(status), {}});
    if (look.sleeps_begun >= 0) sleeps[thread.path().filename()] = look.sleeps_begun;
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

TEST(IdleProcessTest, SleepsUntilSomethingHappensAndSoDoTheAgentAndTheController) {
  const Folder folder;
  AgentProcess agent(folder / "state");
  const auto process = ConnectByProcess(agent.opener());
  ASSERT_TRUE(process->WaitConnected(absl::Seconds(60)).ok());
  ASSERT_TRUE(process->Observe(agent::ObserveRequest()).ok());
  const std::string all[] = {std::to_string(process->pid()), std::to_string(agent.pid()), "self"};
  std::string told;
  EXPECT_TRUE(Eventually(
      [&] {
        std::map<std::string, std::map<std::string, long>> before;
        for (const std::string& one : all) before[one] = Sleeps(one);
        sleep(kQuietSeconds);
        bool quiet = true;
        told.clear();
        for (const std::string& one : all) {
          const long sleeps = Since(before[one], Sleeps(one));
          told += one + " " + std::to_string(sleeps) + " times ";
          quiet = quiet && sleeps <= kMostSleeps;
        }
        return quiet;
      },
      std::chrono::seconds(60)))
      << told << "in " << kQuietSeconds << " seconds";
  // And they are there when something does.
  EXPECT_TRUE(process->Observe(agent::ObserveRequest()).ok());
}

}  // namespace
}  // namespace rum
