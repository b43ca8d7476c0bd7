// All aspects, each on a machine of its own: one that holds, one that is cured, one that waits or
// of which nobody can know; and every field of the schema is some aspect's.
#include "controller/aspects/aspects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "controller/aspects/storage.h"
#include "controller/decide/record_update.h"
#include "state/schema.h"
#include "tests/controller/model.h"
#include "tests/fakes/hypervisor/fake_room.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Move = std::function<void(Model*)>;

struct Case {
  Move move;  // somebody moves it; null: there is nothing that its own action cures
  Move hide;  // it waits, or cannot be known any more
};

agent::Observation& Guest(Model* model) { return *model->observed.guest; }

void NoAgent(Model* model) { model->observed.guest.reset(); }

std::map<std::string, Case> Cases() {
  return {
      {"ports",
       {[](Model* m) { m->observed.forwards.pop_back(); },
        [](Model* m) { m->observed.domain.running = false; }}},
      {"agent", {nullptr, [](Model* m) { Guest(m).set_not_replaced("a newer agent"); }}},
      {"network.hostname", {[](Model* m) { Guest(m).set_hostname("typed"); }, NoAgent}},
      {"user.groups", {[](Model* m) { Guest(m).mutable_groups()->RemoveLast(); }, NoAgent}},
      {"cards",
       {[](Model* m) { m->observed.domain.live.mutable_network()->set_nat(false); },
        [](Model* m) { Guest(m).add_cut("cards"); }}},
      {"ssh.authorized_keys", {[](Model* m) { Guest(m).clear_authorized_keys(); }, NoAgent}},
      {"disks",
       {[](Model* m) { m->observed.domain.live.mutable_drives()->erase("data"); },
        [](Model* m) {  // grown, and what is on it cannot
          m->observed.domain.grown.insert("data");
          Guest(m).mutable_drives(1)->set_grows(true);
          Guest(m).mutable_drives(1)->set_cannot_grow("the guest has no resize2fs");
        }}},
      {"mounts",
       {[](Model* m) { m->observed.domain.live.clear_mounts(); },
        [](Model* m) {  // it has left the file, and its mount was dropped
          m->desired.clear_mounts();
          m->observed.domain.live.clear_mounts();
          m->observed.domain.leaving_folders["src"] = "/home/me/src";
          agent::ShareState* const share = Guest(m).mutable_shares()->add_leaving();
          share->set_tag("src");
          share->set_used("mounted at /elsewhere");
        }}},
      {"storage", {[](Model* m) { Guest(m).mutable_volumes(0)->set_holds(false); }, NoAgent}},
      {"guest.timezone",
       {[](Model* m) { Guest(m).mutable_settings()->set_timezone("UTC"); },
        [](Model* m) { Guest(m).clear_settings(); }}},  // an older agent
      {"domain",
       {[](Model* m) { m->observed.domain.persistent.mutable_resources()->set_cpus(7); },
        [](Model* m) { m->observed.domain.live.mutable_advanced()->set_machine("pc"); }}},
      {"resources.memory_mb",
       {[](Model* m) { FakeResize(512, &m->observed.domain); },
        [](Model* m) {
          FakeResize(512, &m->observed.domain);
          NoAgent(m);
        }}},
      {"resources.cpus",
       {[](Model* m) { Guest(m).mutable_resources()->set_cpus(1); },
        [](Model* m) {
          m->observed.domain.live.mutable_resources()->set_cpus(4);
          NoAgent(m);
        }}},
      {"provision",
       {[](Model* m) { Guest(m).set_boot_id("boot-2"); },
        [](Model* m) { m->desired.mutable_provision()->mutable_system()->set_script("another"); }}},
  };
}

