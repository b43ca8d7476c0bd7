// Exactly once under fire: a system and a boot script on the real agent, in a hostname, an /etc and
// a boot id of its own, under the real reconciler in a process of its own, while the controller,
// the agent and the whole guest are killed at random moments. In the end each script ran to success
// once (system: for the disk, boot: in the boot), no run ran twice, what was interrupted is known
// as that, and the host has the output of every run that is over, byte for byte.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/ledger.h"
#include "controller/aspects/run_store.h"
#include "controller/aspects/script_ledger.h"
#include "state/identity.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/chaos/controller_process.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr char kBootId[] = "/proc/sys/kernel/random/boot_id";
constexpr int kMostUps = 40;  // until the machine is as its file says

// Of all processes that live, by pid.
std::map<pid_t, pid_t> Parents() {
  std::map<pid_t, pid_t> parents;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid < 1) continue;
    const std::string stat = Slurp(entry.path() / "stat");
    const size_t name_end = stat.rfind(')');
    char state = 'Z';
    pid_t parent = 0;
    if (name_end == std::string::npos ||
        std::sscanf(stat.c_str() + name_end + 1, " %c %d", &state, &parent) != 2) {
      continue;
    }
    if (state != 'Z' && state != 'X') parents[pid] = parent;
  }
  return parents;
}

// A guest on a disk of its own, the host beside it, and what kills them.
class Round {
 public:
  Round(const std::string& folder, const std::set<pid_t>& bystanders, uint32_t seed)
      : folder_(folder),
        bystanders_(bystanders),
        random_(seed),
        agent_((Prepare(), folder + "/disk")) {}

  void Run() {
    const int kills = Pick(0, 5);
    for (int up = 0; up < kMostUps; ++up) {
      const pid_t controller = StartController(folder_, &agent_);
      if (up < kills) {
        usleep(static_cast<useconds_t>(Pick(0, 600)) * 1000);
        const int victim = Pick(0, 3);
        if (victim == 0) ++killed_["agent"], agent_.Kill(), agent_.Start();
        if (victim == 1) ++killed_["guest"], KillGuest(controller), Boot();
        if (victim >= 2) ++killed_["controller"], kill(controller, SIGKILL);
      }
      int status = 0;
      waitpid(controller, &status, 0);
      if (up >= kills && status == 0) return Check();
    }
    ADD_FAILURE() << "not converged after " << kMostUps << " ups";
  }

  std::map<std::string, int> killed_;
  int interrupted_ = 0;

 private:
  int Pick(int least, int most) { return std::uniform_int_distribution<>(least, most)(random_); }

  void Prepare() {
    fs::create_directories(folder_ + "/host");
    const std::string script = absl::StrCat(
        "for i in 1 2 3 4 5 6 7 8 9 10; do echo \\\"$RUM_KIND $i\\\"; echo \\\"error $i\\\" >&2; "
        "sleep 0.0",
        Pick(1, 3), "; done; run=${0%/*}; echo \\\"${run##*/}\\\" >> ", folder_, "/ran");
    std::ofstream(folder_ + "/dev.rum.toml")
        << "[image]\nbase = \"/images/debian.qcow2\"\n[resources]\ncpus = 1\nmemory_mb = 512\n"
        << "[network]\nwait_for_ip = false\n[provision.system]\nscript = \"" << script
        << "\"\n[provision.boot]\nscript = \"" << script << "\"\n";
    NewBootId();
  }

  void NewBootId() {
    boot_id_ = absl::StrCat("boot-", random_());
    std::ofstream(kBootId) << boot_id_ << "\n";
  }

  void Boot() {
    NewBootId();
    agent_.Start();
  }

  // As a power cut does: all that descends from us, but for the controller and what was there
  // before us. Nothing else tells what belongs to the guest: a process in the middle of an exec has
  // no environment.
  void KillGuest(pid_t controller) {
    agent_.Kill();
    for (bool any = true; any;) {
      any = false;
      const std::map<pid_t, pid_t> parents = Parents();
      for (const auto& [pid, parent] : parents) {
        pid_t above = pid;
        while (above > 1 && above != controller && bystanders_.count(above) == 0) {
          const auto next = parents.find(above);
          above = next == parents.end() ? 0 : next->second;
        }
        if (above != getpid() || pid == getpid()) continue;
        kill(pid, SIGKILL);
        any = true;
      }
    }
  }

