// What a file reaches on the host, and what it does not before the user's word.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "state/bind_address.h"
#include "state/libvirt_uri.h"
#include "state/surroundings.h"
#include "tests/controller/fake_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kOpen[] = "[[ports]]\nhost = 9000\nguest = 90\nbind = \"0.0.0.0\"\n";
constexpr char kOpenField[] = "ports[0.0.0.0:9000]";
constexpr char kRemote[] = "[advanced]\nlibvirt_uri = \"qemu+ssh://me@vm.example.org/system\"\n";

constexpr char kLab[] = "network.interfaces[lab]";

std::string CardOn(const std::string& network) {
  return absl::StrCat("[[network.interfaces]]\nnetwork = \"", network, "\"\n");
}

std::vector<std::string> JoinedBy(const Config& config) {
  std::vector<std::string> joined;
  for (const Interface& card : config.network().interfaces()) {
    if (card.joined()) joined.push_back(card.network());
  }
  return joined;
}

// A socket's path has an end soon.
struct ShortPaths {
  ShortPaths() { setenv("TEST_TMPDIR", "/tmp", 1); }
};

class TrustTest : private ShortPaths, public testing::Test {
 protected:
  TrustTest() {
    home_ = absl::StrCat(std::getenv("TEST_TMPDIR"), "/home.XXXXXX");
    home_ = fs::canonical(mkdtemp(home_.data()));
    fs::create_directory(home_ + "/secret");
    setenv("HOME", home_.c_str(), 1);
    world_.on_connect = [this](const std::string& uri) { asked_.insert(uri); };
  }
  ~TrustTest() override { fs::remove_all(home_); }

  void GoUp() {
    machine_ = world_.NewMachine();
    const Seen up = Apply(*machine_, Up());
    ASSERT_FALSE(up.outcome.failed) << up.outcome.error;
    asked_.clear();
  }
  void Write(const std::string& more) {
    world_.file.more = more;
    world_.Save();
  }
  std::string SharesHome() const {
    return absl::StrCat("[[mounts]]\nsource = \"", home_, "/secret\"\ntarget = \"/data\"\n");
  }
  bool Listens(uint16_t port) {
    std::lock_guard<std::mutex> lock(world_.host->mutex);
    return world_.host->open.count(port) > 0;
  }
  Item AskOf(const std::string& field) {
    for (const MachineStatus status = machine_->Status(); const Item& item : status.items()) {
      if (item.field() == field && item.state() == Item::NEEDS_CONSENT) return item;
    }
    return Item();
  }
  std::string Synced() {
    for (const MachineStatus status = machine_->Status(); const auto& one : status.conditions()) {
      if (one.type() == "Synced") return one.reason();
    }
    return "";
  }

  std::string home_;
  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
  std::set<std::string> asked_;  // libvirts
  absl::Time now_ = absl::Now();
};

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

TEST_F(TrustTest, ANetworkThatRumDidNotMakeIsJoinedWithTheUsersWordAlone) {
  const auto joined = [this] {
    return JoinedBy(world_.hypervisor->Inspect(world_.identity)->persistent);
  };
  world_.hypervisor->SetNetworks({"default", "lab"});
  GoUp();
  Write(CardOn("lab") + CardOn("lan") + CardOn("default"));
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_THAT(joined(), ElementsAre("default"));
  EXPECT_THAT(AskOf(kLab).text(), HasSubstr("joins libvirt's network lab, which rum did not make"));
  EXPECT_EQ(AskOf("network.interfaces[lan]").field(), "") << "rum makes it";
  EXPECT_EQ(Synced(), "ConsentRequired");
  EXPECT_FALSE(Apply(*machine_).outcome.failed) << "the rest goes on";
  EXPECT_THAT(joined(), ElementsAre("default"));
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_)).outcome.failed);
  EXPECT_THAT(joined(), ElementsAre("lab", "default"));
  Machine::TrustChange revoke;
  revoke.revoke = {"network"};
  EXPECT_EQ(machine_->Trust(revoke)->asks.size(), 1u);
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_THAT(joined(), ElementsAre("default")) << "from the next start on";
}