// With something of every aspect, and all of it as it should be.
Model Full() {
  Config config = SampleConfig();
  config.mutable_ssh()->add_authorized_keys("ssh-ed25519 AAAA me");
  config.mutable_guest()->set_timezone("Europe/Berlin");
  (*config.mutable_drives())["data"].set_size(1 << 30);
  Fs* fs = (*config.mutable_fs())["ext4"].add_entries();
  fs->set_drive("data");
  fs->set_target("/data");
  Mount* mount = config.add_mounts();
  mount->set_source("/home/me/src");
  mount->set_target("/src");
  mount->set_tag("src");
  Model model = Converged(config);
  model.observed.domain.virtiofs = true;
  model.observed.domain.room.sharing = Sharing::kLive;
  Guest(&model).mutable_shares()->set_virtiofs(true);
  for (const agent::Volume& volume : VolumesOf(model.observed.domain)) {
    agent::VolumeState* state = Guest(&model).add_volumes();
    state->set_target(volume.target());
    state->set_holds(true);
  }
  Guest(&model).mutable_settings()->set_timezone("Europe/Berlin");
  Guest(&model).set_sets_up_cards(true);
  model.observed.domain.ports = PlugPorts{8, 14};
  for (const char* serial : {"rum.root", "rum-data"})
    Guest(&model).add_drives()->set_serial(serial);
  return model;
}

Verdict JudgedBy(const Aspect& aspect, const Model& model,
                 const PlanOptions& options = PlanOptions()) {
  return aspect.judge(Scene(model.desired, model.record, model.observed, options));
}

std::vector<std::string> Open(const Verdict& verdict) {
  std::vector<std::string> open;
  for (const Finding& finding : verdict.findings) {
    if (finding.item.state() != Item::HOLDS) open.push_back(finding.item.field());
  }
  return open;
}

void ExpectHolds(const Verdict& verdict) {
  EXPECT_THAT(Open(verdict), IsEmpty());
  EXPECT_TRUE(verdict.actions.empty());
  EXPECT_TRUE(verdict.held_back.empty());
  EXPECT_TRUE(verdict.waiting.empty());
  EXPECT_TRUE(verdict.released.empty());
}

class EveryAspect : public testing::TestWithParam<std::string> {
 protected:
  static const Aspect& Tested() {
    for (const Aspect& aspect : Aspects()) {
      if (aspect.name == GetParam()) return aspect;
    }
    ADD_FAILURE() << "no aspect " << GetParam();
    return Aspects()[0];
  }
};

TEST_P(EveryAspect, HoldsOnAConvergedMachine) { ExpectHolds(JudgedBy(Tested(), Full())); }

TEST_P(EveryAspect, CuresWhatSomebodyMovedByItsOwnActions) {
  const Aspect& aspect = Tested();
  const Move move = Cases().at(aspect.name).move;
  EXPECT_EQ(move == nullptr, aspect.act == nullptr);
  if (move == nullptr) return;
  Model model = Full();
  move(&model);
  const Verdict moved = JudgedBy(aspect, model);
  ASSERT_FALSE(moved.actions.empty());
  EXPECT_FALSE(Open(moved).empty());
  for (const Finding& finding : moved.findings) {
    if (finding.item.state() == Item::HOLDS) continue;
    EXPECT_EQ(AspectOf(finding.item.remedy()), &aspect) << finding.item.ShortDebugString();
    EXPECT_NE(finding.item.observed(), finding.item.wanted());
    EXPECT_NE(finding.what, "");
    EXPECT_NE(finding.outlook, "");
  }
  for (const Action& action : moved.actions) {
    EXPECT_EQ(AspectOf(action.field()), &aspect) << action.ShortDebugString();
    model.Apply(action);
  }
  ExpectHolds(JudgedBy(aspect, model));
}

TEST_P(EveryAspect, DoesNothingWhereItWaitsOrCannotBeKnown) {
  Model model = Full();
  Cases().at(GetParam()).hide(&model);
  const Verdict hidden = JudgedBy(Tested(), model);
  EXPECT_TRUE(hidden.actions.empty());
  const bool known = !hidden.findings.empty() || hidden.known.paths_size() > 0;
  const bool waits = !hidden.waiting.empty() || !Open(hidden).empty();
  EXPECT_TRUE(waits || !known);
}

TEST_P(EveryAspect, JudgesTheSameHoweverOftenItIsAsked) {
  for (const Move& move : {Cases().at(GetParam()).move, Cases().at(GetParam()).hide}) {
    Model model = Full();
    if (move) move(&model);
    const Verdict once = JudgedBy(Tested(), model);
    model.NoteObserved(false, 2);  // what is applied follows, and nothing else does
    const Verdict twice = JudgedBy(Tested(), model);
    EXPECT_EQ(once.actions.size(), twice.actions.size());
    EXPECT_EQ(Open(once), Open(twice));
  }
}

