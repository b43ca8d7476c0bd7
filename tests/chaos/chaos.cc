// A machine under fire: its file is saved well, badly and by halves, controller, agent and libvirtd
// are killed, the guest reboots, virsh and people in the guest meddle, all at moments and in an
// order that the seed gives. At rest after it: every live field is as the file says, no script ran
// twice for one content and boot, and neither descriptors, threads, memory, zombies nor listeners
// are left over. On a real VM: bazel run //tests/chaos -- --seed S --seconds N.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/world.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr int kLines = 500;  // that a boot script writes

struct Flags {
  uint32_t seed = 1;
  int seconds = 240;
  int reconciles = 300;  // in which leaks are looked for
};

// What the controller and the processes that it has forked hold together.
struct Holding {
  size_t processes = 0;
  long descriptors = 0;
  long threads = 0;
  long kb = 0;  // resident
};

Holding Held() {
  Holding held;
  for (const pid_t pid : e2e::ProcessesOf({"rum-controller"})) {
    ++held.processes;
    const std::string folder = absl::StrCat("/proc/", pid);
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder + "/fd", error)) {
      (void)entry;
      ++held.descriptors;
    }
    std::ifstream status(folder + "/status");
    for (std::string word; status >> word;) {
      long number = 0;
      if (word == "Threads:" && status >> number) held.threads += number;
      if (word == "VmRSS:" && status >> number) held.kb += number;
    }
  }
  return held;
}

class Chaos {
 public:
  explicit Chaos(const Flags& flags)
      : flags_(flags), random_(flags.seed), world_(std::getenv("RUM_TEST_URI")) {
    for (int i = 0; i < 4; ++i) candidates_.push_back(e2e::FreePort());
  }

  void Run() {
    world_.file.auto_reconcile = true;
    Change();
    world_.Save();
    const e2e::Result up = world_.Rum({"up", "-d"});
    ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
    const auto end = steady_clock::now() + seconds(flags_.seconds);
    while (steady_clock::now() < end && !testing::Test::HasFailure()) {
      Fire();
      std::this_thread::sleep_for(milliseconds(Pick(0, 1500)));
    }
    for (const auto& [what, times] : fired_) std::fprintf(stderr, "%4d %s\n", times, what.c_str());
    Rest();
    CheckLeaks();
  }

 private:
  int Pick(int least, int most) { return std::uniform_int_distribution<>(least, most)(random_); }

  // A file of another content, with what goes live in all combinations.
  void Change() {
    world_.file.hostname = std::vector<std::string>{"dev", "box", "node-3"}[Pick(0, 2)];
    world_.file.groups = std::vector<std::string>{"", "\"docker\"", "\"builders\"",
                                                  "\"docker\", \"builders\""}[Pick(0, 3)];
    world_.file.ports.clear();
    for (const uint16_t port : candidates_) {
      if (Pick(0, 1) == 0) world_.file.ports.push_back({port, 7000});
    }
    // A text that never was: one that comes back within a boot runs again, as each change does. The
    // last thing that it does is to say that it ran.
    world_.file.boot = absl::StrCat("seq ", kLines, "; sleep 0.", Pick(0, 9),
                                    "; echo $(cat /proc/sys/kernel/random/boot_id) boot-", ++texts_,
                                    " >>/var/log/ran");
    world_.file.system = "echo disk system >>/var/log/ran";
  }

  void Fire() {
    static const std::vector<std::pair<const char*, void (Chaos::*)()>> kShots = {
        {"files saved", &Chaos::SaveValid},
        {"files saved", &Chaos::SaveValid},
        {"files saved and reloaded", &Chaos::SaveAndReload},
        {"invalid files saved", &Chaos::SaveInvalid},
        {"files saved by halves", &Chaos::SaveByHalves},
        {"controllers killed", &Chaos::KillController},
        {"guests' processes killed", &Chaos::KillGuestProcess},
        {"agents killed", &Chaos::KillAgent},
        {"libvirtds killed", &Chaos::KillLibvirtd},
        {"guests rebooted", &Chaos::Reboot},
        {"definitions changed by virsh", &Chaos::DefineOtherCpus},
        {"machines paused by virsh", &Chaos::Pause},
        {"hostnames typed", &Chaos::TypeHostname},
        {"users taken from a group", &Chaos::TakeGroup},
    };
    const auto& [what, shot] = kShots[static_cast<size_t>(Pick(0, kShots.size() - 1))];
    ++fired_[what];
    (this->*shot)();
  }

