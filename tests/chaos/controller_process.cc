#include "tests/chaos/controller_process.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "agent-api/run_log/run_log.h"
#include "controller/aspects/run_store.h"
#include "controller/aspects/script_ledger.h"
#include "controller/fleet/machine.h"
#include "state/state_store.h"
#include "tests/fakes/hypervisor/fake_hypervisor.h"
#include "tests/fakes/listeners/fake_listener_set.h"

namespace rum {
namespace {

constexpr char kMark[] = "--as-controller";

// Follows the boot script as soon as there is one, into `path`. Before the machine is up nothing
// can be followed, only told what is kept; a client then begins anew.
void BeClient(Machine* machine, const std::string& path, const std::atomic<bool>* stop) {
  for (bool ended = false; !ended && !*stop; usleep(10 * 1000)) {
    for (const agent::ScriptRun& run : machine->archive().Runs()) {
      if (run.kind() != "boot") continue;
      std::ofstream file(path, std::ios::binary);
      (void)machine->archive().Log(run.run_id(), true, [&](const agent::RunScriptEvent& event) {
        file << event.standard_output() << event.standard_error() << std::flush;
        ended = event.has_ended() && IsOver(event.ended());
        return true;
      });
    }
  }
}

}  // namespace

pid_t StartController(const std::string& folder, AgentProcess* agent, const std::string& client) {
  const int channel = *agent->opener()();
  const int inherited = fcntl(channel, F_DUPFD, 3);
  close(channel);
  std::vector<std::string> words = {"/proc/self/exe", kMark, folder, std::to_string(inherited),
                                    client};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  EXPECT_EQ(posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ), 0);
  close(inherited);
  return pid;
}

bool IsController(int argc, char** argv) { return argc == 5 && std::strcmp(argv[1], kMark) == 0; }

int RunController(char** argv) {
  signal(SIGPIPE, SIG_IGN);
  grpc_init();  // for good, as the controller does: the end of the last user waits up to 10 s
  const std::string folder = argv[2];
  const int channel = std::atoi(argv[3]);
  const std::string client = argv[4];
  auto store = OpenFileStateStore(folder + "/host");
  if (!store.ok()) return 3;
  LinkSources sources;
  const auto hypervisor = std::make_shared<FakeHypervisor>([](const std::string&) {});
  sources.hypervisor = [&](const std::string&) { return hypervisor; };
  sources.guest = [channel](const std::string&, ChannelOpener, std::function<void()> on_change) {
    return GuestLink{ConnectGuestAgent(
        [channel]() -> absl::StatusOr<int> { return fcntl(channel, F_DUPFD_CLOEXEC, 0); },
        std::move(on_change))};
  };
  const auto host = std::make_shared<FakeHost>();
  sources.listeners = [&](GuestRoute) { return std::make_unique<FakeListenerSet>(host); };
  sources.runs = std::make_shared<RunStore>(folder + "/host/runs");
  Machine machine(*IdentityOf(folder + "/dev.rum.toml"), sources, store->get(), MachineKeys(""),
                  [] {});
  std::atomic<bool> stop = false;
  std::thread follower;
  if (!client.empty()) follower = std::thread(BeClient, &machine, client, &stop);
  ApplyOptions up;
  up.up = true;
  const ApplyOutcome outcome = machine.Apply(up, {});
  stop = true;
  if (follower.joinable()) follower.join();
  if (outcome.failed) {
    std::fprintf(stderr, "   up: %s\n", std::string(outcome.status.message()).c_str());
  }
  return outcome.failed ? 1 : 0;
}

std::string OutputIn(const std::string& folder) {
  RunLogReader log(folder, 0);
  std::string all;
  for (OutputPiece piece; log.Next(&piece);) {
    all.resize(piece.offset, '?');
    all += piece.bytes;
  }
  return all;
}

}  // namespace rum
