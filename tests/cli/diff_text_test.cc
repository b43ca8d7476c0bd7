// A dry run's plan, field by field.
#include "cli/diff_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rum {
namespace {

const Style kPlain{false, false, true};
const Style kUtf8{true, false, true};

Change* AddChange(const std::string& field, const std::string& before, const std::string& after,
                  Effect effect, const std::string& reason,
                  google::protobuf::RepeatedPtrField<Change>* changes) {
  Change* change = changes->Add();
  change->set_field(field);
  change->set_before(before);
  change->set_after(after);
  change->set_effect(effect);
  change->set_reason(reason);
  return change;
}

Plan LivePlan() {
  Plan plan;
  Action* hostname = plan.add_actions();
  hostname->set_field("network.hostname");
  hostname->mutable_set_hostname()->set_before("dev");
  hostname->mutable_set_hostname()->set_after("devbox");
  Action* groups = plan.add_actions();
  groups->set_field("user.groups");
  groups->mutable_set_groups()->add_add("docker");
  groups->mutable_set_groups()->add_remove("wheel");
  Action* forwards = plan.add_actions();
  forwards->set_field("ports");
  const auto port = [](const std::string& bind, uint32_t host, uint32_t guest, Port* one) {
    one->set_bind(bind);
    one->set_host(host);
    one->set_guest(guest);
  };
  port("127.0.0.1", 8080, 80, forwards->mutable_set_forwards()->add_removed());
  port("127.0.0.1", 8080, 8000, forwards->mutable_set_forwards()->add_added());
  port("::1", 9, 9, forwards->mutable_set_forwards()->add_added());
  return plan;
}

TEST(Diff, LiveChangesAreTheirFieldsOldAndNew) {
  EXPECT_EQ(RenderDiff(DiffOf(LivePlan()), kUtf8),
            "~ network.hostname: dev → devbox  (live)\n"
            "- user.groups[wheel]: wheel  (live)\n"
            "+ user.groups[docker]: docker  (live)\n"
            "~ ports[127.0.0.1:8080]: guest 80 → guest 8000  (live)\n"
            "+ ports[[::1]:9]: guest 9  (live)\n");
  EXPECT_THAT(RenderDiff(DiffOf(LivePlan()), kPlain), testing::HasSubstr("dev -> devbox"));
}

TEST(Diff, WhatCannotGoLiveSaysWhatItCostsAndWhy) {
  Plan plan;
  AddChange("resources.memory_mb", "1024", "2048", RESTART, "memory is part of the definition",
            plan.mutable_waiting());
  AddChange("drives.data.size", "2G", "1G", RECREATE, "a disk cannot shrink",
            plan.mutable_waiting());
  AddChange("provision.system.script", "one", "two", LIVE_OPT_IN, "", plan.mutable_waiting());
  AddChange("resources.cpus", "1", "", EFFECT_UNSPECIFIED, "", plan.mutable_waiting());
  EXPECT_EQ(RenderDiff(DiffOf(plan), kUtf8),
            "~ resources.memory_mb: 1024 → 2048  (needs a restart: memory is part of the "
            "definition)\n"
            "~ drives.data.size: 2G → 1G  (needs a new disk (`rum up --reset --drives`): a disk "
            "cannot shrink)\n"
            "~ provision.system.script  (`rum reload --force` runs it again)\n"
            "- resources.cpus: 1  (needs a restart)\n");
}

TEST(Diff, OfAMachineThatIsOffItIsWhatTheNextStartBrings) {
  Plan plan;
  plan.set_standing("dev is off: `rum up` starts it");
  AddChange("resources.cpus", "1", "2", RESTART, "", plan.mutable_at_start());
  plan.add_actions()->mutable_define_domain();
  const reports::DiffReport diff = DiffOf(plan);
  EXPECT_EQ(RenderDiff(diff, kUtf8), "~ resources.cpus: 1 → 2  (with the next start)\n");
  EXPECT_EQ(diff.standing(), plan.standing());
  EXPECT_EQ(diff.differences(0).effect(), "start");
}

TEST(Diff, ADefinitionThatSomebodyElseEditedIsADifferenceByItself) {
  Plan plan;
  Action* define = plan.add_actions();
  define->set_field("domain");
  define->mutable_define_domain();
  EXPECT_EQ(RenderDiff(DiffOf(plan), kUtf8),
            "+ domain: write the new definition for the next start  (live)\n");
}

TEST(Diff, EveryKindOfActionIsADifference) {
  const google::protobuf::OneofDescriptor* kinds = Action::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) {
    Action action;
    action.set_field("field");
    action.GetReflection()->MutableMessage(&action, kinds->field(i));
    if (action.has_set_groups()) action.mutable_set_groups()->add_add("a");
    if (action.has_set_authorized_keys())
      action.mutable_set_authorized_keys()->add_add("ssh-ed25519 AAAA me");
    if (action.has_set_storage()) action.mutable_set_storage()->add_made("/data");
    if (action.has_set_forwards()) action.mutable_set_forwards()->add_added()->set_host(1);
    Plan plan;
    *plan.add_actions() = action;
    EXPECT_EQ(DiffOf(plan).differences_size(), 1) << kinds->field(i)->name();
  }
}

TEST(Diff, OfACardIsItsFieldWithWhatBecomesOfIt) {
  Plan plan;
  for (const auto& [card, what] : {std::pair{"nat", Action::ChangeCard::UNPLUG},
                                   {"network:lab", Action::ChangeCard::PLUG},
                                   {"network:lan", Action::ChangeCard::EXCHANGE}}) {
    Action::ChangeCard* const change = plan.add_actions()->mutable_change_card();
    change->set_card(card);
    change->set_what(what);
  }
  EXPECT_EQ(RenderDiff(DiffOf(plan), kPlain),
            "- network.nat: unplug the network card with a way out  (live)\n"
            "+ network.interfaces[lab]: plug the network card on lab in  (live)\n"
            "+ network.interfaces[lan]: exchange the network card on lan while it runs  (live)\n");
}

TEST(Diff, TextsOfFilesAreShownOnOneLineAndAsksAreMarked) {
  Plan plan;
  AddChange("network.hostname", "a\n+ b", "\033[2J", RESTART, "", plan.mutable_waiting());
  Item* ask = plan.add_asks();
  ask->set_field("mounts[/data]");
  ask->set_text("needs your word: /etc");
  const std::string text = RenderDiff(DiffOf(plan), kUtf8);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_THAT(text, testing::HasSubstr("⚠ mounts[/data] needs your word: /etc\n"));
}

TEST(Diff, NothingDiffersInAnEmptyPlan) {
  EXPECT_EQ(RenderDiff(DiffOf(Plan()), kUtf8), "");
  EXPECT_EQ(DiffOf(Plan()).differences_size(), 0);
}

}  // namespace
}  // namespace rum