  void SaveValid() { Change(), world_.Save(); }
  void SaveAndReload() {
    Change();
    world_.Save();
    world_.Rum({"reload"});  // may well find the agent away
  }
  void SaveInvalid() {
    static const std::vector<std::string> kBad = {"[image\n", "[[ports]]\nhost = 0\n", "", "\xff",
                                                  "[resources]\ncpus = -1\n"};
    world_.SaveText(kBad[static_cast<size_t>(Pick(0, 4))]);
  }
  // In place, as an editor that does not rename.
  void SaveByHalves() {
    Change();
    const std::string text = world_.file.Toml();
    const size_t half = static_cast<size_t>(Pick(0, static_cast<int>(text.size())));
    std::ofstream file(world_.folder() + "/project/rum.toml", std::ios::trunc);
    file << text.substr(0, half) << std::flush;
    std::this_thread::sleep_for(milliseconds(Pick(0, 300)));
    file << text.substr(half) << std::flush;
  }
  void KillController() {
    for (const pid_t pid : e2e::Controllers()) kill(pid, SIGKILL);  // the others end with it
    if (Pick(0, 1) == 0) world_.Rum({"status"});                    // starts the next one
  }
  void KillGuestProcess() {
    world_.Rum({"exec", "--timeout", "20", "--", "true"});  // there is one
    for (const pid_t pid : e2e::ProcessesOf({"rum-controller"})) {
      std::ifstream name(absl::StrCat("/proc/", pid, "/comm"));
      std::string comm;
      // Not the zygote, which nothing makes again.
      if (std::getline(name, comm) && comm == "rum: project") kill(pid, SIGKILL);
    }
  }
  void KillAgent() {
    world_.Rum({"exec", "--timeout", "20", "--", "sh", "-c", "kill -9 $(pidof rum-agent)"});
  }
  void KillLibvirtd() { e2e::KillAll({"libvirtd"}); }  // its next client starts it
  void Reboot() {
    world_.Rum({"exec", "--timeout", "20", "--", "systemctl", "--no-block", "reboot"});
  }
  void DefineOtherCpus() {
    const std::string domain = world_.DomainName();
    std::string xml = world_.Virsh({"dumpxml", "--inactive", domain}).out;
    const std::string one = ">1</vcpu>";
    const size_t at = xml.find(one);
    if (at == std::string::npos) return;  // not put right yet
    const std::string path = world_.folder() + "/other.xml";
    std::ofstream(path) << xml.replace(at, one.size(), ">2</vcpu>");
    world_.Virsh({"define", path});
  }
  void Pause() {
    const std::string domain = world_.DomainName();
    world_.Virsh({"suspend", domain});
    std::this_thread::sleep_for(milliseconds(Pick(0, 2000)));
    world_.Virsh({"resume", domain});
  }
  void TypeHostname() { world_.Rum({"exec", "--timeout", "20", "--", "hostname", "typed"}); }
  void TakeGroup() {
    world_.Rum({"exec", "--timeout", "20", "--", "gpasswd", "-d", "rum", "docker"});
  }

