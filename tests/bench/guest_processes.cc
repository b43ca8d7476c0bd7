// What the process of a guest costs: bazel run //tests/bench:guest_processes [-- COUNT SECONDS].
// Each has a session with the real agent and a way for forwards, and is left alone for a while.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "controller/guests/guest_process.h"
#include "controller/guests/guest_side.h"
#include "controller/guests/zygote.h"
#include "tests/bench/real_agent.h"

namespace rum {
namespace {

using Clock = std::chrono::steady_clock;

// The deadline of the last call is over by then.
constexpr unsigned kUntilIdle = 15;

struct Machine {
  explicit Machine(const std::string& state) : agent(state) {}
  ~Machine() {
    if (carrier != nullptr) carrier->Close();
  }

  const RealAgent agent;
  std::unique_ptr<GuestProcess> process;
  std::shared_ptr<ProcessCarrier> carrier;
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

// How often its threads went to sleep, and so were woken.
long Sleeps(pid_t pid) {
  long all = 0;
  for (const auto& thread : std::filesystem::directory_iterator(Proc(pid, "task"))) {
    all += Field(thread.path() / "status", "voluntary_ctxt_switches:");
  }
  return all;
}

// What goes up while nothing happens, of the guests' processes, their agents and this one.
struct Spent {
  double cpu = 0;
  long sleeps = 0;
  long agents = 0;
  long here = 0;
};

template <typename Number>
Number Median(std::vector<Number> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

Spent Look(const std::vector<std::unique_ptr<Machine>>& machines) {
  Spent spent;
  for (const auto& machine : machines) {
    spent.cpu += CpuSeconds(machine->process->pid());
    spent.sleeps += Sleeps(machine->process->pid());
    spent.agents += Sleeps(machine->agent.pid());
  }
  spent.here = Sleeps(getpid());
  return spent;
}

void Print(const std::vector<std::unique_ptr<Machine>>& machines, const Spent& before,
           const Spent& after, double seconds) {
  std::vector<long> share;
  std::vector<long> dirty;
  std::vector<long> threads;
  for (const auto& machine : machines) {
    const pid_t pid = machine->process->pid();
    share.push_back(Field(Proc(pid, "smaps_rollup"), "Pss:"));
    dirty.push_back(Field(Proc(pid, "smaps_rollup"), "Private_Dirty:"));
    threads.push_back(Field(Proc(pid, "status"), "Threads:"));
  }
  const double each = seconds * static_cast<double>(machines.size());
  std::printf(
      "PSS %ld kB, private dirty %ld kB, %ld threads (medians)\n"
      "idle: %.4f %% of a CPU, woken %.2f times a minute, its agent %.1f, this process for it %.2f "
      "(means)\n",
      Median(share), Median(dirty), Median(threads), 100 * (after.cpu - before.cpu) / each,
      60.0 * static_cast<double>(after.sleeps - before.sleeps) / each,
      60.0 * static_cast<double>(after.agents - before.agents) / each,
      60.0 * static_cast<double>(after.here - before.here) / each);
}

int Measure(size_t count, unsigned seconds) {
  std::vector<std::unique_ptr<Machine>> machines;
  std::vector<double> until_connected;
  for (size_t i = 0; i < count; ++i) {
    machines.push_back(std::make_unique<Machine>("/tmp/rum-bench-" + std::to_string(getpid())));
    Machine& machine = *machines.back();
    const auto begin = Clock::now();
    machine.process = std::make_unique<GuestProcess>(
        "bench", machine.agent.channel(), [] {}, std::string());
    if (!machine.process->WaitConnected(absl::Seconds(60)).ok()) return 1;
    machine.carrier = machine.process->Forwards(machine.agent.forward(), nullptr);
    until_connected.push_back(
        std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    if (!machine.process->Observe(agent::ObserveRequest()).ok()) return 1;
  }
  std::printf("%zu processes, %.1f ms until connected (median)\n", count, Median(until_connected));
  sleep(kUntilIdle);
  const Spent before = Look(machines);
  sleep(seconds);
  Print(machines, before, Look(machines), seconds);
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
