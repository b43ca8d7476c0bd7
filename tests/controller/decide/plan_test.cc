#include "controller/decide/plan.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "controller/aspects/script_ledger.h"
#include "controller/decide/record_update.h"
#include "tests/controller/model.h"

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST(Plan, OfAConvergedMachineIsEmpty) {
  const Model model = Converged(SampleConfig());
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
  EXPECT_THAT(Waiting(model.MakePlan()), IsEmpty());
}

TEST(Plan, UpDefinesAndStartsWhatIsNotThere) {
  Model model;
  model.desired = SampleConfig();
  EXPECT_THAT(Names(model.MakePlan({.start = true})),
              ElementsAre("domain: define", "domain: start"));
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
}

TEST(Plan, UpGoesOnWithWhatIsPausedAndNothingElseDoes) {
  Model model = Converged(SampleConfig());
  model.observed.domain.paused = true;
  model.observed.guest.reset();
  EXPECT_THAT(Names(model.MakePlan({.start = true})), ElementsAre("domain: start"));
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
}

TEST(Plan, OfAMachineThatIsOffListsWhatItsNextStartBrings) {
  Model model = Converged(SampleConfig());
  model.observed.guest.reset();
  model.observed.domain.running = false;
  EXPECT_THAT(model.MakePlan().at_start(), IsEmpty());
  model.desired.mutable_resources()->set_memory_mb(2048);
  model.desired.mutable_network()->set_hostname("devbox");
  model.desired.mutable_provision()->mutable_boot()->set_script("echo boot\necho 2");
  model.desired.mutable_provision()->mutable_system()->set_script("echo system 2");
  model.desired.mutable_reconcile()->set_restart("never");
  const auto listed = [&] {
    std::vector<std::string> fields;
    for (const Plan plan = model.MakePlan(); const Change& change : plan.at_start()) {
      EXPECT_EQ(change.after().find('\n'), std::string::npos);
      fields.push_back(change.field());
    }
    return fields;
  };
  const auto all = ElementsAre("resources.memory_mb", "network.hostname", "provision.system.script",
                               "provision.boot.script");
  EXPECT_THAT(listed(), all);
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("domain: define"));
  model.Apply(model.MakePlan());
  EXPECT_THAT(listed(), all) << "also when the definition has it";
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
  EXPECT_THAT(model.MakePlan({.start = true}).at_start(), IsEmpty());
}

TEST(Plan, UpStartsWhatIsDefinedAsItIs) {
  Model model = Converged(SampleConfig());
  model.observed.domain.running = false;
  model.observed.guest.reset();
  model.observed.forwards.clear();
  EXPECT_THAT(Names(model.MakePlan({.start = true})), ElementsAre("domain: start"));
  EXPECT_THAT(Names(model.MakePlan({.start = true, .reset = true})),
              ElementsAre("domain: reset", "domain: start"));
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
}

TEST(Plan, WritesTheDefinitionOfAStoppedMachineWithoutStartingIt) {
  Model model = Converged(SampleConfig());
  model.observed.domain.running = false;
  model.observed.guest.reset();
  model.desired.mutable_resources()->set_cpus(4);
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("domain: define"));
  EXPECT_THAT(Waiting(model.MakePlan()), IsEmpty());
}