INSTANTIATE_TEST_SUITE_P(OfTheController, EveryAspect, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const Aspect& aspect : Aspects()) names.push_back(aspect.name);
                           return names;
                         }()),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return name;
                         });

TEST(Aspects, AreAllTried) {
  std::vector<std::string> tried, there;
  for (const auto& [name, c] : Cases()) tried.push_back(name);
  for (const Aspect& aspect : Aspects()) there.push_back(aspect.name);
  EXPECT_THAT(tried, testing::UnorderedElementsAreArray(there));
}

TEST(Aspects, OfEveryFieldThatCostsSomethingIsExactlyOne) {
  std::map<std::string, int> aspects_of;
  for (const Aspect& aspect : Aspects()) {
    for (const std::string& field : aspect.fields) ++aspects_of[field];
  }
  for (const std::string& field : FieldsOfEffects({LIVE, LIVE_OPT_IN, RESTART, RECREATE})) {
    EXPECT_EQ(aspects_of[field], 1) << field << " needs an aspect in controller/aspects/";
    aspects_of.erase(field);
  }
  for (const auto& [field, count] : aspects_of) ADD_FAILURE() << field << " is no such field";
}

TEST(Aspects, TellForTheRecordWhatTheyMakeHold) {
  const Model model = Full();
  for (const Aspect& aspect : Aspects()) {
    const Verdict verdict = JudgedBy(aspect, model);
    for (const std::string& field : aspect.fields) {
      bool told = false;
      for (const std::string& path : verdict.known.paths()) {
        told = told || (path.rfind("applied.", 0) == 0 && ("applied." + field).rfind(path, 0) == 0);
      }
      EXPECT_TRUE(told) << field << " is not noted as applied";
    }
  }
}

TEST(Judge, ReportsTheSameWhateverACommandAsksFor) {
  PlanOptions reset;
  reset.start = reset.reset = reset.rerun_system = reset.rerun_boot = true;
  reset.retry_failed = false;
  for (const auto& [name, c] : Cases()) {
    Model model = Full();
    c.hide(&model);
    model.observed.domain.running = false;
    const Judgement plain = Judge(model.desired, model.record, model.observed, PlanOptions());
    const Judgement asked = Judge(model.desired, model.record, model.observed, reset);
    for (size_t i = 0; i < plain.verdicts.size(); ++i) {
      EXPECT_EQ(Open(plain.verdicts[i]), Open(asked.verdicts[i])) << name;
    }
  }
}

// A stop in the middle of things leaves an older look; what was begun since is rum's all the same.
TEST(Record, KeepsWhatWasBegunAfterTheLookThatItFollows) {
  Model model = Full();
  model.desired.mutable_user()->add_groups("video");
  model.desired.mutable_ssh()->add_authorized_keys("ssh-ed25519 BBBB you");
  const Judgement look = Judge(model.desired, model.record, model.observed, PlanOptions());
  for (const Verdict& verdict : look.verdicts) {
    for (const Action& action : verdict.actions) {
      NoteIntent(model.desired, model.observed, action, &model.record);
    }
  }
  NoteObserved(model.desired, look, false, 2, &model.record);
  EXPECT_THAT(model.record.owned_groups(), ElementsAre("docker", "video", "wheel"));
  EXPECT_THAT(model.record.owned_keys(),
              ElementsAre("ssh-ed25519 AAAA me", "ssh-ed25519 BBBB you"));
}

TEST(Record, OfAKeyWhoseOptionsCouldNotBeSetKeepsTheOldOnes) {
  Model model = Full();
  model.desired.mutable_ssh()->set_authorized_keys(0, "no-pty ssh-ed25519 AAAA me");
  ASSERT_THAT(Names(model.MakePlan()), ElementsAre("ssh.authorized_keys +me"));
  model.NoteObserved(false, 2);  // it failed
  EXPECT_THAT(model.record.applied().ssh().authorized_keys(), ElementsAre("ssh-ed25519 AAAA me"));
  EXPECT_THAT(Names(model.MakePlan()), ElementsAre("ssh.authorized_keys +me")) << "tried again";
}

}  // namespace
}  // namespace rum
