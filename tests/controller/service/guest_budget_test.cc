// What a guest that lies costs the controller, and the other machine: the numbers of
// docs/security.md ("What a guest may cost"). A controller with all of its own but libvirt has two
// machines, whose guests are processes of their own, as is what listens to each of them; one of the
// guests lies in one way after the other.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "agent-api/channel/socket_io.h"
#include "controller/base/fd.h"
#include "controller/fleet/fleet.h"
#include "controller/guests/guest_link.h"
#include "controller/listeners/listener_set.h"
#include "controller/service/control.grpc.pb.h"
#include "controller/service/server.h"
#include "state/state_store.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/eventually.h"
#include "tests/fakes/hypervisor/fake_hypervisor.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// What becomes of the liar's own machine, from which is seen that the lie was heard.
enum class Liar { kGoesOn, kIsNotReachable, kIsNotAsked };

// tests/fakes/guest/lying_guest.cc knows what each of them is.
const std::pair<const char*, Liar> kLies[] = {
    {"runs that there are not", Liar::kIsNotReachable},
    {"a hostname of 300 kB", Liar::kIsNotReachable},
    {"another hostname each time", Liar::kGoesOn},
    {"an answer of 3 MB", Liar::kIsNotReachable},
    {"a reason of 40 kB", Liar::kIsNotReachable},
    {"a build id of 4 MB", Liar::kIsNotReachable},
    {"no answer", Liar::kIsNotAsked},  // it would take as long as the patience with a call
    {"notices without end", Liar::kGoesOn},
    {"sessions that break at once", Liar::kIsNotReachable},
    {"resets without end", Liar::kIsNotReachable},
    {"headers without end", Liar::kIsNotReachable},
    {"pings without end", Liar::kIsNotReachable},
    {"forwards: resets without end", Liar::kGoesOn},
    {"forwards: window updates without end", Liar::kGoesOn},
    {"forwards: pushes and streams", Liar::kGoesOn},
};

// docs/security.md has these.
constexpr size_t kMostMemory = 4 << 20;
constexpr size_t kMostDescriptors = 8;
constexpr size_t kMostThreads = 8;
constexpr size_t kMostState = 512 << 10;
constexpr double kMostCpus = 0.5;
// And of the process that listens to the liar.
constexpr size_t kMostProcessKb = 16 << 10;
constexpr size_t kMostProcessDescriptors = 32;
constexpr size_t kMostProcessThreads = 32;
constexpr double kMostProcessCpus = 1;
constexpr double kMostDelay = 2;  // of a look at another machine, by its usual time

constexpr std::chrono::seconds kPatience{60};  // with what comes about by itself

// How often the liar is halted and goes on, and how many looks at the other machine there are each
// time: both kinds of looks meet the same noise of the host's.
constexpr int kRounds = 24;
constexpr int kLooks = 3;

