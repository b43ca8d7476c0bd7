// rum against qemu-ga's exec, a warm ssh and ansible: the same jobs, on one guest, in one run,
// taking turns.
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/bench/guest_side.h"
#include "tests/bench/qemu_agent.h"
#include "tests/bench/table.h"
#include "tests/bench/warm_ssh.h"
#include "tests/e2e/world.h"

namespace rum::bench {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(3);
constexpr char kUser[] = "rum";  // the seed's, when the file names none

struct Flags {
  int rounds = 30;
  bool json = false;
};

// One contender's way to do a job. Only `act` is timed; `check` sees in the guest that it was done.
struct Turn {
  Series* into;
  std::function<absl::Status()> act;
  std::function<absl::Status()> prepare = absl::OkStatus;
  std::function<absl::Status()> check = absl::OkStatus;
};

class Contest {
 public:
  Contest(e2e::World* world, QemuAgent* qemu_agent, WarmSsh* ssh)
      : world_(*world), qemu_agent_(*qemu_agent), ssh_(*ssh) {
    rows_[kNoOp] = {"no-op apply", {}, std::nullopt, Series(), Rival::kSsh, 0.25};
    rows_[kHostname] = {"hostname", {}, Series(), Series(), Rival::kQemuAgent, 1};
    rows_[kGroup] = {"group", {}, Series(), Series(), Rival::kQemuAgent, 1};
    rows_[kExec] = {"exec true", {}, Series(), Series(), Rival::kQemuAgent, 1};
    rows_[kScript] = {"boot script",   {},       std::nullopt, std::nullopt,
                      Rival::kAnsible, 1.0 / 50, Series()};
    rows_[kPlaybook] = rows_[kScript];
    rows_[kPlaybook].job = "the same";
  }

  // Names that sudo finds without asking the network, whoever sets them; and every program and
  // file is read once.
  absl::Status Prepare() {
    std::string names;
    for (const char* who : {"rum", "ga", "ssh"})
      absl::StrAppend(&names, " ", who, "-a ", who, "-b");
    absl::Status status = Guest(absl::StrCat("echo 127.0.0.1", names, " >> /etc/hosts"));
    for (int round = 0; status.ok() && round < 2; ++round) status = Round(round);
    start_of_true_.ms.clear();
    for (Row& row : rows_) {
      row.rum.ms.clear();
      for (std::optional<Series>* rival : {&row.qemu_agent, &row.ssh, &row.ansible}) {
        if (rival->has_value()) (*rival)->ms.clear();
      }
    }
    return status;
  }

