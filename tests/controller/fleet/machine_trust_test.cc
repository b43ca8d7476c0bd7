// What a file reaches on the host, and what it does not before the user's word.
#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/controller/fleet/trust_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kOpen[] = "[[ports]]\nhost = 9000\nguest = 90\nbind = \"0.0.0.0\"\n";
constexpr char kOpenField[] = "ports[0.0.0.0:9000]";
constexpr char kRemote[] = "[advanced]\nlibvirt_uri = \"qemu+ssh://me@vm.example.org/system\"\n";

TEST_F(TrustTest, AnAddressThatOthersReachOpensWithTheUsersWordAlone) {
  GoUp();
  Write(kOpen);
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_FALSE(Listens(9000));
  const Item item = AskOf(kOpenField);
  EXPECT_EQ(item.state(), Item::NEEDS_CONSENT);
  EXPECT_EQ(item.moved_by(), Item::FILE);
  EXPECT_THAT(item.text(), AllOf(HasSubstr("needs your word"), HasSubstr("guest port 90"),
                                 HasSubstr("`rum trust`")));
  EXPECT_EQ(item.first_seen_ms(), world_.Record().drifts(0).first_seen_ms());
  EXPECT_EQ(Synced(), "ConsentRequired");
  EXPECT_TRUE(Listens(8080)) << "the others";
  Seen seen = Apply(*machine_);
  EXPECT_FALSE(Listens(9000)) << "a command without a word is none";
  EXPECT_FALSE(seen.outcome.failed) << "the rest goes on";
  ASSERT_EQ(seen.outcome.plan.asks_size(), 1);
  seen = Apply(*machine_, Trusting(*machine_));
  EXPECT_TRUE(Listens(9000));
  EXPECT_EQ(seen.outcome.plan.asks_size(), 0);
  EXPECT_EQ(Synced(), "InSync");
  machine_.reset();
  machine_ = world_.NewMachine();
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_TRUE(Listens(9000)) << "the word is in the record";
}

TEST_F(TrustTest, TheRestOfTheFileGoesLiveAsAlways) {
  GoUp();
  world_.file.hostname = "renamed";
  world_.file.boot = "another script";
  Write(absl::StrCat(kOpen, SharesHome()));
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_EQ(world_.guest->hostname, "renamed");
  EXPECT_EQ(world_.hypervisor->Inspect(world_.identity)->persistent.mounts_size(), 0)
      << "nor at the next start";
  EXPECT_THAT(AskOf("mounts[/data]").text(),
              HasSubstr(absl::StrCat("shares ", home_, "/secret with the guest, which can write")));
}

TEST_F(TrustTest, AGuestThatRewritesTheFileGainsNothingByWhatWasConsentedTo) {
  Write("[[mounts]]\nsource = \".\"\ntarget = \"/work\"\n");
  GoUp();
  Write(absl::StrCat("[[mounts]]\nsource = \".\"\ntarget = \"/work\"\n", kOpen));
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_)).outcome.failed);
  EXPECT_TRUE(Listens(9000));
  Write(absl::StrCat("[[mounts]]\nsource = \"", home_, "\"\ntarget = \"/work\"\n",
                     "[[ports]]\nhost = 9000\nguest = 22\nbind = \"0.0.0.0\"\n",
                     "[[ports]]\nhost = 9001\nguest = 90\nbind = \"0.0.0.0\"\n"));
  EXPECT_TRUE(machine_->Background({}).ok());
  const Config next = world_.hypervisor->Inspect(world_.identity)->persistent;
  ASSERT_EQ(next.mounts_size(), 1);
  EXPECT_EQ(next.mounts(0).source(), world_.folder()) << "goes on as it was";
  EXPECT_EQ(world_.host->open[9000].guest, 90);
  EXPECT_FALSE(Listens(9001));
  EXPECT_THAT(AskOf("mounts[/work]").observed(), world_.folder());
}

TEST_F(TrustTest, ThatTheGuestCanWriteTheFileIsSaidWithWhatIsAsked) {
  const std::string share = "[[mounts]]\nsource = \".\"\ntarget = \"/work\"\n";
  Write(share);
  GoUp();
  EXPECT_THAT(machine_->Status().notes(), IsEmpty()) << "alone it is no question";
  Write(share + kOpen);
  EXPECT_THAT(machine_->Status().notes(), Contains(HasSubstr("the guest can write this file")));
}