TEST(Plan, AppliesTheWholeStoryOfAnEditedFile) {
  Model model = Converged(SampleConfig());
  Config& file = model.desired;
  file.mutable_ports(1)->set_host(3000);
  file.mutable_ports(1)->set_guest(3000);
  file.mutable_network()->set_hostname("devbox");
  file.mutable_user()->set_groups(1, "video");
  file.mutable_provision()->mutable_boot()->set_script("echo boot 2");
  file.mutable_provision()->mutable_system()->set_script("echo system 2");
  file.mutable_resources()->set_memory_mb(2048);
  EXPECT_THAT(
      Names(model.MakePlan()),
      ElementsAre("domain: define", "ports +3000→3000 -5432→5432", "network.hostname dev → devbox",
                  "user.groups +video -wheel", "provision.boot.script again"));
  const Plan plan = model.MakePlan();
  ASSERT_THAT(plan.waiting(), SizeIs(2));
  EXPECT_EQ(Waiting(plan)[0], "resources.memory_mb 1024 → 2048 RESTART");
  EXPECT_NE(plan.waiting(0).reason(), "");
  EXPECT_EQ(plan.waiting(1).field(), "provision.system.script");
  EXPECT_EQ(plan.waiting(1).effect(), LIVE_OPT_IN);
}

TEST(Plan, AChangeThatIsTakenBackLeavesNothing) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_resources()->set_memory_mb(2048);
  model.Apply(model.MakePlan());
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
  EXPECT_THAT(Waiting(model.MakePlan()), ElementsAre("resources.memory_mb 1024 → 2048 RESTART"));
  model.desired = SampleConfig();
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("domain: define"));
  EXPECT_THAT(Waiting(model.MakePlan()), IsEmpty());
  model.Apply(model.MakePlan());
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
}

TEST(Plan, WhatNeedsANewDiskWaitsAndIsNeverDefined) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_image()->set_base("/images/other.qcow2");
  model.desired.mutable_user()->set_name("me");
  model.desired.mutable_resources()->set_disk(10ULL << 30);
  const Plan plan = model.MakePlan();
  EXPECT_THAT(Names(plan), IsEmpty());
  ASSERT_THAT(plan.waiting(), SizeIs(3));
  for (const Change& change : plan.waiting())
    EXPECT_EQ(change.effect(), RECREATE) << change.field();
}

TEST(Plan, AnImageThatWasReplacedUnderItsDiskNeedsANewDisk) {
  Model model = Converged(SampleConfig());
  for (const std::string drift : {"replaced", "gone"}) {
    model.observed.domain.image_drift = drift;
    const Plan plan = model.MakePlan();
    EXPECT_THAT(Names(plan), IsEmpty());
    ASSERT_THAT(plan.waiting(), SizeIs(1));
    EXPECT_EQ(plan.waiting(0).field(), "image.base");
    EXPECT_EQ(plan.waiting(0).effect(), RECREATE);
    EXPECT_THAT(plan.waiting(0).reason(), HasSubstr(drift == "gone" ? "removed" : "replaced"));
  }
  EXPECT_THAT(model.MakePlan({.start = true}).waiting(), SizeIs(1));
  model.observed.domain.running = false;
  EXPECT_THAT(model.MakePlan({.start = true, .reset = true}).waiting(), IsEmpty());
}

TEST(Plan, GroupsAreThoseOfTheUserThatTheDiskHas) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_user()->set_name("me");
  model.desired.mutable_user()->add_groups("video");
  ASSERT_THAT(Names(model.MakePlan()), ElementsAre("user.groups +video"));
  EXPECT_EQ(model.MakePlan().actions(0).set_groups().user(), "rum");
}

TEST(Plan, RemovesOnlyGroupsThatRumAdded) {
  Model model = Converged(SampleConfig());
  model.observed.guest->add_groups("byhand");
  model.desired.mutable_user()->clear_groups();
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("user.groups -docker -wheel"));
}

TEST(Plan, APortThatCouldNotBeBoundIsTriedAgain) {
  Model model = Converged(SampleConfig());
  model.observed.forwards[0].bound = absl::UnavailableError("in use");
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ports +5432→5432"));
}

TEST(Plan, AnotherGuestPortIsAnotherForward) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_ports(0)->set_guest(81);
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ports +8080→81 -8080→80"));
}

TEST(Plan, WithoutAnAgentLeavesTheGuestAlone) {
  Model model = Converged(SampleConfig());
  model.observed.guest.reset();
  model.desired.mutable_network()->set_hostname("devbox");
  model.desired.mutable_ports()->RemoveLast();
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ports -5432→5432"));
}

