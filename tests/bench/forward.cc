// Forwards against what people use for them: the same bytes through each, to one guest, in one run,
// taking turns.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/client/guest_agent.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/listeners/listener_set.h"
#include "state/identity.h"
#include "tests/bench/forward_table.h"
#include "tests/bench/guest_side.h"
#include "tests/bench/qemu_agent.h"
#include "tests/bench/traffic.h"
#include "tests/bench/warm_ssh.h"
#include "tests/e2e/world.h"

namespace rum::bench {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(3);
constexpr char kUser[] = "rum";  // the seed's, when the file names none
constexpr uint16_t kServerPort = 7000;

struct Flags {
  int rounds = 5;
  size_t megabytes = 64;
  bool json = false;
};

// A program that runs until this goes.
class Program {
 public:
  explicit Program(const std::vector<std::string>& words) {
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    if (posix_spawnp(&pid_, argv[0], nullptr, nullptr, argv.data(), environ) != 0) pid_ = -1;
  }
  Program(Program&& other) noexcept : pid_(other.pid_) { other.pid_ = -1; }
  ~Program() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
};

absl::Status WaitForEcho(uint16_t port) {
  const absl::Time deadline = absl::Now() + kPatience;
  for (;;) {
    const absl::Status status = FirstByte(port, 1).status();
    if (status.ok() || absl::Now() > deadline) return status;
    absl::SleepFor(absl::Milliseconds(100));
  }
}

// The contenders' ports, and what keeps them open.
class Contenders {
 public:
  Contenders(e2e::World* world, WarmSsh* ssh, std::string address)
      : world_(*world), ssh_(*ssh), address_(std::move(address)) {}

  absl::Status Open() {
    ports_[Contender::kRum] = world_.file.ports[0].host;
    ports_[Contender::kSocat] = e2e::FreePort();
    programs_.emplace_back(std::vector<std::string>{
        "socat",
        absl::StrCat("TCP-LISTEN:", ports_[Contender::kSocat],
                     ",fork,reuseaddr,nodelay,backlog=1024,bind=127.0.0.1"),
        absl::StrCat("TCP:", address_, ":", kServerPort, ",nodelay")});
    absl::Status status = WaitForEcho(ports_[Contender::kSocat]);
    if (status.ok()) status = WaitForEcho(ports_[Contender::kRum]);
    return status.ok() ? OpenFastestSsh() : status;
  }

  // The agent's own stream for each connection, as it was before the forward channel and still is
  // for machines without one. The controller must have let go of the agent's channel.
  absl::Status OpenGrpc() {
    const absl::StatusOr<MachineIdentity> machine =
        IdentityOf(world_.folder() + "/project/rum.toml");
    if (!machine.ok()) return machine.status();
    absl::StatusOr<std::unique_ptr<Hypervisor>> libvirt =
        ConnectLibvirt("qemu:///system", "", [](const std::string&) {});
    if (!libvirt.ok()) return libvirt.status();
    libvirt_ = *std::move(libvirt);
    agent_ = ConnectGuestAgent(
        [this, machine = *machine] { return libvirt_->OpenChannel(machine, GuestChannel::kAgent); },
        nullptr);
    if (absl::Status there = agent_->WaitConnected(kPatience); !there.ok()) return there;
    listeners_ =
        MakeListenerSet([this](uint16_t port, auto done) { agent_->Dial(port, std::move(done)); });
    ports_[Contender::kGrpc] = e2e::FreePort();
    const ForwardState state =
        listeners_->Apply({{"127.0.0.1", ports_[Contender::kGrpc], kServerPort}})[0];
    return state.bound.ok() ? WaitForEcho(ports_[Contender::kGrpc]) : state.bound;
  }

  uint16_t port(Contender contender) const { return ports_.at(contender); }
  bool has(Contender contender) const { return ports_.count(contender) != 0; }
  const std::string& cipher() const { return cipher_; }

