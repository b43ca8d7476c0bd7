#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <functional>
#include <string>
#include <vector>

#include "controller/conditions.h"
#include "controller/drift.h"
#include "controller/history.h"
#include "controller/record_update.h"
#include "controller/status.h"
#include "tests/controller/model.h"
#include "tests/fakes/hypervisor/fake_room.h"

namespace rum {
namespace {

// One hand that moves one thing, and what a report must say of it.
struct Mutation {
  std::string name;
  std::function<void(Model*)> move;
  std::string field;
  Item::State state;
  Item::Author author;
};

std::vector<Mutation> ByTheFile() {
  const auto file = [](const std::string& name, std::function<void(Config*)> edit,
                       const std::string& field, Item::State state) {
    return Mutation{name, [edit](Model* model) { edit(&model->desired); }, field, state,
                    Item::FILE};
  };
  return {
      file(
          "another hostname", [](Config* c) { c->mutable_network()->set_hostname("devbox"); },
          "network.hostname", Item::PENDING),
      file(
          "one more group", [](Config* c) { c->mutable_user()->add_groups("video"); },
          "user.groups[video]", Item::PENDING),
      file(
          "one group less", [](Config* c) { c->mutable_user()->mutable_groups()->RemoveLast(); },
          "user.groups[wheel]", Item::PENDING),
      file(
          "one more key", [](Config* c) { c->mutable_ssh()->add_authorized_keys("ssh-rsa B b"); },
          "ssh.authorized_keys", Item::PENDING),
      file(
          "another target of a port", [](Config* c) { c->mutable_ports(0)->set_guest(81); },
          "ports[127.0.0.1:8080]", Item::PENDING),
      file(
          "no port", [](Config* c) { c->clear_ports(); }, "ports[127.0.0.1:5432]", Item::PENDING),
      file(
          "more memory", [](Config* c) { c->mutable_resources()->set_memory_mb(4096); },
          "resources.memory_mb", Item::NEEDS_RESTART),
      file(
          "another user", [](Config* c) { c->mutable_user()->set_name("me"); }, "user.name",
          Item::NEEDS_RECREATE),
      file(
          "another system script",
          [](Config* c) { c->mutable_provision()->mutable_system()->set_script("s2"); },
          "provision.system.script", Item::OPT_IN),
      file(
          "another boot script",
          [](Config* c) { c->mutable_provision()->mutable_boot()->set_script("b2"); },
          "provision.boot.script", Item::PENDING),
  };
}

std::vector<Mutation> ByTheGuest() {
  const auto guest = [](const std::string& name, std::function<void(agent::Observation*)> type,
                        const std::string& field) {
    return Mutation{name, [type](Model* model) { type(&*model->observed.guest); }, field,
                    Item::DRIFTED, Item::GUEST};
  };
  return {
      guest(
          "hostname", [](agent::Observation* g) { g->set_hostname("typed"); }, "network.hostname"),
      guest(
          "/etc/hostname", [](agent::Observation* g) { g->set_static_hostname("typed"); },
          "network.hostname"),
      guest(
          "/etc/hosts", [](agent::Observation* g) { g->set_hosts_lack_name(true); },
          "network.hostname"),
      guest(
          "gpasswd -d", [](agent::Observation* g) { g->mutable_groups()->RemoveLast(); },
          "user.groups["),
      guest(
          "no authorized_keys", [](agent::Observation* g) { g->clear_authorized_keys(); },
          "ssh.authorized_keys"),
      guest(
          "a CPU offline", [](agent::Observation* g) { g->mutable_resources()->set_cpus(1); },
          "resources.cpus"),
      guest(
          "a reboot", [](agent::Observation* g) { g->set_boot_id("boot-2"); },
          "provision.boot.script"),
  };
}

std::vector<Mutation> ByLibvirtAndTheHost() {
  return {
      {"virsh define with other cpus",
       [](Model* m) { m->observed.domain.persistent.mutable_resources()->set_cpus(7); },
       "resources.cpus", Item::DRIFTED, Item::LIBVIRT},
      {"virsh define with other memory",
       [](Model* m) { m->observed.domain.persistent.mutable_resources()->set_memory_mb(333); },
       "resources.memory_mb", Item::DRIFTED, Item::LIBVIRT},
      {"virsh setmem", [](Model* m) { FakeResize(440, &m->observed.domain); },
       "resources.memory_mb", Item::DRIFTED, Item::LIBVIRT},
      {"virsh setvcpus, and a guest that brings them online",
       [](Model* m) {
         m->observed.domain.live.mutable_resources()->set_cpus(4);
         m->observed.guest->mutable_resources()->set_cpus(4);
       },
       "resources.cpus", Item::DRIFTED, Item::LIBVIRT},
      {"virsh undefine", [](Model* m) { m->observed.domain.defined = false; }, "domain",
       Item::DRIFTED, Item::LIBVIRT},
      {"a stolen port",
       [](Model* m) { m->observed.forwards[0].bound = absl::UnavailableError("in use"); }, "ports[",
       Item::FAILING, Item::HOST},
      {"a lost listener", [](Model* m) { m->observed.forwards.pop_back(); }, "ports[",
       Item::DRIFTED, Item::HOST},
      {"a replaced image", [](Model* m) { m->observed.domain.image_drift = "replaced"; },
       "image.base", Item::NEEDS_RECREATE, Item::HOST},
  };
}

std::vector<Mutation> All() {
  std::vector<Mutation> all = ByTheFile();
  for (const auto& some : {ByTheGuest(), ByLibvirtAndTheHost()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// As a reconcile leaves it: nothing open, and the record knows it.
Model AtRest() {
  Config config = SampleConfig();
  config.mutable_ssh()->add_authorized_keys("ssh-rsa A a");
  Model model = Converged(config);
  NoteReport(model.Status(100), true, 100, &model.record);
  return model;
}

std::vector<Item> Open(const MachineStatus& status) {
  std::vector<Item> open;
  for (const Item& item : status.items()) {
    if (item.state() != Item::HOLDS) open.push_back(item);
  }
  return open;
}

bool IsOf(const Item& item, const Mutation& mutation) {
  return item.field().rfind(mutation.field, 0) == 0 && item.state() == mutation.state &&
         item.moved_by() == mutation.author;
}

const Condition& Get(const MachineStatus& status, const std::string& type) {
  return *FindCondition(status, type);
}

TEST(Drift, OfAConvergedMachineThereIsNone) {
  const MachineStatus status = AtRest().Status();
  EXPECT_TRUE(Open(status).empty());
  for (const char* type : {"Ready", "Synced", "AgentConnected", "ConfigValid", "Provisioned"}) {
    EXPECT_EQ(Get(status, type).status(), Condition::TRUE) << type;
    EXPECT_EQ(Get(status, type).observed_generation(), 1);
  }
  EXPECT_EQ(Get(status, "RestartRequired").status(), Condition::FALSE);
}

TEST(Drift, EverySingleHandIsNamedAndNobodyElse) {
  for (const Mutation& mutation : All()) {
    SCOPED_TRACE(mutation.name);
    Model model = AtRest();
    mutation.move(&model);
    const std::vector<Item> open = Open(model.Status());
    ASSERT_FALSE(open.empty());
    bool named = false;
    for (const Item& item : open) {
      named = named || IsOf(item, mutation);
      EXPECT_EQ(Item::Author_Name(item.moved_by()), Item::Author_Name(mutation.author))
          << item.ShortDebugString();
      EXPECT_NE(item.observed(), item.wanted()) << item.ShortDebugString();
    }
    EXPECT_TRUE(named) << model.Status().DebugString();
    EXPECT_EQ(Get(model.Status(), "Synced").status(), Condition::FALSE);
    EXPECT_EQ(Get(model.Status(), "RestartRequired").status() == Condition::TRUE,
              mutation.state == Item::NEEDS_RESTART);
  }
}

TEST(Drift, TheAuthorAndTheFirstSightStayUntilItIsPutRight) {
  const bool held = rc::check([] {
    const std::vector<Mutation> all = All();
    const Mutation mutation = *rc::gen::elementOf(all);
    Model model = AtRest();
    const Observed before = model.observed;
    const Config wanted = model.desired;
    mutation.move(&model);
    NoteReport(model.Status(1000), false, 1000, &model.record);
    // What is applied follows what is seen, also round after round.
    for (int64_t now : {2000, 3000}) {
      model.NoteObserved(false, now);
      NoteReport(model.Status(now), false, now, &model.record);
    }
    for (const Item& item : Open(model.Status(4000))) {
      RC_ASSERT(item.moved_by() == mutation.author);
      RC_ASSERT(item.first_seen_ms() == 1000);
    }
    RC_ASSERT(!Open(model.Status(4000)).empty());
    model.observed = before;
    model.desired = wanted;
    NoteReport(model.Status(5000), false, 5000, &model.record);
    RC_ASSERT(model.record.drifts_size() == 0);
  });
  EXPECT_TRUE(held);
}

TEST(Drift, IsToldOnceHoweverOftenItIsSeen) {
  for (const Mutation& mutation : All()) {
    SCOPED_TRACE(mutation.name);
    Model model = AtRest();
    mutation.move(&model);
    EXPECT_TRUE(NoteReport(model.Status(1000), false, 1000, &model.record));
    const int64_t told = model.record.last_event();
    EXPECT_EQ(told > 0, mutation.state != Item::FAILING);  // of a failure its action tells
    EXPECT_FALSE(NoteReport(model.Status(2000), false, 2000, &model.record));
    EXPECT_EQ(model.record.last_event(), told);
  }
}

TEST(Drift, AFightIsLeftAloneByTheLoopAfterFiveRoundsAndTakenUpWhenAsked) {
  Model model = AtRest();
  PlanOptions loop;
  loop.retry_failed = false;
  for (int round = 0; round < kMostRounds; ++round) {
    model.observed.guest->set_hostname("typed");
    EXPECT_EQ(model.MakePlan(loop).actions_size(), 1) << round;
    NoteCorrection("network.hostname", 1000 * round, &model.record);
  }
  EXPECT_EQ(model.MakePlan(loop).actions_size(), 0);
  EXPECT_EQ(model.MakePlan().actions_size(), 1) << "rum apply";
  const std::vector<Item> open = Open(model.Status());
  ASSERT_EQ(open.size(), 1u);
  EXPECT_TRUE(open[0].given_up());
  EXPECT_THAT(open[0].text(), testing::HasSubstr("moved again after each of 5 corrections"));
  NoteReport(model.Status(9000), true, 9000, &model.record);
  EXPECT_EQ(model.record.events(model.record.events_size() - 1).kind(), Event::GAVE_UP);
  model.desired.mutable_resources()->set_cpus(1);
  NoteDesired(model.desired, &model.record);
  EXPECT_GT(model.MakePlan(loop).actions_size(), 1) << "another file";
}

TEST(Drift, CorrectionsOfMoreThanAnHourApartAreNoFight) {
  MachineRecord record;
  for (int i = 1; i < 20; ++i) NoteCorrection("user.groups", i * (kRoundMs + 1), &record);
  EXPECT_FALSE(IsFight("user.groups", record));
}

TEST(Conditions, NeverSaySyncedForAGenerationThatWasNotApplied) {
  Model model = AtRest();
  model.desired.mutable_ssh()->set_command("mosh");  // nothing on the machine depends on it
  const MachineStatus status = model.Status();
  EXPECT_EQ(status.generation(), 2);
  EXPECT_TRUE(Open(status).empty());
  EXPECT_EQ(Get(status, "Synced").status(), Condition::FALSE);
  EXPECT_EQ(Get(status, "Synced").reason(), "Pending");
}

TEST(Conditions, KeepTheTimeOfTheirLastTransition) {
  Model model = AtRest();
  EXPECT_EQ(Get(model.Status(500), "Synced").last_transition_ms(), 100);
  model.observed.guest->set_hostname("typed");
  EXPECT_EQ(Get(model.Status(600), "Synced").last_transition_ms(), 600);
  EXPECT_EQ(Get(model.Status(600), "Ready").last_transition_ms(), 100);
}

TEST(Conditions, SayWhyAMachineIsNotReady) {
  Model model = AtRest();
  model.observed.forwards[0].bound = absl::UnavailableError("in use");
  EXPECT_EQ(Get(model.Status(), "Ready").reason(), "PortsNotOpen");
  *model.observed.guest->add_runs() = EndedRun("boot", "exit 3", "boot-1", 3);
  model.desired.mutable_provision()->mutable_boot()->set_script("exit 3");
  EXPECT_EQ(Get(model.Status(), "Ready").reason(), "ScriptFailed");
  model.observed.guest.reset();
  model.observed.agent_was_here = true;
  EXPECT_EQ(Get(model.Status(), "Ready").reason(), "Unreachable");
  EXPECT_EQ(Get(model.Status(), "Provisioned").status(), Condition::UNKNOWN);
}

TEST(History, IsBoundedAndItsValuesToo) {
  MachineRecord record;
  Event event;
  event.set_before(std::string(5000, 'x'));
  for (int i = 0; i < 1000; ++i) AddEvent(event, &record);
  EXPECT_EQ(record.events_size(), kMostEvents);
  EXPECT_EQ(record.events(0).number(), 1000 - kMostEvents + 1);
  EXPECT_LT(record.ByteSizeLong(), 64u * 1024);
}

TEST(History, TellsARepeatedFailureOnce) {
  Model model = AtRest();
  model.observed.forwards[0].bound = absl::UnavailableError("in use");
  ActionResult result;
  result.mutable_action()->set_field("ports");
  result.set_message("ports: in use");
  for (int i = 0; i < 10; ++i) NoteAction(result, model.Status(), i, &model.record);
  EXPECT_EQ(model.record.events_size(), 1);
}

TEST(History, TellsWhatWasPutRightWithBeforeAfterAndByWhom) {
  Model model = AtRest();
  model.observed.guest->set_hostname("typed");
  ActionResult result;
  result.set_ok(true);
  result.mutable_action()->set_field("network.hostname");
  result.set_duration_ms(31);
  NoteAction(result, model.Status(), 7, &model.record);
  ASSERT_EQ(model.record.events_size(), 1);
  const Event& event = model.record.events(0);
  EXPECT_EQ(event.kind(), Event::DONE);
  EXPECT_EQ(event.before(), "typed");
  EXPECT_EQ(event.after(), "dev");
  EXPECT_EQ(event.by(), "guest");
  EXPECT_EQ(event.took_ms(), 31);
}

TEST(Status, OfWhatCouldNotBePutRightIsFailing) {
  Model model = AtRest();
  model.observed.guest->set_hostname("typed");
  const MachineStatus status = MakeStatus(model.desired, model.record, model.observed, 1, "", {},
                                          {{{"network.hostname", "agent: read-only"}}, 5000});
  const std::vector<Item> open = Open(status);
  ASSERT_EQ(open.size(), 1u);
  EXPECT_EQ(open[0].state(), Item::FAILING);
  EXPECT_EQ(open[0].moved_by(), Item::GUEST);
  EXPECT_EQ(open[0].next_try_ms(), 5000);
  EXPECT_EQ(open[0].text(), "typed in the guest, dev wanted: agent: read-only");
  EXPECT_EQ(Get(status, "Synced").reason(), "Failing");
}

}  // namespace
}  // namespace rum