  void Rest() {
    Change();
    world_.Save();
    // Interrupted scripts and fights that were given up are a person's to begin again.
    e2e::Result up = world_.Rum({"up", "-d"});
    EXPECT_EQ(up.exit_status, 0) << up.out << up.err;
    up = world_.Rum({"reload"});
    EXPECT_EQ(up.exit_status, 0) << up.out << up.err;
    const e2e::Result synced = world_.Rum({"status", "--wait", "Synced", "--timeout", "120"});
    EXPECT_EQ(synced.exit_status, 0) << synced.out << synced.err;
    const e2e::FileSpec& file = world_.file;
    EXPECT_EQ(world_.Guest("hostname"), file.hostname);
    for (const std::string group : {"docker", "builders"}) {
      const bool wanted = file.groups.find(group) != std::string::npos;
      EXPECT_EQ(world_.Guest("id -nG rum | tr ' ' '\\n' | grep -c '^" + group + "$' || true"),
                wanted ? "1" : "0")
          << group;
    }
    EXPECT_EQ(world_.Virsh({"vcpucount", world_.DomainName(), "--maximum", "--config"}).out[0],
              '1');
    const std::string listening = e2e::ListeningPorts();
    for (const uint16_t port : candidates_) {
      const bool wanted = std::any_of(file.ports.begin(), file.ports.end(),
                                      [&](const auto& one) { return one.host == port; });
      EXPECT_EQ(listening.find(absl::StrFormat(":%04X\n", port)) != std::string::npos, wanted)
          << port << " in\n"
          << listening;
    }
    std::map<std::string, int> ran;
    std::istringstream lines(world_.Guest("cat /var/log/ran"));
    for (std::string line; std::getline(lines, line);) ++ran[line];
    EXPECT_EQ(ran["disk system"], 1);
    for (const auto& [content, times] : ran) EXPECT_EQ(times, 1) << content;
    CheckOutputs();
  }

  // What each finished run wrote is on the host, every line of it once.
  void CheckOutputs() {
    int finished = 0;
    std::istringstream runs(world_.Rum({"log", "--list"}).out);
    for (std::string run; std::getline(runs, run);) {
      const std::vector<std::string> words = absl::StrSplit(run, ' ', absl::SkipEmpty());
      // date, time, kind, "0.3 s", run, outcome
      if (words.size() != 7 || words[2] != "boot" || words[6] != "done") continue;
      ++finished;
      std::istringstream lines(world_.Rum({"log", "--run", words[5]}).out);
      int next = 1;
      for (std::string time, number; lines >> time >> number; ++next) {
        if (number != std::to_string(next)) break;
      }
      EXPECT_EQ(next, kLines + 1) << run;
    }
    EXPECT_GT(finished, 0);
  }

  void CheckLeaks() {
    const std::vector<pid_t> controllers = e2e::Controllers();
    ASSERT_EQ(controllers.size(), 1u);
    for (int i = 0; i < 50; ++i) world_.Rum({"apply"});  // what is made once is there
    const Holding before = Held();
    for (int i = 0; i < flags_.reconciles; ++i) world_.Rum({"apply"});
    const Holding after = Held();
    std::fprintf(stderr,
                 "%d reconciles: processes %zu to %zu, descriptors %ld to %ld, threads %ld to %ld, "
                 "resident %ld to %ld "
                 "kB\n",
                 flags_.reconciles, before.processes, after.processes, before.descriptors,
                 after.descriptors, before.threads, after.threads, before.kb, after.kb);
    EXPECT_EQ(after.processes, before.processes);
    EXPECT_EQ(after.processes, 4u);  // the controller, who keeps its zygote, that, the guest's
    EXPECT_LE(after.descriptors, before.descriptors + 4);
    EXPECT_LE(after.threads, before.threads + 4);
    EXPECT_LE(after.kb, before.kb + before.kb / 10 + 2048);
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream stat(entry.path() / "stat");
      std::string text;
      std::getline(stat, text);
      const size_t name = text.rfind(") Z ");
      if (name == std::string::npos) continue;
      const pid_t parent = std::atoi(text.c_str() + name + 4);
      for (const pid_t pid : e2e::ProcessesOf({"rum-controller"})) {
        EXPECT_NE(parent, pid) << "a zombie: " << text;
      }
    }
  }

  const Flags flags_;
  std::mt19937 random_;
  e2e::World world_;
  std::vector<uint16_t> candidates_;
  std::map<std::string, int> fired_;
  int texts_ = 0;
};

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  signal(SIGPIPE, SIG_IGN);
  rum::Flags flags;
  CLI::App app("A machine under fire, by seed.");
  app.add_option("--seed", flags.seed, "of what happens when")->take_last()->capture_default_str();
  app.add_option("--seconds", flags.seconds, "how long")->take_last()->capture_default_str();
  app.add_option("--reconciles", flags.reconciles, "in which leaks are looked for")
      ->take_last()
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::fprintf(stderr, "chaos: seed %u, %d s\n", flags.seed, flags.seconds);
  rum::Chaos(flags).Run();
  return testing::Test::HasFailure() ? 1 : 0;
}