TEST(Plan, BothHostnamesMustHold) {
  Model model = Converged(SampleConfig());
  model.observed.guest->set_static_hostname("old");
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("network.hostname old → dev"));
}

// What a guest calls itself is bytes; what rum writes down of it is text.
TEST(Plan, AHostnameThatIsNotUtf8IsEscaped) {
  Model model = Converged(SampleConfig());
  model.observed.guest->set_hostname("b\xfcro");
  model.observed.guest->set_static_hostname("b\xfcro");
  model.observed.guest->add_stale_targets("/d\xe4");
  EXPECT_THAT(Names(model.MakePlan()), Contains("network.hostname b\\xfcro → dev"));
  model.NoteObserved(false, 2);
  EXPECT_EQ(model.record.applied().network().hostname(), "b\\xfcro");
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(model.record, &json).ok());
}

TEST(Plan, RewritesADefinitionThatSomebodyChanged) {
  Model model = Converged(SampleConfig());
  model.observed.domain.persistent.mutable_resources()->set_cpus(7);
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("domain: define"));
  EXPECT_THAT(Waiting(model.MakePlan()), IsEmpty());
}

struct ScriptCase {
  const char* name;
  std::vector<agent::ScriptRun> runs;
  PlanOptions options;
  std::vector<std::string> planned;
};

agent::ScriptRun Unended(agent::ScriptRun run) {
  run.set_ended_ms(0);
  return run;
}

agent::ScriptRun Interrupted(agent::ScriptRun run) {
  run.set_ending(agent::ScriptRun::INTERRUPTED);
  return Unended(run);
}

agent::ScriptRun Cancelled(agent::ScriptRun run) {
  run.set_ending(agent::ScriptRun::CANCELLED);
  return run;
}

TEST(Plan, RunsScriptsAsOftenAsTheLedgerSays) {
  const std::string system = "provision.system.script", boot = "provision.boot.script";
  const agent::ScriptRun system_ran = EndedRun("system", "echo system", "boot-0", 0);
  const agent::ScriptRun boot_ran = EndedRun("boot", "echo boot", "boot-1", 0);
  const PlanOptions loop{.retry_failed = false}, force{.force_system_script = true};
  const PlanOptions both{.rerun_system = true, .rerun_boot = true};
  const std::vector<ScriptCase> cases = {
      {"the first boot", {}, {}, {system, boot}},
      {"the first boot, by the loop", {}, loop, {system, boot}},
      {"both ran", {system_ran, boot_ran}, {}, {}},
      {"both ran, forced", {system_ran, boot_ran}, force, {}},
      {"another boot", {system_ran, EndedRun("boot", "echo boot", "boot-0", 0)}, {}, {boot}},
      {"the boot script's text changed",
       {system_ran, EndedRun("boot", "echo old", "boot-1", 0)},
       {},
       {boot + " again"}},
      {"the boot script's text changed and changed back",
       {system_ran, boot_ran, EndedRun("boot", "echo old", "boot-1", 0)},
       {},
       {boot + " again"}},
      {"the boot script failed",
       {system_ran, EndedRun("boot", "echo boot", "boot-1", 3)},
       {},
       {boot}},
      {"the boot script failed, by the loop",
       {system_ran, EndedRun("boot", "echo boot", "boot-1", 3)},
       loop,
       {}},
      {"the boot script failed in another boot, by the loop",
       {system_ran, EndedRun("boot", "echo boot", "boot-0", 3)},
       loop,
       {boot}},
      {"the system script failed",
       {EndedRun("system", "echo system", "boot-0", 1), boot_ran},
       {},
       {system}},
      {"the system script failed, by the loop",
       {EndedRun("system", "echo system", "boot-0", 1), boot_ran},
       loop,
       {}},
      {"the system script was interrupted, by the loop",
       {Interrupted(system_ran), boot_ran},
       loop,
       {}},
      {"the system script was interrupted", {Interrupted(system_ran), boot_ran}, {}, {system}},
      {"the system script failed before a boot script ran, by the loop",
       {EndedRun("system", "echo system", "boot-0", 1)},
       loop,
       {}},
      {"the boot script was interrupted in another boot, by the loop",
       {system_ran, Interrupted(EndedRun("boot", "echo boot", "boot-0", 0))},
       loop,
       {boot}},
      {"a script was cancelled, by the loop", {system_ran, Cancelled(boot_ran)}, loop, {}},
      {"a script was cancelled", {system_ran, Cancelled(boot_ran)}, {}, {boot}},
      {"both ran, and are asked for",
       {system_ran, boot_ran},
       both,
       {system + " again", boot + " again"}},
      {"the boot script is going on", {system_ran, Unended(boot_ran)}, {}, {boot}},
      {"the system script's text changed",
       {EndedRun("system", "old", "boot-0", 0), boot_ran},
       {},
       {}},
      {"the system script's text changed, forced",
       {EndedRun("system", "old", "boot-0", 0), boot_ran},
       force,
       {system + " again"}},
      {"a forced system script is going on",
       {EndedRun("system", "old", "boot-0", 0),
        Unended(EndedRun("system", "echo system", "boot-1", 0)), boot_ran},
       {},
       {system + " again"}},
      {"a forced system script failed",
       {EndedRun("system", "old", "boot-0", 0), EndedRun("system", "echo system", "boot-1", 1),
        boot_ran},
       {},
       {}},
  };
  for (const ScriptCase& c : cases) {
    Model model = Converged(SampleConfig());
    model.observed.guest->clear_runs();
    for (const agent::ScriptRun& run : c.runs) *model.observed.guest->add_runs() = run;
    EXPECT_EQ(Names(model.MakePlan(c.options)), c.planned) << c.name;
  }
}