TEST_F(TrustTest, ANetworkThatSomebodyMakesLaterUnderTheNameOfTheMachinesOwnIsNotJoined) {
  Write(CardOn("lan"));
  GoUp();
  world_.hypervisor->SetNetworks({"lan"});
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
  const Config next = world_.hypervisor->Inspect(world_.identity)->persistent;
  EXPECT_EQ(next.network().interfaces_size(), 1) << "it keeps its own";
  EXPECT_THAT(JoinedBy(next), IsEmpty());
  EXPECT_EQ(AskOf("network.interfaces[lan]").observed(), "one of the machine's own");
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

TEST_F(TrustTest, ALibvirtThatDoesNotAnswerChangesNoNetworkAndIsNamed) {
  world_.hypervisor->SetNetworks({"lab"});
  Write(CardOn("lab") + CardOn("lan"));
  machine_ = world_.NewMachine();
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_, Up())).outcome.failed);
  world_.hypervisor->FailAll(absl::UnavailableError("libvirtd went"));
  EXPECT_EQ(machine_->Background({}).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Apply(*machine_).outcome.error, HasSubstr("libvirtd went"));
  EXPECT_EQ(AskOf(kLab).field(), "") << "nothing new is asked";
  world_.hypervisor->FailAll(absl::OkStatus());
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_THAT(JoinedBy(world_.hypervisor->Inspect(world_.identity)->persistent),
              ElementsAre("lab"));
}

// As the build before left it: consent was known, and networks were joined without a question.
TEST_F(TrustTest, AMachineThatJoinedANetworkBeforeRumAskedGoesOnAndSaysIt) {
  world_.hypervisor->SetNetworks({"lab", "lan", "other"});
  Write(CardOn("lab") + CardOn("lan"));
  machine_ = world_.NewMachine();
  ApplyOptions up = Trusting(*machine_, Up());
  up.trust.pop_back();  // it has a network of its own of that name
  Write(CardOn("lab"));
  EXPECT_FALSE(Apply(*machine_, up).outcome.failed);
  world_.hypervisor->EditPersistent(world_.identity, [](Config* config) {
    config->mutable_network()->add_interfaces()->set_network("lan");
  });
  machine_.reset();
  MachineRecord& record = world_.disk->records[world_.identity.id];
  record.clear_networks_known();
  record.clear_consented();
  for (Config* config : {record.mutable_desired(), record.mutable_applied()})
    config->mutable_network()->mutable_interfaces(0)->clear_joined();
  record.mutable_desired()->mutable_network()->add_interfaces()->set_network("lan");
  const int64_t generation = record.generation();
  Write(CardOn("lab") + CardOn("lan"));
  machine_ = world_.NewMachine();
  world_.hypervisor->FailAll(absl::UnavailableError("libvirtd went"));
  EXPECT_FALSE(machine_->Background({}).ok());
  world_.hypervisor->FailAll(absl::OkStatus());
  EXPECT_TRUE(machine_->Background({}).ok());
  const Config next = world_.hypervisor->Inspect(world_.identity)->persistent;
  EXPECT_EQ(next.network().interfaces_size(), 2);
  EXPECT_THAT(JoinedBy(next), ElementsAre("lab"));
  EXPECT_EQ(world_.Record().generation(), generation) << "the file did not change";
  const absl::StatusOr<Machine::TrustState> state = machine_->Trust({});
  ASSERT_EQ(state->consented.size(), 1u);
  EXPECT_EQ(state->consented[0].field(), kLab);
  EXPECT_EQ(state->consented[0].given_ms(), 0);
  ASSERT_EQ(state->asks.size(), 1u);
  EXPECT_EQ(state->asks[0].field, "network.interfaces[lan]");
}

TEST_F(TrustTest, WhatWasJoinedBeforeCanBeTakenBackAsTheFirstThing) {
  world_.hypervisor->SetNetworks({"lab"});
  Write(CardOn("lab"));
  machine_ = world_.NewMachine();
  EXPECT_FALSE(Apply(*machine_, Trusting(*machine_, Up())).outcome.failed);
  machine_.reset();
  MachineRecord& record = world_.disk->records[world_.identity.id];
  record.clear_networks_known();
  record.clear_consented();
  machine_ = world_.NewMachine();
  Machine::TrustChange revoke;
  revoke.revoke_all = true;
  EXPECT_THAT(machine_->Trust(revoke)->consented, IsEmpty());
  EXPECT_TRUE(machine_->Background({}).ok());
  EXPECT_EQ(AskOf(kLab).field(), kLab);
}