TEST_F(TrustTest, AFileThatChangedBetweenQuestionAndAnswerGetsNothingMore) {
  GoUp();
  Write(kOpen);
  const ApplyOptions options = Trusting(*machine_);
  Write("[[ports]]\nhost = 9000\nguest = 22\nbind = \"0.0.0.0\"\n");
  EXPECT_FALSE(Apply(*machine_, options).outcome.failed);
  EXPECT_FALSE(Listens(9000));
}

TEST_F(TrustTest, ADryRunTakesNoWordAndAsksNobody) {
  machine_ = world_.NewMachine();
  Write(kRemote);
  ApplyOptions dry = Up();
  dry.dry_run = true;
  EXPECT_TRUE(Apply(*machine_, dry).outcome.failed);
  EXPECT_THAT(asked_, IsEmpty());
  dry.trust = Trusting(*machine_).trust;
  EXPECT_FALSE(Apply(*machine_, dry).outcome.failed) << "what would be";
  EXPECT_THAT(world_.Record().consented(), IsEmpty());
}

TEST_F(TrustTest, ALibvirtElsewhereIsNotAskedBeforeTheUsersWord) {
  machine_ = world_.NewMachine();
  Write(kRemote);
  const Seen up = Apply(*machine_, Up());
  EXPECT_TRUE(up.outcome.failed);
  EXPECT_THAT(up.outcome.error, AllOf(HasSubstr("waits for your word"),
                                      HasSubstr("works on the libvirt of vm.example.org, as me"),
                                      HasSubstr("--trust")));
  EXPECT_EQ(up.outcome.plan.asks_size(), 1);
  const MachineStatus status = machine_->Status();
  EXPECT_EQ(status.phase(), MachineStatus::NOT_DEFINED);
  EXPECT_THAT(status.error(), HasSubstr("waits for your word"));
  EXPECT_TRUE(machine_->Down({}).failed);
  EXPECT_TRUE(machine_->Destroy({}).failed);
  EXPECT_FALSE(machine_->access().Guest().ok());
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_, Up())).outcome.failed);
  EXPECT_THAT(asked_, ElementsAre("qemu+ssh://me@vm.example.org/system"));
  asked_.clear();
  Machine::TrustChange revoke;
  revoke.revoke_all = true;
  EXPECT_TRUE(machine_->Trust(revoke).ok());
  EXPECT_FALSE(machine_->Background({}).ok());
  EXPECT_EQ(machine_->Status().phase(), MachineStatus::UNREACHABLE);
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(TrustTest, ASocketOfTheProjectNeedsNoWordAndComesBackWithTheController) {
  const std::string near = absl::StrCat("unix:", world_.folder(), "/app.sock");
  const std::string far = absl::StrCat("unix:", home_, "/secret/app.sock");
  const auto sockets = [this] {
    std::lock_guard<std::mutex> lock(world_.host->mutex);
    std::vector<std::string> binds;
    for (const auto& [bind, forward] : world_.host->sockets) binds.push_back(bind);
    return binds;
  };
  const std::string both = absl::StrCat("[[ports]]\nguest = 80\nbind = \"unix:./app.sock\"\n",
                                        "[[ports]]\nguest = 81\nbind = \"", far, "\"\n");
  for (const bool automatic : {true, false}) {
    world_.file.auto_reconcile = automatic;
    Write(both);
    GoUp();
    EXPECT_THAT(sockets(), ElementsAre(near));
    EXPECT_EQ(AskOf(absl::StrCat("ports[", far, "]")).wanted(), far + " to guest port 81");
    EXPECT_FALSE(Apply(*machine_, Trusting(*machine_)).outcome.failed);
    EXPECT_THAT(sockets(), testing::UnorderedElementsAre(near, far));
    machine_.reset();
    EXPECT_THAT(sockets(), IsEmpty());
    machine_ = world_.NewMachine();
    EXPECT_TRUE(machine_->Background({}).ok());
    EXPECT_THAT(sockets(), testing::UnorderedElementsAre(near, far));
    Machine::TrustChange revoke;
    revoke.revoke_all = true;
    EXPECT_TRUE(machine_->Trust(revoke).ok());
    EXPECT_THAT(sockets(), ElementsAre(near)) << "closed at once";
    EXPECT_FALSE(machine_->Destroy({}).failed);
    EXPECT_THAT(sockets(), IsEmpty());
  }
}

