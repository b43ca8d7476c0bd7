// A file joins those of libvirt's networks that rum made, and others after the user's word.
#include "absl/strings/str_cat.h"
#include "tests/controller/fleet/trust_world.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kLab[] = "network.interfaces[lab]";

std::string CardOn(const std::string& network) {
  return absl::StrCat("[[network.interfaces]]\nnetwork = \"", network, "\"\n");
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

}  // namespace
}  // namespace rum