  absl::Status Round(int round) {
    // So that every command changes the name, whoever set it last.
    const std::string suffix = round % 2 == 0 ? "-a" : "-b";
    for (const auto& turns : {NoOp(), Hostname(suffix), Group(), Exec(), Script(round)}) {
      for (size_t i = 0; i < turns.size(); ++i) {
        // Each is first, second and last equally often.
        absl::Status status = Take(turns[(i + static_cast<size_t>(round)) % turns.size()]);
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

  // The samples of "exec true" and of the script have two rivals to be measured against.
  std::vector<Row> rows() const {
    std::vector<Row> rows(std::begin(rows_), std::end(rows_));
    rows[kPlaybook].rum = rows[kScript].rum;
    rows.insert(rows.begin() + kExec + 1, rows_[kExec]);
    rows[kExec + 1].rival = Rival::kSsh;
    rows[kExec + 1].goal = 1.0 / 3;
    return rows;
  }
  const Series& start_of_true() const { return start_of_true_; }

 private:
  enum Job { kNoOp, kHostname, kGroup, kExec, kScript, kPlaybook, kJobs };

  // Runs rum, and checks that it says what it must have done.
  absl::Status Rum(const std::vector<std::string>& arguments, const std::string& says = "") {
    const e2e::Result result = e2e::Run(world_.Argv(arguments), world_.env());
    if (result.exit_status == 0 && absl::StrContains(result.out, says)) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("rum ", arguments[0], ": exit status ",
                                            result.exit_status, ": ", result.out, result.err));
  }

  absl::Status Guest(const std::string& shell_line) {
    return Rum({"exec", "--", "sh", "-c", shell_line});
  }

  absl::Status Take(const Turn& turn) {
    absl::Status status = turn.prepare();
    if (!status.ok()) return status;
    const auto begin = std::chrono::steady_clock::now();
    status = turn.act();
    const auto end = std::chrono::steady_clock::now();
    if (!status.ok()) return status;
    turn.into->ms.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
    return turn.check();
  }

  std::function<absl::Status()> HasName(const std::string& name) {
    return [this, name] {
      return Guest(absl::StrCat("read k </proc/sys/kernel/hostname; read f </etc/hostname; ",
                                "test $k,$f = ", name, ",", name));
    };
  }

  std::function<absl::Status()> IsInGroup(const std::string& group) {
    return [this, group] { return Guest(absl::StrCat("id -nG ", kUser, " | grep -qw ", group)); };
  }

  std::function<absl::Status()> LeaveGroup(const std::string& group) {
    return [this, group] {
      return Guest(absl::StrCat("! id -nG ", kUser, " | grep -qw ", group, " || gpasswd -d ", kUser,
                                " ", group));
    };
  }

  absl::Status SaveGroups(const std::string& groups) {
    world_.file.groups = groups;
    world_.Save();
    return absl::OkStatus();
  }

  std::vector<Turn> NoOp() {
    Row& row = rows_[kNoOp];
    return {{&row.rum, [this] { return Rum({"apply"}, "nothing to do"); },
             [this] { return Rum({"apply"}); }},
            {&*row.ssh, [this] { return ssh_.Exec({"true"}); }}};
  }

  std::vector<Turn> Hostname(const std::string& suffix) {
    Row& row = rows_[kHostname];
    return {{&row.rum, [this] { return Rum({"apply"}, "Set hostname"); },
             [this, suffix] {
               world_.file.hostname = "rum" + suffix;
               world_.Save();
               return absl::OkStatus();
             },
             HasName("rum" + suffix)},
            {&*row.qemu_agent,
             [this, suffix] {
               return qemu_agent_.Exec({"/usr/bin/hostnamectl", "set-hostname", "ga" + suffix});
             },
             absl::OkStatus, HasName("ga" + suffix)},
            {&*row.ssh,
             [this, suffix] {
               return ssh_.Exec({"sudo", "hostnamectl", "set-hostname", "ssh" + suffix});
             },
             absl::OkStatus, HasName("ssh" + suffix)}};
  }

  // rum's preparation also sets the hostname back to the file's, so that only the group is left.
  std::vector<Turn> Group() {
    Row& row = rows_[kGroup];
    return {{&row.rum, [this] { return Rum({"apply"}, "to groups audio"); },
             [this] {
               (void)SaveGroups("");
               absl::Status applied = Rum({"apply"});
               return applied.ok() ? SaveGroups("\"audio\"") : applied;
             },
             IsInGroup("audio")},
            {&*row.qemu_agent,
             [this] {
               return qemu_agent_.Exec({"/usr/sbin/usermod", "-aG", "video", kUser});
             },
             LeaveGroup("video"), IsInGroup("video")},
            {&*row.ssh,
             [this] {
               return ssh_.Exec({"sudo", "usermod", "-aG", "plugdev", kUser});
             },
             LeaveGroup("plugdev"), IsInGroup("plugdev")}};
  }

  std::vector<Turn> Exec() {
    Row& row = rows_[kExec];
    return {{&row.rum,
             [this] {
               return Rum({"exec", "true"});
             },
             [this] {
               const auto started = StartsInGuest(world_, "/usr/bin/true", kStarts);
               if (started.ok()) {
                 start_of_true_.ms.insert(start_of_true_.ms.end(), started->ms.begin(),
                                          started->ms.end());
               }
               return started.status();
             }},
            {&*row.qemu_agent, [this] { return qemu_agent_.Exec({"/usr/bin/true"}); }},
            {&*row.ssh, [this] { return ssh_.Exec({"true"}); }}};
  }

  // A changed one-line script that appends to a file: rum, then ansible's one command and a
  // playbook. These take seconds, so that they are asked in one round of five.
  std::vector<Turn> Script(int round) {
    Row& row = rows_[kScript];
    const std::string line = absl::StrCat("line-", ++scripts_);
    std::vector<Turn> turns = {
        {&row.rum, [this] { return Rum({"reload"}, "Re-ran boot provisioning script"); },
         [this, line] {
           world_.file.boot = absl::StrCat("echo rum-", line, " >> /var/log/bench");
           world_.Save();
           return absl::OkStatus();
         },
         WasRun("rum-" + line)}};
    if (round % 5 == 0) {
      turns.push_back({&*row.ansible,
                       [this, line] {
                         return ssh_.Ansible(
                             absl::StrCat("echo ansible-", line, " >> /var/log/bench"));
                       },
                       absl::OkStatus, WasRun("ansible-" + line)});
      turns.push_back({&*rows_[kPlaybook].ansible,
                       [this, line] {
                         return ssh_.Playbook(
                             absl::StrCat("echo playbook-", line, " >> /var/log/bench"));
                       },
                       absl::OkStatus, WasRun("playbook-" + line)});
    }
    return turns;
  }

  std::function<absl::Status()> WasRun(const std::string& line) {
    return [this, line] { return Guest(absl::StrCat("grep -qx ", line, " /var/log/bench")); };
  }

  static constexpr int kStarts = 3;

  int scripts_ = 0;
  Series start_of_true_;
  e2e::World& world_;
  QemuAgent& qemu_agent_;
  WarmSsh& ssh_;
  Row rows_[kJobs];
};

std::string Machine() {
  utsname names{};
  uname(&names);
  return absl::StrCat(std::thread::hardware_concurrency(), " cores, ", names.sysname, " ",
                      names.release, ", guest emulated in software with one CPU");
}

absl::Status Measure(const Flags& flags, std::vector<Row>* rows, Series* start_of_true) {
  constexpr char kUri[] = "qemu:///system";
  e2e::World world(kUri);
  WarmSsh ssh(world.folder() + "/home");  // before the machine's end comes the connection's
  const absl::StatusOr<std::string> key = ssh.MakeKey();
  if (!key.ok()) return key.status();
  world.file.groups = "";
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
  if (!status.ok()) return status;
  // What cloud-init and systemd still do would be in the way of the first rounds only.
  if (world.Rum({"exec", "--", "systemctl", "is-system-running", "--wait"}).exit_status > 1) {
    return absl::InternalError("the guest's boot does not end");
  }
  status = PutInGuest(world);
  if (!status.ok()) return status;
  Contest contest(&world, &*qemu_agent, &ssh);
  status = contest.Prepare();
  for (int round = 0; status.ok() && round < flags.rounds; ++round) {
    std::fprintf(stderr, "\rround %d of %d", round + 1, flags.rounds);
    status = contest.Round(round);
  }
  std::fprintf(stderr, "\n");
  if (status.ok() && !qemu_agent->Attached())
    status = absl::InternalError("qemu-ga's channel is gone");
  *rows = contest.rows();
  *start_of_true = contest.start_of_true();
  return status;
}

int Main(const Flags& flags) {
  Circumstances circumstances{flags.rounds, false, Machine(), {}};
#ifdef NDEBUG
  circumstances.optimized = true;
#endif
  std::vector<Row> rows;
  const absl::Status status = Measure(flags, &rows, &circumstances.start_of_true);
  if (!status.ok() || testing::Test::HasFailure()) {
    std::fprintf(stderr, "rivals: could not measure: %s\n", status.ToString().c_str());
    return 1;
  }
  const std::string table =
      flags.json ? JsonTable(circumstances, rows) : TextTable(circumstances, rows);
  std::fputs(table.c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace rum::bench

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  constexpr char kUsage[] =
      "usage: bazel run //tests/bench:rivals [-- [--rounds N] [--json]]\n"
      "Measures rum, qemu-ga's exec, a warm ssh and ansible on one emulated guest, taking turns, "
      "and prints\n"
      "medians and ratios (--json: all samples too). Ends with 1 if something could not be "
      "measured.\n";
  rum::bench::Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help" || word == "-h") return std::fputs(kUsage, stdout), 0;
    if (word == "--json") {
      flags.json = true;
    } else if (word == "--rounds" && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      flags.rounds = std::atoi(argv[++i]);
    } else {
      return std::fputs(kUsage, stderr), 2;
    }
  }
  return rum::bench::Main(flags);
}
