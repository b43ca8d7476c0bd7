// When the guest is asked, and which answer counts: it is asked what it was asked last while
// libvirt is, and libvirt says whether that was the question.
#include "controller/reconcile/observe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::ElementsAre;

// What happened, in order.
using Log = std::vector<std::string>;

class LoggedAgent final : public FakeGuestAgent {
 public:
  LoggedAgent(std::shared_ptr<FakeGuest> guest, Log* log)
      : FakeGuestAgent(std::move(guest)), log_(log) {}

  std::function<absl::StatusOr<agent::Observation>()> BeginObserve(
      const agent::ObserveRequest& request) override {
    log_->push_back("asks " + request.user());
    return [this, request] {
      log_->push_back("awaits " + request.user());
      return Observe(request);
    };
  }

 private:
  Log* const log_;
};

class LoggedHypervisor final : public FakeHypervisor {
 public:
  explicit LoggedHypervisor(Log* log) : log_(log) {}
  absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) override {
    log_->push_back("libvirt");
    return FakeHypervisor::Inspect(machine);
  }

 private:
  Log* const log_;
};

class ObserveTest : public testing::Test {
 protected:
  ObserveTest() {
    EXPECT_TRUE(hypervisor_.Define(identity_, Of("ada"), Fresh::kNothing, {}).ok());
    EXPECT_TRUE(hypervisor_.Start(identity_).ok());
    EXPECT_TRUE(Look().ok());
    log_.clear();
  }

  static Config Of(const std::string& user) {
    Config config;
    config.mutable_user()->set_name(user);
    return config;
  }
  // By a machine that is defined for `user`, who is whom the guest is asked about.
  void LiveIn(const std::string& user) {
    hypervisor_.EditLive(identity_, [&](DomainState* domain) { domain->live = Of(user); });
  }
  absl::StatusOr<Observed> Look() {
    return Observe(identity_, hypervisor_, &agent_, nullptr, Of("ada"), {}, &usual_);
  }

  Log log_;
  const std::shared_ptr<FakeGuest> guest_ = std::make_shared<FakeGuest>();
  LoggedAgent agent_{guest_, &log_};
  LoggedHypervisor hypervisor_{&log_};
  const MachineIdentity identity_{"/dev/rum.toml", "dev", "0123456789ab"};
  UsualQuestion usual_;
};

TEST_F(ObserveTest, TheUsualQuestionIsUnderWayWhileLibvirtIsAsked) {
  EXPECT_TRUE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("asks ada", "libvirt", "awaits ada"));
}

TEST_F(ObserveTest, AMachineThatNobodyAskedYetIsAskedWhatLibvirtMakesTheQuestion) {
  usual_.Set(std::nullopt);
  EXPECT_TRUE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("libvirt", "asks ada", "awaits ada"));
}

TEST_F(ObserveTest, AnotherQuestionThanTheUsualOneIsAskedAnewAndTheFirstAnswerDropped) {
  LiveIn("grace");
  EXPECT_TRUE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("asks ada", "libvirt", "asks grace", "awaits grace"));
  log_.clear();
  EXPECT_TRUE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("asks grace", "libvirt", "awaits grace")) << "it is usual now";
}

TEST_F(ObserveTest, AGuestThatStandsStillIsNotWaitedForAndNotAskedAgain) {
  hypervisor_.Hold(identity_, DomainCause::kPausedByUser);
  EXPECT_FALSE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("asks ada", "libvirt"));
  log_.clear();
  EXPECT_FALSE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("libvirt"));
}

TEST_F(ObserveTest, AMachineThatIsOffIsNotWaitedForAndNotAskedAgain) {
  hypervisor_.PowerOff(identity_);
  EXPECT_FALSE(Look()->guest.has_value());
  EXPECT_FALSE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("asks ada", "libvirt", "libvirt"));
}

TEST_F(ObserveTest, ALibvirtThatIsAwayIsTheErrorAndTheGuestIsNotWaitedFor) {
  hypervisor_.FailNext(absl::UnavailableError("gone"));
  EXPECT_EQ(Look().status().message(), "libvirt: gone");
  EXPECT_THAT(log_, ElementsAre("asks ada", "libvirt"));
}

TEST_F(ObserveTest, AGuestThatDidNotAnswerHasNoUsualQuestion) {
  guest_->SetConnected(false);
  EXPECT_FALSE(Look()->guest.has_value());
  guest_->SetConnected(true);
  log_.clear();
  EXPECT_TRUE(Look()->guest.has_value());
  EXPECT_THAT(log_, ElementsAre("libvirt", "asks ada", "awaits ada"));
}

}  // namespace
}  // namespace rum
