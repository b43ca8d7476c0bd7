// A script that writes ten lines a second survives three controllers that are killed, and one
// client after another sees each line once. By hand: --seconds 300.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/chaos/controller_process.h"

namespace rum {
namespace {

constexpr int kKilled = 3;
int seconds = 12;

TEST(LongScript, NoLineIsMissingOrDoubledForAnyClient) {
  EnterPrivateEtc();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const Folder folder;
  const int lines = seconds * 10;
  ASSERT_EQ(mkdir((folder / "host").c_str(), 0700), 0);
  Spill(folder / "dev.rum.toml",
        absl::StrCat("[image]\nbase = \"/images/debian.qcow2\"\n[resources]\ncpus = 1\n"
                     "memory_mb = 512\n[network]\nwait_for_ip = false\n[provision.boot]\nscript = "
                     "'i=0; while [ $i -lt ",
                     lines, " ]; do echo line $i; i=$((i+1)); echo $i > ", folder / "at",
                     "; sleep 0.1; done'\n"));
  std::string expected;
  for (int i = 0; i < lines; ++i) absl::StrAppend(&expected, "line ", i, "\n");
  AgentProcess agent(folder / "disk");
  for (int controller = 0; controller <= kKilled; ++controller) {
    const pid_t pid =
        StartController(folder.path(), &agent, folder / ("client-" + std::to_string(controller)));
    int status = 0;
    if (controller < kKilled) {
      // When the script has come so far.
      const int part = lines * (controller + 1) / (kKilled + 1);
      while (std::atoi(Slurp(folder / "at").c_str()) < part) usleep(10 * 1000);
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
    } else {
      waitpid(pid, &status, 0);
      EXPECT_EQ(status, 0);
    }
  }
  for (int client = 0; client <= kKilled; ++client) {
    const std::string seen = Slurp(folder / ("client-" + std::to_string(client)));
    EXPECT_EQ(seen, expected.substr(0, seen.size())) << "client " << client;
    EXPECT_FALSE(seen.empty()) << "client " << client;
    std::fprintf(stderr, "client %d saw %zu of %zu bytes\n", client, seen.size(), expected.size());
    EXPECT_TRUE(client < kKilled || seen.size() == expected.size()) << "the last one sees all";
  }
}

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (rum::IsController(argc, argv)) return rum::RunController(argv);
  CLI::App app("kills controllers while a script writes");
  app.add_option("--seconds", rum::seconds, "how long the script runs")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  signal(SIGPIPE, SIG_IGN);
  return RUN_ALL_TESTS();
}