size_t Entries(const std::string& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

size_t BytesIn(const std::string& folder) {
  size_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

double CpuSeconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// The lines of a file of /proc/PID.
std::string ProcFile(pid_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream list(task.path() / "children");
    for (pid_t child; list >> child;) children.push_back(child);
  }
  return children;
}

// The process that listens to the guest of `machine`, below those that make them; -1: there is none
// now.
pid_t ProcessOf(const std::string& machine, pid_t above = getpid()) {
  for (const pid_t pid : ChildrenOf(above)) {
    const std::string name = ProcFile(pid, "comm");
    if (name == "rum: " + machine + "\n") return pid;
    const pid_t below = name == "rum: guests\n" ? ProcessOf(machine, pid) : -1;
    if (below > 0) return below;
  }
  return -1;
}

size_t PrivateKb(pid_t pid) {
  const std::string lines = ProcFile(pid, "smaps_rollup");
  const size_t at = lines.find("Private_Dirty:");
  return at == std::string::npos ? 0 : std::stoul(lines.substr(at + strlen("Private_Dirty:")));
}

double CpuSecondsOf(pid_t pid) {
  const std::string stat = ProcFile(pid, "stat");
  std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 2)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

size_t Grown(size_t before, size_t now) { return now > before ? now - before : 0; }

template <typename Number>
Number Median(std::vector<Number> all) {
  std::nth_element(all.begin(), all.begin() + static_cast<ptrdiff_t>(all.size() / 2), all.end());
  return all[all.size() / 2];
}

// A guest's ends of its two channels, and the process behind them.
class Guest {
 public:
  Guest() {
    for (auto [port, channel] :
         {std::pair{&port_, &channel_}, std::pair{&forward_port_, &forward_channel_}}) {
      int one = -1;
      int other = -1;
      EXPECT_TRUE(SocketPair(&one, &other));
      *port = Fd(one);
      *channel = Fd(other);
    }
  }
  ~Guest() { Stop(); }

  void Start(const std::string& lie) {
    const int ports[] = {dup(port_.get()), dup(forward_port_.get())};  // without close-on-exec
    std::vector<std::string> words = {RUM_LYING_GUEST, lie, std::to_string(ports[0]),
                                      std::to_string(ports[1])};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, RUM_LYING_GUEST, nullptr, nullptr, argv.data(), environ), 0);
    for (const int port : ports) close(port);
  }
  void Stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    int status = 0;
    waitpid(pid_, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "it ended by itself";
    pid_ = -1;
  }
  void Halt() const { kill(pid_, SIGSTOP); }
  void GoOn() const { kill(pid_, SIGCONT); }
  int Open(GuestChannel channel) const {
    const Fd& end = channel == GuestChannel::kAgent ? channel_ : forward_channel_;
    return fcntl(end.get(), F_DUPFD_CLOEXEC, 0);
  }

 private:
  Fd port_, channel_, forward_port_, forward_channel_;
  pid_t pid_ = -1;
};

struct Costs {
  size_t memory = 0;
  size_t descriptors = 0;
  size_t threads = 0;
  size_t state = 0;
};

// Of the process that listens to the liar.
struct ProcessCosts {
  size_t kb = 0;
  size_t descriptors = 0;
  size_t threads = 0;

  void Add(pid_t pid) {
    std::error_code gone;
    kb = std::max(kb, PrivateKb(pid));
    const auto count = [&](const char* what) {
      const std::string folder = "/proc/" + std::to_string(pid) + "/" + what;
      return static_cast<size_t>(
          std::distance(fs::directory_iterator(folder, gone), fs::directory_iterator()));
    };
    descriptors = std::max(descriptors, count("fd"));
    threads = std::max(threads, count("task"));
  }
};

class GuestBudget : public testing::Test {
 protected:
  GuestBudget() {
    signal(SIGPIPE, SIG_IGN);
    grpc_init();                                    // for good, as in rum
    std::string folder = "/tmp/rum-budget.XXXXXX";  // short: a socket's path has at most 107 bytes
    socket_folder_ = mkdtemp(folder.data());
    ControllerParts parts;
    parts.hypervisor = [this](const std::string&, std::function<void(const std::string&)> event)
        -> absl::StatusOr<std::unique_ptr<Hypervisor>> {
      return std::make_unique<Channels>(this, std::move(event));
    };
    parts.guest = [](const std::string& machine, ChannelOpener open,
                     std::function<void()> on_change) {
      return LinkGuest(machine, std::move(open), std::move(on_change), "");
    };
    parts.listeners = [](GuestRoute route) { return MakeListenerSet(std::move(route)); };
    fs::create_directory(folder_ / "state");
    parts.store = *OpenFileStateStore(folder_ / "state");
    parts.run_folder = folder_ / "state/runs";
    controller_ = std::make_unique<Controller>(std::move(parts));
    EXPECT_TRUE(controller_->Start().ok());
    server_ = *ControlServer::Listen(socket_folder_ + "/s", controller_.get(), [] {});
    client_ = control::Control::NewStub(
        grpc::CreateChannel("unix:" + socket_folder_ + "/s", grpc::InsecureChannelCredentials()));
    for (const char* name : {"liar", "other"}) {
      fs::create_directory(folder_ / name);
      std::ofstream(File(name)) << "[image]\nbase = \"/images/debian.qcow2\"\n[resources]\n"
                                   "cpus = 1\nmemory_mb = 512\n[network]\nhostname = \"dev\"\n";
    }
  }
  ~GuestBudget() override {
    controller_->Stop();
    server_.reset();
    controller_.reset();
    fs::remove_all(socket_folder_);
  }