 private:
  absl::Status OpenFastestSsh() {
    double best = 0;
    for (const char* cipher :
         {"aes128-gcm@openssh.com", "aes128-ctr", "chacha20-poly1305@openssh.com"}) {
      const uint16_t port = e2e::FreePort();
      std::vector<std::string> argv =
          ssh_.Argv({"-S", "none", "-N", "-c", cipher, "-L",
                     absl::StrCat("127.0.0.1:", port, ":127.0.0.1:", kServerPort),
                     absl::StrCat(kUser, "@", address_)});
      Program tunnel(argv);
      absl::Status status = WaitForEcho(port);
      if (!status.ok()) return status;
      const absl::StatusOr<double> up = Upload(port, 16'000'000);
      const absl::StatusOr<double> down = Download(port, 16'000'000);
      if (!up.ok() || !down.ok()) return up.ok() ? down.status() : up.status();
      if (*up + *down <= best) continue;
      best = *up + *down;
      cipher_ = cipher;
      ports_[Contender::kSsh] = port;
      fastest_ = std::make_unique<Program>(std::move(tunnel));
    }
    return absl::OkStatus();
  }

  e2e::World& world_;
  WarmSsh& ssh_;
  const std::string address_;
  std::map<Contender, uint16_t> ports_;
  std::vector<Program> programs_;
  std::unique_ptr<Program> fastest_;
  std::string cipher_;
  std::shared_ptr<Hypervisor> libvirt_;
  std::unique_ptr<GuestAgent> agent_;
  std::unique_ptr<ListenerSet> listeners_;
};

absl::Status MeasureBulk(const Contenders& contenders, Contender who, const Flags& flags,
                         Figures* figures) {
  const size_t bytes = flags.megabytes * 1'000'000;
  const absl::StatusOr<double> up = Upload(contenders.port(who), bytes);
  if (!up.ok()) return up.status();
  const absl::StatusOr<double> down = Download(contenders.port(who), bytes);
  if (!down.ok()) return down.status();
  figures->up.push_back(*up);
  figures->down.push_back(*down);
  return absl::OkStatus();
}

size_t Samples(size_t connections) { return std::max<size_t>(500, 5 * connections); }

absl::Status Add(const absl::StatusOr<Series>& samples, Series* to) {
  if (samples.ok()) to->ms.insert(to->ms.end(), samples->ms.begin(), samples->ms.end());
  return samples.status();
}

absl::Status MeasureLatency(const Contenders& contenders, Contender who, Figures* figures) {
  const uint16_t port = contenders.port(who);
  for (const size_t connections : kConnections) {
    // Two threads in the guest for each connection: with more of them it does not connect in time.
    if (who == Contender::kGrpc && connections > 100) continue;
    const absl::Status status =
        Add(Echo(port, connections, Samples(connections)), &figures->echo[connections]);
    if (!status.ok()) return status;
  }
  return Add(FirstByte(port, 40), &figures->first_byte);
}

absl::Status MeasureInGuest(const e2e::World& world, Figures* figures) {
  for (const size_t connections : kConnections) {
    const absl::Status status =
        Add(EchoInGuest(world, kServerPort, connections, Samples(connections)),
            &figures->echo[connections]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Rounds(const e2e::World& world, const Contenders& contenders,
                    const std::vector<Contender>& who, const Flags& flags, Table* table) {
  for (int round = 0; round < flags.rounds; ++round) {
    for (size_t i = 0; i < who.size(); ++i) {
      // Each is first, second and last equally often.
      const Contender contender = who[(i + static_cast<size_t>(round)) % who.size()];
      std::fprintf(stderr, "\rround %d of %d, %s      ", round + 1, flags.rounds,
                   NameOf(contender).c_str());
      Figures* figures = &table->figures[contender];
      absl::Status status;
      if (contender == Contender::kGuest) {
        status = MeasureInGuest(world, figures);
      } else {
        status = MeasureBulk(contenders, contender, flags, figures);
        if (status.ok()) status = MeasureLatency(contenders, contender, figures);
      }
      if (!status.ok()) return status;
    }
  }
  std::fprintf(stderr, "\n");
  return absl::OkStatus();
}

absl::Status Measure(const Flags& flags, Table* table) {
  constexpr char kUri[] = "qemu:///system";
  e2e::World world(kUri);
  WarmSsh ssh(world.folder() + "/home");
  const absl::StatusOr<std::string> key = ssh.MakeKey();
  if (!key.ok()) return key.status();
  world.file.groups = "";
  world.file.ports = {{e2e::FreePort(), kServerPort}};
  world.file.more = absl::StrCat("[ssh]\nauthorized_keys = [\"", *key, "\"]\n");
  world.Save();
  if (world.Rum({"up", "-d"}).exit_status != 0) return absl::InternalError("rum up failed");
  absl::StatusOr<QemuAgent> qemu_agent = QemuAgent::Attach(kUri, world.DomainName());
  if (!qemu_agent.ok()) return qemu_agent.status();
  world.Rum({"exec", "--", "systemctl", "start", "qemu-guest-agent", "ssh"});
  absl::Status status = qemu_agent->WaitUntilItAnswers(kPatience);
  if (!status.ok()) return status;
  const absl::StatusOr<std::string> address = qemu_agent->GuestAddress(kPatience);
  if (!address.ok()) return address.status();
  status = ssh.Open(kUser, *address, kPatience);
  if (status.ok()) status = PutInGuest(world);
  if (status.ok()) status = StartTrafficServer(world, kServerPort);
  if (!status.ok()) return status;
  world.Rum({"exec", "--", "systemctl", "is-system-running", "--wait"});
  Contenders contenders(&world, &ssh, *address);
  status = contenders.Open();
  if (!status.ok()) return status;
  table->cipher = contenders.cipher();
  status = Rounds(world, contenders,
                  {Contender::kRum, Contender::kSsh, Contender::kSocat, Contender::kGuest}, flags,
                  table);
  if (!status.ok()) return status;
  // The agent's channel has one client at a time.
  world.StopController();
  status = contenders.OpenGrpc();
  return status.ok() ? Rounds(world, contenders, {Contender::kGrpc}, flags, table) : status;
}

int Main(const Flags& flags) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  utsname names{};
  uname(&names);
  Table table;
  table.machine = absl::StrCat(std::thread::hardware_concurrency(), " cores, ", names.sysname, " ",
                               names.release, ", guest emulated in software with one CPU");
#ifdef NDEBUG
  table.optimized = true;
#endif
  table.rounds = flags.rounds;
  table.megabytes = flags.megabytes;
  const absl::Status status = Measure(flags, &table);
  std::fputs((flags.json ? Json(table) : Text(table)).c_str(), stdout);
  if (status.ok() && !testing::Test::HasFailure()) return 0;
  std::fprintf(stderr, "forward: could not measure all: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace rum::bench

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  signal(SIGPIPE, SIG_IGN);
  constexpr char kUsage[] =
      "usage: bazel run //tests/bench:forward [-- [--rounds N] [--megabytes N] [--json]]\n"
      "Measures rum's forwards, ssh -L, socat over the bridge and a gRPC stream for each "
      "connection\n"
      "on one emulated guest. Ends with 1 if something could not be measured.\n";
  rum::bench::Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const int number = i + 1 < argc ? std::atoi(argv[i + 1]) : 0;
    if (word == "--help" || word == "-h") return std::fputs(kUsage, stdout), 0;
    if (word == "--json") {
      flags.json = true;
    } else if (word == "--rounds" && number > 0) {
      flags.rounds = number, ++i;
    } else if (word == "--megabytes" && number > 0) {
      flags.megabytes = static_cast<size_t>(number), ++i;
    } else {
      return std::fputs(kUsage, stderr), 2;
    }
  }
  return rum::bench::Main(flags);
}
