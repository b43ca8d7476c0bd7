#include "controller/decide/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "controller/aspects/standing.h"
#include "controller/aspects/storage.h"
#include "controller/decide/conditions.h"
#include "controller/decide/drift.h"
#include "controller/decide/history.h"
#include "controller/guests/no_process.h"
#include "tests/controller/model.h"

namespace rum {
namespace {

const Item* Find(const MachineStatus& status, const std::string& field) {
  for (const Item& item : status.items()) {
    if (item.field() == field) return &item;
  }
  return nullptr;
}

void ExpectItem(const Model& model, const std::string& field, Item::State state,
                Item::Author author, const std::string& text) {
  const MachineStatus status = model.Status();
  const Item* item = Find(status, field);
  ASSERT_NE(item, nullptr) << field << " in " << status.DebugString();
  EXPECT_EQ(Item::State_Name(item->state()), Item::State_Name(state)) << field;
  EXPECT_EQ(Item::Author_Name(item->moved_by()), Item::Author_Name(author)) << field;
  EXPECT_EQ(item->text(), text);
}

TEST(Status, OfAConvergedMachineHoldsEverywhere) {
  const MachineStatus status = Converged(SampleConfig()).Status();
  EXPECT_EQ(status.phase(), MachineStatus::RUNNING);
  EXPECT_TRUE(status.agent_connected());
  EXPECT_EQ(status.generation(), 1);
  EXPECT_EQ(status.applied_generation(), 1);
  for (const Item& item : status.items()) EXPECT_EQ(item.state(), Item::HOLDS) << item.field();
  EXPECT_EQ(status.items_size(), 8);
}

TEST(Status, NamesThePhase) {
  Model model;
  model.desired = SampleConfig();
  EXPECT_EQ(model.Status().phase(), MachineStatus::NOT_DEFINED);
  model = Converged(SampleConfig());
  model.observed.guest.reset();
  EXPECT_EQ(model.Status().phase(), MachineStatus::STARTING);
  model.observed.agent_was_here = true;
  EXPECT_EQ(model.Status().phase(), MachineStatus::UNREACHABLE);
  model.observed.domain.running = false;
  EXPECT_EQ(model.Status().phase(), MachineStatus::STOPPED);
}

TEST(Status, SaysWhatAGuestCannotTellWholly) {
  Model model = Converged(SampleConfig());
  for (const char* list : {"cards", "groups"}) model.observed.guest->add_cut(list);
  std::map<std::string, std::string> said;
  const MachineStatus status = model.Status();
  for (const Item& item : status.items()) {
    if (item.state() != Item::HOLDS) said[item.field()] = item.text();
  }
  EXPECT_THAT(said,
              testing::ElementsAre(
                  testing::Pair("network.nat", testing::HasSubstr("more network cards")),
                  testing::Pair("user.groups", testing::HasSubstr("more groups of the user"))));
}

TEST(Status, NamesEveryCauseWithItsReasonAndWhatGoesOnWithIt) {
  const std::vector<std::tuple<DomainCause, bool, MachineStatus::Phase, std::string>> cases = {
      {DomainCause::kShutDown, false, MachineStatus::STOPPED, "virsh shutdown"},
      {DomainCause::kDestroyed, false, MachineStatus::STOPPED, "by force"},
      {DomainCause::kMigrated, false, MachineStatus::STOPPED, "another host"},
      {DomainCause::kFromSnapshot, false, MachineStatus::STOPPED, "snapshot"},
      {DomainCause::kSaved, false, MachineStatus::SAVED, "managedsave"},
      {DomainCause::kSavedToFile, false, MachineStatus::SAVED, "virsh save"},
      {DomainCause::kCrashed, false, MachineStatus::CRASHED, "QEMU ended unexpectedly"},
      {DomainCause::kStartFailed, false, MachineStatus::CRASHED, "while it started"},
      {DomainCause::kPanicked, false, MachineStatus::PANICKED, "kernel"},
      {DomainCause::kPanicked, true, MachineStatus::PANICKED, "kernel"},
      {DomainCause::kPausedByUser, true, MachineStatus::PAUSED, "virsh suspend"},
      {DomainCause::kPausedByDisk, true, MachineStatus::PAUSED, "full"},
      {DomainCause::kPausedByWatchdog, true, MachineStatus::PAUSED, "watchdog"},
      {DomainCause::kPausedForNow, true, MachineStatus::PAUSED, "for a moment"},
      {DomainCause::kPausedUnknown, true, MachineStatus::PAUSED, "does not say"},
      {DomainCause::kSuspended, true, MachineStatus::SUSPENDED, "its own guest"},
      {DomainCause::kShuttingDown, true, MachineStatus::SHUTTING_DOWN, ""},
  };
  for (const auto& [cause, running, phase, reason] : cases) {
    Model model = Converged(SampleConfig());
    model.observed.guest.reset();
    model.observed.agent_was_here = true;
    model.observed.domain.running = running;
    model.observed.domain.cause = cause;
    const MachineStatus status = model.Status();
    EXPECT_EQ(MachineStatus::Phase_Name(status.phase()), MachineStatus::Phase_Name(phase));
    EXPECT_THAT(status.phase_reason(), testing::HasSubstr(reason));
    EXPECT_NE(status.phase_remedy(), "");
    const std::string text = StandingText("dev", StandingOf(model.observed));
    EXPECT_THAT(text, testing::HasSubstr(status.phase_remedy()));
    EXPECT_THAT(text, testing::HasSubstr(phase == MachineStatus::STOPPED ? "dev is off"
                                                                         : PhaseName(phase)));
    EXPECT_NE(FindCondition(status, "AgentConnected")->reason(), "NotDefined");
  }
}

TEST(Status, SaysWhyNobodyListensToTheGuest) {
  Model model = Converged(SampleConfig());
  model.observed.guest.reset();
  model.observed.guest_refused = absl::StrCat(kNoProcess, "fork: out of everything");
  const MachineStatus status = model.Status();
  EXPECT_EQ(status.phase(), MachineStatus::UNREACHABLE);
  EXPECT_EQ(status.phase_reason(), model.observed.guest_refused);
  EXPECT_THAT(status.phase_remedy(), testing::HasSubstr("tries again by itself"));
  EXPECT_THAT(FindCondition(status, "AgentConnected")->message(),
              testing::HasSubstr("out of everything"));
}

TEST(Status, TellsSinceWhenItIsSoAsTheRecordKnows) {
  Model model = Converged(SampleConfig());
  model.record.set_want_running(true);
  EXPECT_EQ(model.Status(5000).phase_since_ms(), 5000) << "the first sight";
  MachineStatus status = model.Status(5000);
  EXPECT_TRUE(NoteReport(status, true, 5000, &model.record));
  EXPECT_EQ(model.Status(9000).phase_since_ms(), 5000);
  EXPECT_TRUE(SameReport(status, model.Status(9000)));
}

TEST(Status, OfAnIpv6PortNamesItAsTheDiffDoesAndItsAuthorIsTheFile) {
  Model model = Converged(SampleConfig());
  Port* port = model.desired.add_ports();
  port->set_bind("::1");
  port->set_host(8080);
  port->set_guest(80);
  ExpectItem(model, "ports[[::1]:8080]", Item::PENDING, Item::FILE,
             "[::1]:8080 → 80 is not open: will be opened");
}

// Every item of a full machine, whole and with everything moved.
TEST(Status, OfEveryItemSaysWhoCanTellAndForgetsNothingWhileNobodyCan) {
  Config config = SampleConfig();
  config.mutable_ssh()->add_authorized_keys("ssh-ed25519 AAAA one");
  Port* port = config.add_ports();
  port->set_bind("::1");
  port->set_host(99);
  port->set_guest(9);
  (*config.mutable_drives())["data"].set_size(1 << 30);
  Fs* fs = (*config.mutable_fs())["ext4"].add_entries();
  fs->set_drive("data");
  fs->set_target("/data");
  Mount* mount = config.add_mounts();
  mount->set_source("/src");
  mount->set_target("/work");
  Model model = Converged(config);
  model.record.set_want_running(true);
  for (const agent::Volume& volume : VolumesOf(model.observed.domain)) {
    model.observed.guest->add_volumes()->set_target(volume.target());  // not mounted
  }
  model.observed.guest->add_stale_targets("/old");
  model.observed.guest->set_hostname("typed");
  model.observed.guest->clear_groups();
  model.observed.guest->clear_authorized_keys();
  model.observed.guest->clear_runs();
  model.observed.guest->set_not_replaced("another agent");
  model.observed.forwards.clear();
  model.desired.mutable_resources()->set_memory_mb(4096);
  const MachineStatus moved = model.Status(1000);
  std::set<std::string> tables;
  for (const Item& item : moved.items()) {
    EXPECT_NE(item.known_by(), Item::NOBODY) << item.field();
    tables.insert(item.field().substr(0, item.field().find_first_of("[.")));
    // A record of an older build says nothing of it: the name must do, on the safe side.
    Drift old;
    old.set_field(item.field());
    if (item.known_by() != Item::LIBVIRT) EXPECT_EQ(KnownBy(old), item.known_by()) << item.field();
  }
  EXPECT_THAT(tables, testing::IsSupersetOf({"agent", "network", "user", "ssh", "storage", "fs",
                                             "mounts", "ports", "provision", "resources"}));
  bool changed = false;
  NoteDrifts(moved, &model.record, &changed);
  const auto remembered = [&](const std::string& field) {
    for (const Drift& drift : model.record.drifts()) {
      if (drift.field() == field) return true;
    }
    return false;
  };
  // The guest cannot be asked: only what libvirt and the host tell may settle.
  model.observed.guest.reset();
  model.observed.agent_was_here = true;
  model.desired.mutable_resources()->set_memory_mb(config.resources().memory_mb());
  NoteDrifts(model.Status(2000), &model.record, &changed);
  for (const Item& item : moved.items()) {
    if (item.state() == Item::HOLDS) continue;
    EXPECT_EQ(remembered(item.field()), item.field() != "resources.memory_mb") << item.field();
  }
  // Off, there are no listeners to be asked either.
  model.observed.domain.running = false;
  NoteDrifts(model.Status(3000), &model.record, &changed);
  EXPECT_TRUE(remembered("ports[[::1]:99]"));
  EXPECT_TRUE(remembered("fs.ext4[/data]"));
}

TEST(Status, TellsPortsWithTheirTrafficAndTheirTrouble) {
  Model model = Converged(SampleConfig());
  ForwardState& first = model.observed.forwards[0];
  first.bound = absl::UnavailableError("port 127.0.0.1:" + std::to_string(first.forward.host) +
                                       ": in use by postgres (pid 812)");
  ForwardState& second = model.observed.forwards[1];
  ASSERT_EQ(second.forward.host, 8080);
  second.open_connections = 3;
  second.bytes_in = 12000000;
  second.bytes_out = 34000;
  second.health = ForwardHealth::kUp;
  ExpectItem(model, "ports[127.0.0.1:5432]", Item::FAILING, Item::HOST,
             "127.0.0.1:5432 → 5432: in use by postgres (pid 812)");
  ExpectItem(model, "ports[127.0.0.1:8080]", Item::HOLDS, Item::NOBODY,
             "127.0.0.1:8080 → 80 (3 open, 11.4 MiB in, 33.2 KiB out)");
  second.last_error = "guest port 80: Connection refused";
  second.health = ForwardHealth::kDown;
  ExpectItem(
      model, "ports[127.0.0.1:8080]", Item::HOLDS, Item::NOBODY,
      "127.0.0.1:8080 → 80 (3 open, 11.4 MiB in, 33.2 KiB out; nothing listens in the guest any "
      "more, last error: guest port 80: Connection refused)");
  const MachineStatus status = model.Status();
  for (const Item& item : status.items()) {
    if (item.field() != "ports[127.0.0.1:8080]") continue;
    EXPECT_EQ(item.forward().open_connections(), 3);
    EXPECT_EQ(item.forward().bytes_to_guest(), 12000000);
    EXPECT_EQ(item.forward().bytes_to_host(), 34000);
    EXPECT_EQ(item.forward().health(), ForwardFacts::DOWN);
  }
  second.bytes_in = second.bytes_out = 0;
  second.last_error.clear();
  ExpectItem(model, "ports[127.0.0.1:8080]", Item::HOLDS, Item::NOBODY,
             "127.0.0.1:8080 → 80 (3 open, 0 B; nothing listens in the guest yet)");
}

TEST(Status, TellsWhoMovedWhat) {
  Model model = Converged(SampleConfig());
  model.observed.guest->set_hostname("typed");
  ExpectItem(model, "network.hostname", Item::DRIFTED, Item::GUEST,
             "typed in the guest, dev wanted: will be set");
  model.desired.mutable_network()->set_hostname("devbox");
  ExpectItem(model, "network.hostname", Item::PENDING, Item::FILE,
             "typed in the guest, devbox wanted: will be set");
  model.observed.guest->mutable_groups()->erase(model.observed.guest->groups().begin());
  ExpectItem(model, "user.groups[docker]", Item::DRIFTED, Item::GUEST,
             "docker missing in the guest: will be restored");
  model.observed.domain.persistent.mutable_resources()->set_cpus(7);
  ExpectItem(model, "resources.cpus", Item::DRIFTED, Item::LIBVIRT,
             "7 in libvirt's definition, 2 wanted: will be written");
}

TEST(Status, TellsWhatTheNextStartBrings) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_resources()->set_memory_mb(2048);
  model.Apply(model.MakePlan());
  ExpectItem(model, "resources.memory_mb", Item::NEEDS_RESTART, Item::FILE,
             "1024 MiB now, 2048 MiB at the next start");
  const MachineStatus status = model.Status();
  EXPECT_NE(Find(status, "resources.memory_mb")->reason(), "");
}

TEST(Status, TellsOfAnAgentOfAnotherBuildThatGoesOn) {
  Model model = Converged(SampleConfig());
  model.observed.guest->set_not_replaced("the agent in the guest is 9.0.0: it goes on");
  ExpectItem(model, "agent", Item::NEEDS_RESTART, Item::GUEST,
             "the agent in the guest is 9.0.0: it goes on");
  EXPECT_TRUE(model.Status().agent_connected());
  model.observed.guest->clear_not_replaced();
  EXPECT_EQ(Find(model.Status(), "agent"), nullptr);
}

TEST(Status, TellsWhatNeedsANewDisk) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_user()->set_name("me");
  ExpectItem(model, "user.name", Item::NEEDS_RECREATE, Item::FILE,
             "rum now, me needs rum up --reset");
}