  std::string File(const std::string& name) const { return folder_ / (name + "/rum.toml"); }

  // With an honest guest.
  void Up(const std::string& name) {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      guests_[name] = std::make_unique<Guest>();
      guests_[name]->Start("none");
    }
    ApplyOptions options;
    options.up = true;
    const ApplyOutcome outcome = controller_->Apply(File(name), options, EventSink());
    ASSERT_FALSE(outcome.failed) << outcome.error;
  }

  MachineStatus::Phase PhaseOf(const std::string& name) {
    grpc::ClientContext context;
    control::MachineRequest request;
    request.set_config_path(File(name));
    MachineStatus status;
    EXPECT_TRUE(client_->Status(&context, request, &status).ok());
    return status.phase();
  }
  // How long one takes.
  double LookAtOther() {
    const auto begin = Clock::now();
    EXPECT_EQ(PhaseOf("other"), MachineStatus::RUNNING);
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  Costs Now() const {
    const struct mallinfo2 heap = mallinfo2();
    return {heap.uordblks + heap.hblkhd, Entries("/proc/self/fd"), Entries("/proc/self/task"),
            BytesIn(folder_ / "state")};
  }

  void Lie(const std::string& lie, Liar becomes) {
    SCOPED_TRACE(lie);
    Up("liar");
    Guest* const liar = guests_["liar"].get();
    const Costs before = Now();
    liar->Stop();
    liar->Start(lie);
    std::vector<double> usual;
    std::vector<double> meanwhile;
    double cpu = 0;
    double cpu_of_process = 0;
    double took = 0;
    Costs most;
    ProcessCosts process;
    const pid_t listener = ProcessOf("liar");
    EXPECT_GT(listener, 0);
    for (int round = 0; round < kRounds; ++round) {
      liar->Halt();
      double used = CpuSeconds();
      for (int i = 0; i < kLooks; ++i) usual.push_back(LookAtOther());
      const double of_looks = CpuSeconds() - used;
      liar->GoOn();
      used = CpuSeconds();
      const double used_by_process = CpuSecondsOf(listener);
      const auto begin = Clock::now();
      for (int i = 0; i < kLooks; ++i) meanwhile.push_back(LookAtOther());
      took += std::chrono::duration<double>(Clock::now() - begin).count();
      cpu += std::max(0.0, CpuSeconds() - used - of_looks);
      cpu_of_process += CpuSecondsOf(listener) - used_by_process;
      process.Add(listener);
      const Costs now = Now();
      most = {std::max(most.memory, now.memory), std::max(most.descriptors, now.descriptors),
              std::max(most.threads, now.threads), std::max(most.state, now.state)};
    }
    const double delay = Median(meanwhile) / Median(usual);
    std::printf(
        "%-40s %6zu kB, %2zu descriptors, %2zu threads, %3zu kB state, %4.2f CPUs; its process "
        "%5zu kB, %2zu descriptors, %2zu threads, %4.2f CPUs; a look %.2f ms, then %.2f\n",
        lie.c_str(), Grown(before.memory, most.memory) >> 10,
        Grown(before.descriptors, most.descriptors), Grown(before.threads, most.threads),
        Grown(before.state, most.state) >> 10, cpu / took, process.kb, process.descriptors,
        process.threads, cpu_of_process / took, 1e3 * Median(usual), delay);
    std::fflush(stdout);
    EXPECT_LE(Grown(before.memory, most.memory), kMostMemory);
    EXPECT_LE(Grown(before.descriptors, most.descriptors), kMostDescriptors);
    EXPECT_LE(Grown(before.threads, most.threads), kMostThreads);
    EXPECT_LE(Grown(before.state, most.state), kMostState);
    EXPECT_LE(cpu / took, kMostCpus);
    EXPECT_LE(process.kb, kMostProcessKb);
    EXPECT_LE(process.descriptors, kMostProcessDescriptors);
    EXPECT_LE(process.threads, kMostProcessThreads);
    EXPECT_LE(cpu_of_process / took, kMostProcessCpus);
    EXPECT_EQ(ProcessOf("liar"), listener) << "it was enough for a lie to end it";
    delays_.push_back({lie, Median(usual), Median(meanwhile)});
    usual_.insert(usual_.end(), usual.begin(), usual.end());
    if (becomes != Liar::kIsNotAsked) {
      const bool goes_on = becomes == Liar::kGoesOn;
      EXPECT_TRUE(Eventually([&] { return (PhaseOf("liar") == MachineStatus::RUNNING) == goes_on; },
                             kPatience));
    }
    controller_->Down(File("liar"), EventSink(), false);
    liar->Stop();
  }

  // A libvirt in memory, with the channels of the guests that there are.
  class Channels : public FakeHypervisor {
   public:
    Channels(GuestBudget* world, std::function<void(const std::string&)> on_event)
        : FakeHypervisor(std::move(on_event)), world_(*world) {}
    absl::StatusOr<int> OpenChannel(const MachineIdentity& machine, GuestChannel channel) override {
      const std::lock_guard<std::mutex> guard(world_.mutex_);
      for (const auto& [name, guest] : world_.guests_) {
        if (machine.config_path == world_.File(name)) return guest->Open(channel);
      }
      return absl::UnavailableError("no such guest");
    }

   private:
    GuestBudget& world_;
  };

  // Medians, in seconds.
  struct Delay {
    std::string lie;
    double usual = 0;
    double meanwhile = 0;
  };
  std::vector<Delay> delays_;
  std::vector<double> usual_;  // all looks while the liar was halted

  const Folder folder_;
  std::string socket_folder_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Guest>> guests_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<control::Control::Stub> client_;
};