TEST(Plan, ARunThatGoesOnIsAttachedToAndNeverStartedTwice) {
  Model model = Converged(SampleConfig());
  agent::ScriptRun* boot = model.observed.guest->mutable_runs(1);
  ASSERT_EQ(boot->kind(), "boot");
  boot->set_ended_ms(0);
  ASSERT_THAT(model.MakePlan().actions(), SizeIs(1));
  EXPECT_EQ(model.MakePlan().actions(0).run_script().run_id(), boot->run_id());
}

TEST(Plan, RunIdsAreEqualForEqualLedgersAndNewAfterAnEnd) {
  agent::Observation guest;
  guest.set_boot_id("boot-1");
  std::set<std::string> ids;
  for (int i = 0; i < 20; ++i) {
    if (i == 10) guest.set_boot_id("boot-2");
    const ScriptVerdict verdict = JudgeScript("boot", "echo", guest);
    EXPECT_EQ(verdict.run_id, JudgeScript("boot", "echo", guest).run_id);
    EXPECT_TRUE(ids.insert(verdict.run_id).second) << verdict.run_id;
    EXPECT_LE(verdict.run_id.size(), 64u);
    agent::ScriptRun run = EndedRun("boot", "echo", guest.boot_id(), 1);
    run.set_run_id(verdict.run_id);
    *guest.add_runs() = run;
  }
}

TEST(Plan, KeysGoLiveAndOnlyRumsOwnAreRemoved) {
  Model model = Converged(SampleConfig());
  model.observed.guest->add_authorized_keys("ssh-rsa AAAAbyhand");
  google::protobuf::RepeatedPtrField<std::string>* keys =
      model.desired.mutable_ssh()->mutable_authorized_keys();
  *keys->Add() = "ssh-ed25519 AAAA me@here";
  *keys->Add() = "ssh-rsa AAAAbyhand somebody";
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ssh.authorized_keys +me@here"));
  EXPECT_THAT(Waiting(model.MakePlan()), IsEmpty());
  model.Apply(model.MakePlan());
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
  keys->Clear();
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ssh.authorized_keys -me@here"));
}