  void Check() {
    std::map<std::string, int> ran;  // by run_id
    std::ifstream lines(folder_ + "/ran");
    for (std::string line; std::getline(lines, line);) ++ran[line];
    std::map<std::string, int> succeeded;  // by kind and boot
    const RunStore store(folder_ + "/host/runs");
    const std::string id = IdentityOf(folder_ + "/dev.rum.toml")->id;
    const guest::Ledger ledger(folder_ + "/disk/ledger");
    for (const agent::ScriptRun& run : ledger.runs()) {
      const std::string& name = run.run_id();
      EXPECT_TRUE(IsOver(run)) << name;
      const bool interrupted = run.ending() == agent::ScriptRun::INTERRUPTED;
      interrupted_ += interrupted ? 1 : 0;
      EXPECT_TRUE(interrupted || Succeeded(run)) << run.ShortDebugString();
      EXPECT_LE(ran[name], 1) << name << " ran twice";
      if (Succeeded(run)) {
        ++succeeded[run.kind() == "boot" ? "boot in " + run.boot_id() : "system"];
        EXPECT_EQ(ran[name], 1) << name;
      }
      const std::string here = OutputIn(store.FolderOf(id, name));
      EXPECT_TRUE(store.Whole(id, name)) << name;
      EXPECT_EQ(here, OutputIn(folder_ + "/disk/runs/" + name)) << name;
      EXPECT_EQ(here.find('?'), std::string::npos) << name;
      EXPECT_TRUE(interrupted || here.size() == run.output_bytes()) << name;
    }
    for (const auto& [what, times] : succeeded) EXPECT_EQ(times, 1) << what;
    EXPECT_EQ(succeeded.count("system"), 1u);
    EXPECT_EQ(succeeded.count("boot in " + boot_id_), 1u);
    // An agent that is killed between a start mark and the start interrupts what never began.
    EXPECT_LE(interrupted_, killed_["guest"] + killed_["agent"]);
  }

  const std::string folder_;
  const std::set<pid_t>& bystanders_;
  std::mt19937 random_;
  std::string boot_id_;
  AgentProcess agent_;
};

int Chaos(uint32_t seed, int rounds) {
  std::set<pid_t> bystanders;
  for (const auto& [pid, parent] : Parents()) bystanders.insert(pid);
  EnterPrivateEtc();
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // what a guest's init does
  std::string folder = absl::StrCat(fs::temp_directory_path().string(), "/chaos-XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) return 1;
  std::ofstream(folder + "/boot_id") << "boot\n";
  if (mount((folder + "/boot_id").c_str(), kBootId, nullptr, MS_BIND, nullptr) != 0) return 1;
  std::map<std::string, int> killed;
  int interrupted = 0;
  int round = 0;
  for (; round < rounds && !testing::Test::HasFailure(); ++round) {
    const std::string here = absl::StrCat(folder, "/", round);
    fs::create_directories(here);
    Round one(here, bystanders, seed + static_cast<uint32_t>(round));
    one.Run();
    for (const auto& [what, times] : one.killed_) killed[what] += times;
    interrupted += one.interrupted_;
    std::error_code ignored;
    if (!testing::Test::HasFailure()) fs::remove_all(here, ignored);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
  std::fprintf(stderr,
               "%d rounds from seed %u: killed controllers %d, agents %d, guests %d; runs "
               "interrupted %d\n",
               round, seed, killed["controller"], killed["agent"], killed["guest"], interrupted);
  if (testing::Test::HasFailure()) {
    std::fprintf(stderr, "failed in seed %u: see %s\n", seed + static_cast<uint32_t>(round) - 1,
                 folder.c_str());
    return 1;
  }
  fs::remove_all(folder + "/boot_id");
  return 0;
}

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (rum::IsController(argc, argv)) return rum::RunController(argv);
  CLI::App app("kills controllers, agents and guests while scripts run");
  uint32_t seed = 1;
  int rounds = 10;
  app.add_option("--seed", seed, "of the first round; each next one has the next")
      ->take_last()
      ->capture_default_str();
  app.add_option("--rounds", rounds, "how many")->take_last()->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  signal(SIGPIPE, SIG_IGN);
  return rum::Chaos(seed, rounds);
}
