// One controller with many machines: bazel run //tests/bench:scale [-- --json --sizes N,N].
//
// The controller, its record store, file watch, listeners and libvirt adapter are the real ones;
// domains are those of libvirt's in-process test driver, agents are simulated in memory. Each size
// is a process of its own.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "controller/fleet/fleet.h"
#include "spdlog/spdlog.h"
#include "tests/bench/table.h"
#include "tests/fakes/guest/fake_guest_agent.h"

namespace rum::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kStuck = 50;
constexpr int kFirstPort = 20000;
constexpr absl::Duration kQuiet = absl::Milliseconds(100);  // of the file watch

struct Flags {
  std::string sizes = "10,100,1000,5000";
  int rounds = 21;
  double window_s = 20;
  bool json = false;
};

struct Figures {
  int machines = 0;
  double start_ms = 0;       // until Start() returned
  double settled_ms = 0;     // until each machine was reconciled once
  double resync_cpu_ms = 0;  // CPU time of one reconcile that finds nothing to do
  double idle_percent = 0;   // of a core: one such reconcile per machine and resync
  double rss_mb = 0;
  int threads = 0;
  double change_ms = 0;        // median, from the save to the effect, without the quiet period
  double change_stuck_ms = 0;  // the same while others hang
  int stuck = 0;
};

// A libvirt whose Inspect hangs for chosen machines.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> held;  // machine ids
  int waiting = 0;

  void Pass(const std::string& id) {
    std::unique_lock<std::mutex> lock(mutex);
    if (held.count(id) == 0) return;
    ++waiting;
    changed.notify_all();
    changed.wait(lock, [&] { return held.count(id) == 0; });
    --waiting;
  }
  void Release() {
    std::lock_guard<std::mutex> lock(mutex);
    held.clear();
    changed.notify_all();
  }
};

class GatedHypervisor : public Hypervisor {
 public:
  GatedHypervisor(std::unique_ptr<Hypervisor> real, Gate* gate)
      : real_(std::move(real)), gate_(gate) {}
  absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) override {
    gate_->Pass(machine.id);
    return real_->Inspect(machine);
  }
  absl::Status Define(const MachineIdentity& machine, const Config& config, Fresh fresh,
                      const Onlooker& onlooker) override {
    return real_->Define(machine, config, fresh, onlooker);
  }
  absl::Status ChangeDisk(const MachineIdentity& machine, const DiskChange& change) override {
    return real_->ChangeDisk(machine, change);
  }
  absl::Status ChangeCard(const MachineIdentity& machine, const CardChange& change) override {
    return real_->ChangeCard(machine, change);
  }
  absl::Status ChangeFolder(const MachineIdentity& machine, const FolderChange& change) override {
    return real_->ChangeFolder(machine, change);
  }
  absl::Status Start(const MachineIdentity& machine) override { return real_->Start(machine); }
  absl::Status PlugCpus(const MachineIdentity& machine, uint32_t cpus) override {
    return real_->PlugCpus(machine, cpus);
  }
  absl::StatusOr<Room> ResizeMemory(const MachineIdentity& machine, uint64_t memory_mb) override {
    return real_->ResizeMemory(machine, memory_mb);
  }
  absl::Status Stop(const MachineIdentity& machine, absl::Duration grace) override {
    return real_->Stop(machine, grace);
  }
  absl::StatusOr<Removal> Remove(const MachineIdentity& machine) override {
    return real_->Remove(machine);
  }
  absl::StatusOr<std::set<std::string>> NetworksOfOthers(const MachineIdentity& machine) override {
    return real_->NetworksOfOthers(machine);
  }
  absl::StatusOr<std::set<std::string>> ImagesInUse() override { return real_->ImagesInUse(); }
  // There is no channel: whoever opens one learns from `opened` whose it would be.
  absl::StatusOr<int> OpenChannel(const MachineIdentity& machine, GuestChannel) override {
    opened = machine.id;
    return absl::UnimplementedError("agents are simulated");
  }
  absl::StatusOr<int> OpenConsole(const MachineIdentity& machine, bool force) override {
    return real_->OpenConsole(machine, force);
  }
  absl::StatusOr<std::string> ConsoleLog(const MachineIdentity& machine, size_t most) override {
    return real_->ConsoleLog(machine, most);
  }
  absl::StatusOr<std::map<std::string, Usage>> Usages(
      const std::vector<MachineIdentity>& machines) override {
    return real_->Usages(machines);
  }
  static thread_local std::string opened;

 private:
  const std::unique_ptr<Hypervisor> real_;
  Gate* const gate_;
};

thread_local std::string GatedHypervisor::opened;

// As one with today's agent: it tells of what changes.
class PushingAgent : public FakeGuestAgent {
 public:
  using FakeGuestAgent::FakeGuestAgent;
  bool Pushes() const override { return true; }
};

double CpuMs() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return absl::ToDoubleMilliseconds(absl::DurationFromTimeval(used.ru_utime) +
                                    absl::DurationFromTimeval(used.ru_stime));
}

