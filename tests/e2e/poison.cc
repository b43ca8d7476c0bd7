#include "tests/e2e/poison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/eventually.h"

namespace rum::e2e {
namespace {

constexpr char kKeysFile[] = "/home/rum/.ssh/authorized_keys";
constexpr char kKey[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst00000000000000000000000000000000000000 first@host";
constexpr int kMostMoreMs = 2000;

// What rum keeps in a guest, in shell's words.
struct Kept {
  std::string name;
  std::set<std::string> files;  // that it stands on
  std::string move;
  std::string holds;
};

const std::vector<Kept>& AllKept() {
  static const auto* const kept = new std::vector<Kept>{
      {"kernel", {}, "hostname typed", "read x </proc/sys/kernel/hostname; [ \"$x\" = dev ]"},
      {"hostname",
       {"/etc/hostname"},
       "echo typed >/etc/hostname",
       "read x </etc/hostname; [ \"$x\" = dev ]"},
      {"hosts",
       {"/etc/hosts"},
       "sed -i '/^127.0.1.1/d' /etc/hosts",
       "grep -aq '^127.0.1.1.*dev' /etc/hosts"},
      {"group",
       {"/etc/group", "/etc/passwd"},
       "sed -i 's/^\\(docker:.*:\\).*/\\1/' /etc/group",
       "grep -aq '^docker:.*[:,]rum' /etc/group"},
      {"keys",
       {kKeysFile, "/etc/passwd"},
       std::string("sed -i /first@host/d ") + kKeysFile,
       std::string("grep -aq first@host ") + kKeysFile},
      {"mount",
       {"/etc/fstab"},
       "sed -i '\\|/home/rum/src|d' /etc/fstab",
       "grep -aq /home/rum/src /etc/fstab"},
  };
  return *kept;
}

struct Poison {
  std::string name;
  std::string apply;  // to $f
  std::string cure;
  bool blocks = true;     // nothing can be put right in the file meanwhile
  std::string only = "";  // this file; empty: any
};

// Beside the file, so that its inode is the old one when it comes back.
Poison InItsPlace(const std::string& name, const std::string& put) {
  return {name, "mv $f $f.kept; " + put + " $f", "rm -rf $f; mv $f.kept $f"};
}

const std::vector<Poison>& Poisons() {
  static const auto* const poisons = new std::vector<Poison>{
      InItsPlace("link to nowhere", "ln -s /nowhere/at/all"),
      InItsPlace("link in a ring", "ln -s $(basename $f)"),
      InItsPlace("link to /dev/null", "ln -s /dev/null"),
      InItsPlace("link to a folder", "ln -s /var/lib/dpkg"),
      InItsPlace("folder", "mkdir -p"),
      InItsPlace("pipe", "mkfifo"),
      {"immutable", "chattr +i $f", "chattr -i $f"},
      {"mounted on", "cp -p $f $f.kept; mount --bind $f.kept $f", "umount -l $f; rm $f.kept"},
      {"bytes",
       "cp -p $f $f.kept; { printf '\\000\\377\\376:\\200:\\n\\n:::\\nx\\r\\n'; "
       "head -c 70000 /dev/zero | tr '\\000' '\\303'; echo; cat $f.kept; } >$f",
       "mv -f $f.kept $f", false},
      {"huge", "cp -p $f $f.kept; truncate -s 8G $f", "mv -f $f.kept $f", false},
      {"long", "cp -p $f $f.kept; head -c 3000000 /dev/zero | tr '\\000' x >>$f",
       "mv -f $f.kept $f", false},
      {"held as by vipw",
       "rm -f /run/held; setsid python3 -c 'import fcntl, os, time\n"
       "f = open(\"/etc/.pwd.lock\", \"a\")\n"
       "fcntl.lockf(f, fcntl.LOCK_EX)\n"
       "open(\"/run/held.new\", \"w\").write(str(os.getpid()))\n"
       "os.rename(\"/run/held.new\", \"/run/held\")\n"
       "time.sleep(600)' >/dev/null 2>&1 </dev/null & while [ ! -e /run/held ]; do sleep 0.05; "
       "done",
       "kill $(cat /run/held)", true, "/etc/group"},
      {"held as by gpasswd", "echo 1 >/etc/gshadow.lock", "rm /etc/gshadow.lock", true,
       "/etc/group"},
  };
  return *poisons;
}

const std::vector<std::string>& Files() {
  static const auto* const files =
      new std::vector<std::string>{"/etc/hosts",  "/etc/hostname", "/etc/group", "/etc/gshadow",
                                   "/etc/passwd", "/etc/fstab",    kKeysFile};
  return *files;
}

struct Dose {
  std::string file;
  Poison poison;
  std::string Apply() const { return "f=" + file + "; " + poison.apply + "; "; }
  std::string Cure() const { return "f=" + file + "; " + poison.cure + "; "; }
  // Whether `kept` is then as good as lost, and says so. Whoever reads groups needs no gshadow.
  bool Touches(const Kept& kept) const { return kept.files.count(file) > 0; }
};

using Random = std::mt19937;

std::vector<Dose> Doses(Random* random) {
  std::vector<Dose> doses;
  std::set<std::string> poisoned;
  for (int left = 1 + static_cast<int>((*random)() % 2); left > 0; --left) {
    const Poison& poison = Poisons()[(*random)() % Poisons().size()];
    const std::string file =
        poison.only.empty() ? Files()[(*random)() % Files().size()] : poison.only;
    if (poisoned.insert(file).second) doses.push_back({file, poison});
  }
  return doses;
}

std::vector<Kept> Untouched(const std::vector<Dose>& doses) {
  std::vector<Kept> kept = AllKept();
  for (const Dose& dose : doses) {
    kept.erase(std::remove_if(kept.begin(), kept.end(),
                              [&](const Kept& one) { return dose.Touches(one); }),
               kept.end());
  }
  return kept;
}

// Moves everything, then poisons; prints after how many ms all of `watched` held again.
std::string Round(const std::vector<Dose>& doses, const std::vector<Kept>& watched) {
  std::string script =
      "agent=$(systemctl show -p MainPID --value rum-agent); trap 'kill -CONT $agent' EXIT; "
      "kill -STOP $agent; ";
  for (const Kept& kept : AllKept()) script += kept.move + "; ";
  for (const Dose& dose : doses) script += dose.Apply();
  script += "kill -CONT $agent; begin=$(date +%s%N); until ";
  for (const Kept& kept : watched) script += "{ " + kept.holds + "; } && ";
  return script +
         "true; do [ $(($(date +%s%N) - begin)) -lt 60000000000 ] || break; done; "
         "end=$(date +%s%N); echo $(((end - begin) / 1000000))";
}

std::string Broken(const World& world, const std::vector<Kept>& kept) {
  std::string script;
  for (const Kept& one : kept) script += "{ " + one.holds + "; } || echo " + one.name + "; ";
  return world.Guest(script);
}

// A failing item whose text names the file, or the lock.
bool SaysWhy(const World& world, const Dose& dose) {
  const MachineStatus status = world.Status();
  EXPECT_EQ(status.phase(), MachineStatus::RUNNING) << "the agent is not what is poisoned";
  return std::any_of(status.items().begin(), status.items().end(), [&](const Item& item) {
    if (item.state() != Item::FAILING) return false;
    const bool lock = item.text().find("held by") != std::string::npos;
    return dose.poison.only.empty() ? item.text().find(dose.file) != std::string::npos : lock;
  });
}

void ExpectNamed(const World& world, const std::vector<Dose>& doses) {
  for (const Dose& dose : doses) {
    // What another dose hides needs no reason of its own.
    const bool passwd_too = std::any_of(doses.begin(), doses.end(),
                                        [&](const Dose& d) { return d.file == "/etc/passwd"; });
    const bool hidden = passwd_too && (dose.file == "/etc/group" || dose.file == kKeysFile);
    if (!dose.poison.blocks || hidden || dose.file == "/etc/gshadow") continue;
    // Who is without a readable passwd is told so; one that cannot be written is no hindrance.
    const bool readable = dose.poison.name == "immutable" || dose.poison.name == "mounted on";
    if (dose.file == "/etc/passwd" && readable) continue;
    EXPECT_TRUE(Eventually([&] { return SaysWhy(world, dose); }, std::chrono::seconds(60)))
        << dose.file << ": " << dose.poison.name << "\n"
        << world.Rum({"status"}).out;
  }
}

}  // namespace

void ExpectPoisonSpoilsNothingElse(World* world, int rounds, unsigned seed) {
  std::fprintf(stderr, "seed %u (RUM_TEST_SEED), %d rounds (RUM_TEST_ROUNDS)\n", seed, rounds);
  world->file.auto_reconcile = true;
  world->file.more += std::string("[ssh]\nauthorized_keys = [\"") + kKey + "\"]\n";
  world->Save();
  const std::vector<std::string> synced = {"-q", "status", "--wait", "Synced", "--timeout", "120"};
  ASSERT_EQ(world->Rum(synced).exit_status, 0);
  Random random(seed);
  int undisturbed = 0;
  std::vector<std::pair<int, std::string>> poisoned;
  for (int round = 0; round < rounds; ++round) {
    const std::vector<Dose> doses = Doses(&random);
    std::string what = "round " + std::to_string(round);
    for (const Dose& dose : doses) what += ", " + dose.file + ": " + dose.poison.name;
    SCOPED_TRACE(what);
    std::fprintf(stderr, "%s\n", what.c_str());
    undisturbed = std::max(undisturbed, std::atoi(world->Guest(Round({}, AllKept())).c_str()));
    EXPECT_EQ(Broken(*world, AllKept()), "");
    const std::vector<Kept> others = Untouched(doses);
    poisoned.emplace_back(std::atoi(world->Guest(Round(doses, others)).c_str()), what);
    EXPECT_EQ(Broken(*world, others), "");
    ExpectNamed(*world, doses);
    std::string cure;
    for (const Dose& dose : doses) cure += dose.Cure();
    world->Guest(cure);
    // Within the back-off of what failed so far.
    EXPECT_TRUE(
        Eventually([&] { return Broken(*world, AllKept()).empty(); }, std::chrono::seconds(120)))
        << Broken(*world, AllKept());
    world->Rum({"-q", "apply"});  // so many corrections would be taken for a fight
    EXPECT_EQ(world->Rum(synced).exit_status, 0);
    if (testing::Test::HasFailure()) break;
  }
  for (const auto& [ms, what] : poisoned) {
    std::fprintf(stderr, "%s: %d ms, undisturbed at most %d ms\n", what.c_str(), ms, undisturbed);
    EXPECT_LE(ms, undisturbed + kMostMoreMs) << what;
  }
}

}  // namespace rum::e2e