TEST(Status, TellsThatTheHostsFileUnderTheDiskIsAnotherOne) {
  Model model = Converged(SampleConfig());
  model.observed.domain.image_drift = "replaced";
  ExpectItem(model, "image.base", Item::NEEDS_RECREATE, Item::HOST,
             "/images/debian.qcow2, which is another file now: `rum up --reset` makes a new disk");
  EXPECT_EQ(Find(model.Status(), "image.base")->reason(),
            "the image under the disk was replaced since the disk was made");
}

TEST(Status, TellsOfScripts) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_provision()->mutable_system()->set_script("echo system 2");
  ExpectItem(model, "provision.system.script", Item::OPT_IN, Item::FILE,
             "changed since it ran: `rum reload --force` runs it again");
  model.desired.mutable_provision()->mutable_boot()->set_script("exit 3");
  *model.observed.guest->add_runs() = EndedRun("boot", "exit 3", "boot-1", 3);
  ExpectItem(model, "provision.boot.script", Item::FAILING, Item::NOBODY,
             "failed with exit status 3: `rum apply` tries again");
}

TEST(Status, CountsAFileThatNobodyAppliedYetAsTheNextGeneration) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_resources()->set_memory_mb(2048);
  EXPECT_EQ(model.Status().generation(), 2);
  EXPECT_EQ(model.Status().applied_generation(), 1);
}

TEST(Status, PromisesNothingWhenTheLoopOnlyReports) {
  Config config = SampleConfig();
  config.mutable_reconcile()->set_auto_(false);
  Model model = Converged(config);
  model.observed.guest->set_hostname("typed");
  ExpectItem(model, "network.hostname", Item::DRIFTED, Item::GUEST,
             "typed in the guest, dev wanted: `rum apply` puts it right");
}

}  // namespace
}  // namespace rum