double OfProcess(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    double value = 0;
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar("\t "), absl::SkipEmpty());
    if (words.size() > 1 && words[0] == key + ":" && absl::SimpleAtod(words[1], &value))
      return value;
  }
  return 0;
}

void WaitFor(const char* what, const std::function<bool()>& holds) {
  const absl::Time deadline = absl::Now() + absl::Minutes(10);
  while (!holds()) {
    if (absl::Now() > deadline) {
      std::fprintf(stderr, "scale: gave up waiting for %s\n", what);
      std::exit(1);
    }
    absl::SleepFor(absl::Microseconds(200));
  }
}

class Farm {
 public:
  Farm(int machines, const Flags& flags) : flags_(flags), machines_(machines) {
    // What the test driver has is gone with its last connection, and controllers come and go.
    libvirt_ = *ConnectLibvirt("test:///default", "", [](const std::string&) {});
    (void)libvirt_->ImagesInUse();  // it connects when it is first asked
    std::string folder = absl::StrCat(fs::temp_directory_path().string(), "/rum-scale.XXXXXX");
    folder_ = mkdtemp(folder.data());
    for (int i = 0; i < machines; ++i) {
      fs::create_directory(absl::StrCat(folder_, "/", i));
      Save(i, "dev");
      identities_.push_back(*IdentityOf(Path(i)));
      guests_[identities_[i].id] = std::make_shared<FakeGuest>();
    }
  }
  ~Farm() {
    controller_.reset();
    fs::remove_all(folder_);
  }

  Figures Measure() {
    Figures figures;
    figures.machines = machines_;
    Open(absl::Minutes(5));
    UpAll();
    Start(&figures);
    figures.change_ms = Change();
    figures.stuck = std::min(kStuck, machines_ - 1);
    HoldUp(figures.stuck);
    figures.change_stuck_ms = Change();
    gate_.Release();
    figures.rss_mb = OfProcess("VmRSS") / 1024;
    figures.threads = static_cast<int>(OfProcess("Threads"));
    Idle(&figures);
    return figures;
  }

 private:
  std::string Path(int i) const { return absl::StrCat(folder_, "/", i, "/rum.toml"); }

  void Save(int i, const std::string& hostname) const {
    const std::string path = Path(i);
    std::ofstream(path + ".new") << "[image]\nbase = \"/images/debian.qcow2\"\n[resources]\n"
                                 << "cpus = 1\nmemory_mb = 512\n[network]\nhostname = \""
                                 << hostname
                                 << "\"\n[user]\ngroups = [\"docker\"]\n[[ports]]\nhost = "
                                 << kFirstPort + i << "\nguest = 80\n[advanced]\n"
                                 << "libvirt_uri = \"test:///default\"\n";
    fs::rename(path + ".new", path);
  }

  // A controller as the process has it, on what the last one left.
  void Open(absl::Duration resync) {
    controller_.reset();
    ControllerParts parts;
    parts.hypervisor = [this](const std::string& uri, std::function<void(const std::string&)> event)
        -> absl::StatusOr<std::unique_ptr<Hypervisor>> {
      on_event_ = event;
      auto real = ConnectLibvirt(uri, "", std::move(event));
      if (!real.ok()) return real.status();
      return std::make_unique<GatedHypervisor>(*std::move(real), &gate_);
    };
    parts.guest = [this](const std::string&, const ChannelOpener& open, std::function<void()>) {
      (void)open();
      return GuestLink{std::make_unique<PushingAgent>(guests_.at(GatedHypervisor::opened))};
    };
    parts.listeners = [](GuestRoute route) { return MakeListenerSet(std::move(route)); };
    parts.store = *OpenFileStateStore(folder_ + "/state");
    parts.loop.resync = resync;
    controller_ = std::make_unique<Controller>(std::move(parts));
  }

  void UpAll() {
    ApplyOptions up;
    up.up = true;
    for (int i = 0; i < machines_; ++i) {
      const ApplyOutcome outcome = controller_->Apply(Path(i), up, {});
      if (!outcome.failed) continue;
      std::fprintf(stderr, "scale: up of machine %d: %s %s\n", i, outcome.error.c_str(),
                   outcome.status.ToString().c_str());
      std::exit(1);
    }
  }

