#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "google/protobuf/util/message_differencer.h"
#include "tests/controller/model.h"

namespace rum {
namespace {

template <typename T>
std::vector<T> DrawSubset(const std::vector<T>& pool) {
  std::vector<T> drawn;
  for (const T& element : pool) {
    if (*rc::gen::arbitrary<bool>()) drawn.push_back(element);
  }
  return drawn;
}

// Small pools, so that two drawn configurations overlap.
Config DrawConfig() {
  Config config = SampleConfig();
  config.mutable_resources()->set_cpus(*rc::gen::inRange(1, 4));
  config.mutable_resources()->set_memory_mb(*rc::gen::element(512, 1024, 2048));
  config.mutable_network()->set_nat(*rc::gen::arbitrary<bool>());
  config.mutable_network()->set_hostname(*rc::gen::element<std::string>("dev", "devbox", "a.b"));
  config.mutable_image()->set_base(*rc::gen::element<std::string>("/i/one", "/i/two"));
  config.mutable_provision()->mutable_system()->set_script(
      *rc::gen::element<std::string>("", "s1", "s2"));
  config.mutable_provision()->mutable_boot()->set_script(
      *rc::gen::element<std::string>("", "b1", "b2"));
  config.clear_ports();
  for (int host : DrawSubset<int>({3000, 3001, 3002, 3003})) {
    Port* port = config.add_ports();
    port->set_bind("127.0.0.1");
    port->set_host(host);
    port->set_guest(*rc::gen::inRange(80, 83));
  }
  config.mutable_user()->clear_groups();
  for (const std::string& group : DrawSubset<std::string>({"docker", "wheel", "video", "kvm"})) {
    config.mutable_user()->add_groups(group);
  }
  for (const std::string& key : DrawSubset<std::string>({"ssh-rsa A a", "ssh-rsa B b"})) {
    config.mutable_ssh()->add_authorized_keys(key);
  }
  for (const std::string& drive : DrawSubset<std::string>({"a", "b", "c"})) {
    (*config.mutable_drives())[drive].set_size(1 << 30);
  }
  return config;
}

template <typename List>
void Shuffle(List* list) {
  for (int i = list->size() - 1; i > 0; --i) list->SwapElements(i, *rc::gen::inRange(0, i + 1));
}

TEST(PlanProperty, AConvergedMachineNeedsNothing) {
  const bool held = rc::check([] {
    const Model model = Converged(DrawConfig());
    RC_ASSERT(Names(model.MakePlan()).empty());
    RC_ASSERT(Waiting(model.MakePlan()).empty());
  });
  EXPECT_TRUE(held);
}

TEST(PlanProperty, OneRoundConverges) {
  const bool held = rc::check([] {
    Model model = Converged(DrawConfig());
    model.desired = DrawConfig();
    const PlanOptions force{.force_system_script = true};
    const Plan first = model.MakePlan(force);
    model.Apply(first);
    RC_ASSERT(Names(model.MakePlan(force)).empty());
    // What waited for a restart is there after one; what needs a new disk still waits.
    model.observed.domain.live = model.observed.domain.persistent;
    const Plan left = model.MakePlan(force);
    for (const Change& change : left.waiting()) {
      RC_ASSERT(change.effect() == RECREATE);
    }
  });
  EXPECT_TRUE(held);
}

TEST(PlanProperty, OrderMeansNothing) {
  const bool held = rc::check([] {
    Model model = Converged(DrawConfig());
    model.desired = DrawConfig();
    const Plan plan = model.MakePlan();
    Shuffle(model.desired.mutable_ports());
    Shuffle(model.desired.mutable_user()->mutable_groups());
    Shuffle(model.desired.mutable_ssh()->mutable_authorized_keys());
    Shuffle(model.observed.guest->mutable_groups());
    Shuffle(model.observed.guest->mutable_authorized_keys());
    Shuffle(model.record.mutable_owned_keys());
    Shuffle(model.record.mutable_owned_groups());
    std::reverse(model.observed.forwards.begin(), model.observed.forwards.end());
    RC_ASSERT(google::protobuf::util::MessageDifferencer::Equals(plan, model.MakePlan()));
  });
  EXPECT_TRUE(held);
}

TEST(PlanProperty, WhatRumDoesNotOwnStays) {
  const bool held = rc::check([] {
    Model model = Converged(DrawConfig());
    const std::set<std::string> owned(model.record.owned_groups().begin(),
                                      model.record.owned_groups().end());
    const auto byhand = DrawSubset<std::string>({"docker", "wheel", "byhand", "adm"});
    for (const std::string& group : byhand) {
      if (owned.count(group) == 0) model.observed.guest->add_groups(group);
    }
    for (int i = 0; i < 3; ++i) {
      model.desired = DrawConfig();
      model.Apply(model.MakePlan());
    }
    const std::set<std::string> left(model.observed.guest->groups().begin(),
                                     model.observed.guest->groups().end());
    for (const std::string& group : byhand) {
      if (owned.count(group) == 0) RC_ASSERT(left.count(group) == 1u);
    }
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace rum