// A new machine is made in the libvirt of whoever says `up`: its networks count.
TEST_F(TrustTest, NetworksAreThoseOfTheLibvirtThatTheMachineIsMadeIn) {
  const auto other = std::make_shared<FakeHypervisor>();
  other->SetNetworks({"lab"});
  world_.elsewhere["qemu:///other"] = other;
  Write(CardOn("lab"));
  machine_ = world_.NewMachine();
  EXPECT_THAT(machine_->Trust({})->asks, IsEmpty());
  Machine::TrustChange there;
  there.default_uri = "qemu:///other";
  EXPECT_EQ(machine_->Trust(there)->asks.size(), 1u);
  ApplyOptions up = Up();
  up.default_uri = "qemu:///other";
  const Seen seen = Apply(*machine_, up);
  EXPECT_EQ(seen.outcome.plan.asks_size(), 1);
  EXPECT_EQ(other->Inspect(world_.identity)->persistent.network().interfaces_size(), 0);
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

// The files of //tests/testdata/hostile, each in a project with what they name.
class HostileFile : public TrustTest {
 protected:
  HostileFile() {
    const std::string& project = world_.folder();
    world_.hypervisor->SetNetworks({"default", "company", "rum-0123456789ab.lan"});
    fs::permissions(home_ + "/secret", fs::perms(0700));
    std::ofstream(home_ + "/secret/private.img") << "key";
    fs::create_directory_symlink(home_ + "/secret", project + "/folder-link");
    fs::create_symlink(home_ + "/secret/private.img", project + "/image-link");
    std::string layer(512, 0);
    layer.replace(0, 8, std::string("QFI\xfb\0\0\0\3", 8));
    std::string apart = layer;
    apart[79] = 4;  // the data is in another file
    layer[14] = 1;
    layer[19] = 5;
    layer.replace(256, 5, "../id");
    std::ofstream(project + "/layer.qcow2") << layer;
    std::ofstream(project + "/apart.qcow2") << apart;
  }

  void ExpectNothingReached() {
    for (const std::string& uri : asked_) EXPECT_FALSE(IsRemoteLibvirt(uri)) << uri;
    {
      std::lock_guard<std::mutex> lock(world_.host->mutex);
      for (const auto& [port, forward] : world_.host->open)
        EXPECT_TRUE(IsLoopback(forward.bind)) << port;
      EXPECT_TRUE(world_.host->sockets.empty());
    }
    const absl::StatusOr<DomainState> domain = world_.hypervisor->Inspect(world_.identity);
    for (const Config* config : {&domain->persistent, &domain->live}) {
      for (const Mount& mount : config->mounts())
        EXPECT_TRUE(IsInside(mount.source(), world_.folder())) << mount.source();
      EXPECT_THAT(config->image().base(), testing::AnyOf("", "debian-12"));
      EXPECT_THAT(JoinedBy(*config), IsEmpty());
    }
  }
};

TEST_F(HostileFile, ReachesNothing) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator("tests/testdata/hostile")) {
    SCOPED_TRACE(entry.path().filename());
    ++files;
    std::ifstream file(entry.path());
    world_.SaveText({std::istreambuf_iterator<char>(file), {}});
    machine_ = world_.NewMachine();
    const absl::StatusOr<Machine::TrustState> asks = machine_->Trust({});
    EXPECT_TRUE(!asks->config_error.empty() || !asks->asks.empty()) << "refused or asked about";
    (void)machine_->Status();
    ApplyOptions dry = Up();
    dry.dry_run = true;
    (void)Apply(*machine_, dry);
    ExpectNothingReached();
    (void)Apply(*machine_, Up());
    (void)machine_->Background({});
    (void)machine_->Status();
    ExpectNothingReached();
    // Of a machine that is up, too.
    world_.Save();
    world_.file.image = "debian-12";
    world_.file.more = "";
    world_.Save();
    machine_ = world_.NewMachine();
    EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
    std::ifstream again(entry.path());
    world_.SaveText({std::istreambuf_iterator<char>(again), {}});
    (void)machine_->Background({});
    (void)machine_->Status();
    (void)Apply(*machine_);
    ExpectNothingReached();
    (void)machine_->Destroy({});
    asked_.clear();
  }
  EXPECT_GE(files, 20);
}

}  // namespace
}  // namespace rum