  double Count(const std::string& name) {
    double sum = 0;
    for (const prometheus::MetricFamily& family : controller_->CollectMetrics()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) sum += metric.counter.value;
    }
    return sum;
  }

  void AwaitAll() {
    WaitFor("all machines to be reconciled", [this] {
      return Count("rum_reconciles_total") >= machines_ && controller_->Settled();
    });
  }

  void Start(Figures* figures) {
    controller_.reset();
    const absl::Time begin = absl::Now();
    Open(absl::Minutes(5));
    if (!controller_->Start().ok()) std::exit(1);
    figures->start_ms = absl::ToDoubleMilliseconds(absl::Now() - begin);
    AwaitAll();
    figures->settled_ms = absl::ToDoubleMilliseconds(absl::Now() - begin);
  }

  // To the first machine's file; until its guest has the name.
  double Change() {
    Series series;
    for (int round = 0; round < flags_.rounds; ++round) {
      const std::string name = absl::StrCat("host-", ++names_);
      const absl::Time begin = absl::Now();
      Save(0, name);
      FakeGuest& guest = *guests_.at(identities_[0].id);
      WaitFor("a change", [&] {
        std::lock_guard<std::mutex> lock(guest.mutex);
        return guest.hostname == name;
      });
      series.ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - begin - kQuiet));
    }
    return series.Median();
  }

  void HoldUp(int count) {
    {
      std::lock_guard<std::mutex> lock(gate_.mutex);
      for (int i = 1; i <= count; ++i) gate_.held.insert(identities_[i].id);
    }
    for (int i = 1; i <= count; ++i) on_event_(identities_[i].domain_name());
    WaitFor("machines to hang", [&] {
      std::lock_guard<std::mutex> lock(gate_.mutex);
      return gate_.waiting == count;
    });
  }

  // A resync of all machines in a window, which stands for one in the five minutes of a real one.
  void Idle(Figures* figures) {
    const absl::Duration window = absl::Seconds(flags_.window_s);
    Open(window);
    if (!controller_->Start().ok()) std::exit(1);
    AwaitAll();
    const double runs = Count("rum_reconciles_total");
    const double cpu = CpuMs();
    absl::SleepFor(2 * window);
    const double spent = CpuMs() - cpu;
    const double resyncs = std::max(1.0, Count("rum_reconciles_total") - runs);
    figures->resync_cpu_ms = spent / resyncs;
    const double resync_s = absl::ToDoubleSeconds(RunLoopOptions().resync);
    figures->idle_percent = figures->resync_cpu_ms * machines_ / resync_s / 10;
  }

  const Flags& flags_;
  const int machines_;
  std::unique_ptr<Hypervisor> libvirt_;
  std::string folder_;
  std::vector<MachineIdentity> identities_;
  std::map<std::string, std::shared_ptr<FakeGuest>> guests_;  // by machine id
  Gate gate_;
  std::function<void(const std::string&)> on_event_;
  int names_ = 0;
  std::unique_ptr<Controller> controller_;
};

std::string Json(const Figures& f) {
  return absl::StrFormat(
      "{\"machines\": %d, \"start_ms\": %.1f, \"settled_ms\": %.1f, \"resync_cpu_ms\": %.3f, "
      "\"idle_percent\": %.3f, \"rss_mb\": %.1f, \"threads\": %d, \"change_ms\": %.2f, "
      "\"change_stuck_ms\": %.2f, \"stuck\": %d}",
      f.machines, f.start_ms, f.settled_ms, f.resync_cpu_ms, f.idle_percent, f.rss_mb, f.threads,
      f.change_ms, f.change_stuck_ms, f.stuck);
}

std::string Row(const Figures& f) {
  return absl::StrFormat("| %d | %.0f | %.0f | %.2f | %.2f | %.0f | %d | %.1f | %.1f (%d) |",
                         f.machines, f.start_ms, f.settled_ms, f.resync_cpu_ms, f.idle_percent,
                         f.rss_mb, f.threads, f.change_ms, f.change_stuck_ms, f.stuck);
}

// A process of its own, so that no size finds the memory of another.
bool Run(int machines, const Flags& flags, bool last) {
  const pid_t child = fork();
  if (child == 0) {
    spdlog::set_level(spdlog::level::err);
    const Figures figures = Farm(machines, flags).Measure();
    std::puts(flags.json ? absl::StrCat("  ", Json(figures), last ? "" : ",").c_str()
                         : Row(figures).c_str());
    std::fflush(stdout);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status == 0;
}

}  // namespace
}  // namespace rum::bench

int main(int argc, char** argv) {
  rum::bench::Flags flags;
  CLI::App app("One controller with many machines; see docs/benchmarks.md.");
  app.add_option("--sizes", flags.sizes, "numbers of machines")->capture_default_str();
  app.add_option("--rounds", flags.rounds, "changes that are timed")->capture_default_str();
  app.add_option("--window", flags.window_s, "seconds in which a resync is measured")
      ->capture_default_str();
  app.add_flag("--json", flags.json, "one object for each size");
  CLI11_PARSE(app, argc, argv);
  const std::vector<std::string> sizes = absl::StrSplit(flags.sizes, ',');
  std::puts(flags.json ? "["
                       : "| machines | start ms | all seen ms | resync CPU ms | idle % of a core | "
                         "RSS MB | threads | change ms | with others stuck ms |\n"
                         "|---|---|---|---|---|---|---|---|---|");
  std::fflush(stdout);
  bool ok = true;
  for (size_t i = 0; i < sizes.size(); ++i) {
    int machines = 0;
    ok = absl::SimpleAtoi(sizes[i], &machines) && machines > 0 &&
         rum::bench::Run(machines, flags, i + 1 == sizes.size()) && ok;
  }
  if (flags.json) std::puts("]");
  return ok ? 0 : 1;
}