TEST_F(GuestBudget, ALiarCostsItsOwnMachineAlone) {
  Up("other");
  for (int i = 0; i < 10 * kLooks; ++i) LookAtOther();
  for (const auto& [lie, becomes] : kLies) Lie(lie, becomes);
  // Its usual time is that of the whole run, or of the moment, where the host has become busier.
  const double usual = Median(usual_);
  for (const Delay& delay : delays_) {
    EXPECT_LT(delay.meanwhile / std::max(usual, delay.usual), kMostDelay) << delay.lie;
  }
}

TEST_F(GuestBudget, AProcessThatDiesDegradesItsOwnMachineAndOnlyForAMoment) {
  Up("other");
  Up("liar");
  const pid_t others = ProcessOf("other");
  for (const int how : {SIGKILL, SIGSEGV, SIGABRT}) {
    const pid_t pid = ProcessOf("liar");
    ASSERT_GT(pid, 0);
    ASSERT_EQ(kill(pid, how), 0);
    EXPECT_TRUE(Eventually(
        [&] {
          LookAtOther();
          const pid_t now = ProcessOf("liar");
          return now > 0 && now != pid && PhaseOf("liar") == MachineStatus::RUNNING;
        },
        kPatience));
  }
  EXPECT_EQ(ProcessOf("other"), others);
}

}  // namespace
}  // namespace rum