TEST_F(TrustTest, AnImageThatIsLaidOverAnotherFileStartsNothing) {
  const std::string image = world_.folder() + "/disk.qcow2";
  std::string bytes(512, 0);
  bytes.replace(0, 8, std::string("QFI\xfb\0\0\0\3", 8));
  const auto write = [&] { std::ofstream(image) << bytes; };
  world_.file.image = image;
  Write("");
  write();
  GoUp();
  EXPECT_FALSE(machine_->Down({}).failed);
  bytes[14] = 1;  // a backing file's name at 256
  bytes[19] = 11;
  bytes.replace(256, 11, "/etc/shadow");
  write();
  const Seen up = Apply(*machine_, Up());
  EXPECT_THAT(up.outcome.error, HasSubstr("a layer over /etc/shadow"));
  EXPECT_FALSE(world_.hypervisor->Inspect(world_.identity)->running);
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_, Up())).outcome.failed);
  world_.hypervisor->PowerOff(world_.identity, DomainCause::kCrashed);
  bytes.replace(256, 11, "/etc/passwd");
  write();
  // Its pause before a start is over the second time.
  world_.now = [this] { return now_; };
  machine_ = world_.NewMachine();
  for (int i = 0; i < 2; ++i) {
    (void)machine_->Background({});
    now_ += absl::Hours(1);
  }
  EXPECT_FALSE(world_.hypervisor->Inspect(world_.identity)->running);
  world_.file.image = "/images/another.qcow2";
  Write("");
  EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed) << "which is not there and asks nothing";
}

TEST_F(TrustTest, AResetMakesNoDiskOfAnImageThatIsWithheld) {
  GoUp();
  const int made = world_.hypervisor->DisksMade(world_.identity);
  std::ofstream(home_ + "/secret/private.img") << "x";
  fs::permissions(home_ + "/secret", fs::perms(0700));
  world_.file.image = home_ + "/secret/private.img";
  Write("");
  ApplyOptions reset = Up();
  reset.reset = true;
  EXPECT_TRUE(Apply(*machine_, reset).outcome.failed);
  EXPECT_EQ(world_.hypervisor->DisksMade(world_.identity), made) << "nor one of the image before";
  EXPECT_FALSE(Apply(*machine_).outcome.failed) << "all else goes on";
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_, reset)).outcome.failed);
  EXPECT_EQ(world_.hypervisor->DisksMade(world_.identity), made + 1);
}

TEST_F(TrustTest, WhatIsTakenBackIsClosedAtOnceAndIsNotSharedAgain) {
  for (const bool automatic : {true, false}) {
    world_.file.auto_reconcile = automatic;
    Write(absl::StrCat(kOpen, SharesHome()));
    machine_ = world_.NewMachine();
    EXPECT_FALSE(Apply(*machine_, Trusting(*machine_, Up())).outcome.failed);
    ASSERT_TRUE(Listens(9000));
    EXPECT_EQ(world_.hypervisor->Inspect(world_.identity)->persistent.mounts_size(), 1);
    Machine::TrustChange change;
    change.revoke = {"ports"};
    EXPECT_EQ(machine_->Trust(change)->asks.size(), 1u);
    EXPECT_FALSE(Listens(9000));
    EXPECT_TRUE(Listens(8080));
    change.revoke = {"mounts[/data]"};
    EXPECT_THAT(machine_->Trust(change)->consented, IsEmpty());
    EXPECT_TRUE(machine_->Background({}).ok());
    machine_.reset();
    machine_ = world_.NewMachine();  // what it opens again is what may be open
    EXPECT_TRUE(machine_->Background({}).ok());
    EXPECT_FALSE(Listens(9000));
    EXPECT_TRUE(Listens(8080));
    if (automatic) {
      EXPECT_EQ(world_.hypervisor->Inspect(world_.identity)->persistent.mounts_size(), 0);
    }
  }
}

// The record as the build before left it, with what it was made by.
TEST_F(TrustTest, AMachineOfABuildThatAskedNobodyGoesOnAndSaysOnceWhatItHas) {
  Write(absl::StrCat(kOpen, SharesHome()));
  machine_ = world_.NewMachine();
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_, Up())).outcome.failed);
  machine_.reset();
  MachineRecord& record = world_.disk->records[world_.identity.id];
  record.clear_consent_known();
  record.clear_consented();
  const int events = record.events_size();
  Write(absl::StrCat(kOpen, SharesHome(), "[[ports]]\nhost = 9001\nguest = 22\nbind = \"::\"\n"));
  machine_ = world_.NewMachine();
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_TRUE(Listens(9000));
  EXPECT_FALSE(Listens(9001)) << "what came since is asked";
  std::vector<std::string> told;
  const auto tell = [&] {
    told.clear();
    const MachineRecord now = world_.Record();
    for (int i = events; i < now.events_size(); ++i) {
      if (absl::StrContains(now.events(i).why(), "counts as consented"))
        told.push_back(now.events(i).field());
    }
  };
  tell();
  EXPECT_THAT(told, ElementsAre("mounts[/data]", kOpenField));
  machine_.reset();
  machine_ = world_.NewMachine();
  EXPECT_TRUE(machine_->Background({}).ok());
  tell();
  EXPECT_EQ(told.size(), 2u) << "once";
  const absl::StatusOr<Machine::TrustState> state = machine_->Trust({});
  ASSERT_EQ(state->consented.size(), 2u);
  EXPECT_EQ(state->consented[0].given_ms(), 0);
}