TEST(Plan, AnotherCommentIsNoOtherKey) {
  Config config = SampleConfig();
  config.mutable_ssh()->add_authorized_keys("ssh-ed25519 AAAA me@here");
  Model model = Converged(config);
  model.desired.mutable_ssh()->set_authorized_keys(0, "ssh-ed25519 AAAA me@there");
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
  model.Apply(model.MakePlan());
  model.desired.mutable_ssh()->clear_authorized_keys();
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ssh.authorized_keys -me@here"));
}

TEST(Plan, OtherOptionsOfAKeyGoLive) {
  Config config = SampleConfig();
  config.mutable_ssh()->add_authorized_keys("ssh-ed25519 AAAA me");
  Model model = Converged(config);
  for (const char* line :
       {"restrict ssh-ed25519 AAAA me", "no-pty ssh-ed25519 AAAA me", "ssh-ed25519 AAAA me"}) {
    model.desired.mutable_ssh()->set_authorized_keys(0, line);
    EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ssh.authorized_keys +me")) << line;
    model.Apply(model.MakePlan());
    EXPECT_THAT(Names(model.MakePlan()), IsEmpty()) << line;
    EXPECT_THAT(model.observed.guest->authorized_keys(), ElementsAre("ssh-ed25519 AAAA"));
  }
}

TEST(Plan, KeysThatTheSeedBroughtAreRumsOwn) {
  Model model;
  model.desired = SampleConfig();
  model.desired.mutable_ssh()->add_authorized_keys("ssh-ed25519 AAAA me");
  model.Apply(model.MakePlan({.start = true}));
  EXPECT_THAT(model.record.owned_keys(), ElementsAre("ssh-ed25519 AAAA me"));
}

TEST(Record, AGenerationIsAChangeOfTheFile) {
  MachineRecord record;
  EXPECT_TRUE(NoteDesired(SampleConfig(), &record));
  EXPECT_FALSE(NoteDesired(SampleConfig(), &record));
  EXPECT_EQ(record.generation(), 1);
  Config changed = SampleConfig();
  changed.mutable_resources()->set_cpus(3);
  EXPECT_TRUE(NoteDesired(changed, &record));
  EXPECT_EQ(record.generation(), 2);
}

TEST(Record, AppliedIsOnlyWhatWasSeen) {
  Model model = Converged(SampleConfig());
  EXPECT_EQ(model.record.applied().ports_size(), 2);
  model.desired.mutable_network()->set_hostname("devbox");
  model.desired.mutable_resources()->set_memory_mb(2048);
  model.desired.mutable_provision()->mutable_boot()->set_script("echo boot 2");
  model.observed.forwards[1].bound = absl::UnavailableError("in use");
  model.NoteObserved(false, 2);
  const Config& applied = model.record.applied();
  EXPECT_EQ(applied.network().hostname(), "dev");
  EXPECT_EQ(applied.resources().memory_mb(), 1024u);
  EXPECT_EQ(applied.provision().boot().script(), "echo boot");
  EXPECT_EQ(applied.ports_size(), 1);
}

TEST(Record, SeeingTheSameAgainChangesNothing) {
  Model model = Converged(SampleConfig());
  EXPECT_FALSE(model.NoteObserved(true, 99));
}

TEST(Record, AGroupThatIsNeitherWantedNorThereIsNobodys) {
  Model model = Converged(SampleConfig());
  model.desired.mutable_user()->clear_groups();
  model.Apply(model.MakePlan());
  EXPECT_THAT(model.record.owned_groups(), IsEmpty());
  model.observed.guest->add_groups("docker");  // by hand, this time
  EXPECT_THAT(Names(model.MakePlan()), IsEmpty());
}

}  // namespace
}  // namespace rum
