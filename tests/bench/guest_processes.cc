// What the process of a guest costs: bazel run //tests/bench:guest_processes [-- COUNT SECONDS].
// Each has a session with an agent that has nothing to tell, and is left alone for a while.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "controller/guests/guest_process.h"
#include "controller/guests/guest_side.h"
#include "controller/guests/zygote.h"
#include "tests/fakes/guest/lying_agent.h"

namespace rum {
namespace {

using Clock = std::chrono::steady_clock;

struct Machine {
  LyingAgent agent{Lies()};
  std::unique_ptr<GuestProcess> process;
};

std::string Proc(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

// A line `name` of a file, in kB or as it is.
long Field(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(name, 0) == 0) return std::atol(line.c_str() + name.size());
  }
  return -1;
}

double CpuSeconds(pid_t pid) {
  std::ifstream file(Proc(pid, "stat"));
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

template <typename Number>
Number Median(std::vector<Number> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

int Measure(size_t count, unsigned seconds) {
  std::vector<std::unique_ptr<Machine>> machines;
  std::vector<double> until_connected;
  for (size_t i = 0; i < count; ++i) {
    machines.push_back(std::make_unique<Machine>());
    Machine& machine = *machines.back();
    machine.agent.Serve();
    const auto begin = Clock::now();
    machine.process = std::make_unique<GuestProcess>(
        "bench", machine.agent.opener(), [] {}, std::string());
    if (!machine.process->WaitConnected(absl::Seconds(60)).ok()) return 1;
    until_connected.push_back(
        std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    if (!machine.process->Observe(agent::ObserveRequest()).ok()) return 1;
  }
  sleep(2);
  double before = 0;
  for (const auto& machine : machines) before += CpuSeconds(machine->process->pid());
  sleep(seconds);
  double after = 0;
  std::vector<long> share;
  std::vector<long> dirty;
  std::vector<long> threads;
  for (const auto& machine : machines) {
    const pid_t pid = machine->process->pid();
    after += CpuSeconds(pid);
    share.push_back(Field(Proc(pid, "smaps_rollup"), "Pss:"));
    dirty.push_back(Field(Proc(pid, "smaps_rollup"), "Private_Dirty:"));
    threads.push_back(Field(Proc(pid, "status"), "Threads:"));
  }
  std::printf(
      "%zu processes: PSS %ld kB, private dirty %ld kB, %ld threads, %.1f ms until connected, "
      "idle %.3f %% of a CPU (medians; idle: mean)\n",
      count, Median(share), Median(dirty), Median(threads), Median(until_connected),
      100 * (after - before) / seconds / static_cast<double>(count));
  return 0;
}

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  if (!rum::StartZygote(argc, argv, rum::BeGuestProcess).ok()) return 1;
  signal(SIGPIPE, SIG_IGN);
  const int count = argc > 1 ? std::atoi(argv[1]) : 20;
  const int seconds = argc > 2 ? std::atoi(argv[2]) : 30;
  const int failed = rum::Measure(static_cast<size_t>(count), static_cast<unsigned>(seconds));
  std::fflush(stdout);
  _exit(failed);
}