// As it lies in the state folder of somebody who upgrades: no field that came with consent.
TEST_F(TrustTest, ARecordOfTheBuildBeforeIsTakenOver) {
  const std::string text = absl::StrCat(
      R"({"format": 1, "id": ")", world_.identity.id, R"(", "name": "dev", "config_path": ")",
      world_.identity.config_path, R"(", "generation": "3", "applied_generation": "3",
      "want_running": true, "identity_rule": 1, "libvirt_uri": "qemu+ssh://vm/system",
      "desired": {"image": {"base": "debian-12"}, "ports": [{"bind": "::", "host": 9, "guest": 9}]},
      "applied": {"image": {"base": "debian-12"},
                  "advanced": {"libvirt_uri": "qemu+ssh://vm/system"},
                  "mounts": [{"source": ")",
      home_, R"(", "target": "/home", "readonly": true}, {"source": ")", world_.folder(),
      R"(", "target": "/work"}],
                  "ports": [{"bind": "0.0.0.0", "guest": 80, "host": 20001, "auto": true},
                            {"bind": "127.0.0.1", "guest": 81, "host": 8081}]}})");
  MachineRecord record;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(text, &record).ok());
  world_.disk->records[record.id()] = record;
  machine_ = world_.NewMachine();
  const absl::StatusOr<Machine::TrustState> state = machine_->Trust({});
  ASSERT_TRUE(state.ok()) << state.status();
  std::vector<std::string> consented;
  for (const ConsentedValue& value : state->consented)
    consented.push_back(absl::StrCat(value.field(), " = ", value.value()));
  EXPECT_THAT(consented,
              ElementsAre("advanced.libvirt_uri = qemu+ssh://vm/system",
                          absl::StrCat("mounts[/home] = read-only ", home_),
                          "ports[0.0.0.0:auto:80] = 0.0.0.0 at any port to guest port 80"));
}

TEST_F(TrustTest, AWordBeforeTheFirstUpIsKeptAndNothingElseIs) {
  Write(kOpen);
  machine_ = world_.NewMachine();
  Machine::TrustChange give;
  give.give = Trusting(*machine_).trust;
  EXPECT_THAT(machine_->Trust(give)->asks, IsEmpty());
  EXPECT_FALSE(machine_->made());
  machine_ = world_.NewMachine();
  EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
  EXPECT_TRUE(Listens(9000));
  EXPECT_FALSE(machine_->Destroy({}).failed);
  EXPECT_THAT(world_.disk->records, IsEmpty()) << "it goes with the machine";
  EXPECT_EQ(Trusting(*machine_).trust.size(), 1u);
  EXPECT_THAT(machine_->Trust(give)->asks, IsEmpty());
  Machine::TrustChange revoke;
  revoke.revoke_all = true;
  EXPECT_EQ(machine_->Trust(revoke)->asks.size(), 1u);
  EXPECT_THAT(world_.disk->records, IsEmpty());
}

TEST_F(TrustTest, TheLoopObeysTheWordAtOnce) {
  Controller controller(world_.Parts());
  ASSERT_TRUE(controller.Start().ok());
  const std::string& path = world_.identity.config_path;
  EXPECT_FALSE(controller.Apply(path, Up(), {}).failed);
  Write(kOpen);
  ASSERT_TRUE(Eventually([&] { return !world_.Record().drifts().empty(); }));
  EXPECT_FALSE(Listens(9000));
  Machine::TrustChange change;
  const absl::StatusOr<Machine::TrustState> state = controller.Trust(path, {});
  for (const Ask& ask : state->asks) change.give.push_back(ConsentTo(ask, 0));
  EXPECT_THAT(controller.Trust(path, change)->asks, IsEmpty());
  EXPECT_TRUE(Eventually([&] { return Listens(9000); }));
}

}  // namespace
}  // namespace rum
