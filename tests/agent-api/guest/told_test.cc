#include "agent-api/guest/told.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "agent-api/budget.h"

namespace rum::guest {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::SizeIs;

std::string Key(int i) { return "ssh-rsa " + std::string(700, 'A') + std::to_string(i); }

TEST(Told, WhatFitsIsToldAsItIs) {
  agent::Observation seen;
  seen.add_groups("video");
  seen.add_authorized_keys(Key(1));
  seen.add_cards()->set_name("eth0");
  seen.add_stale_targets("/gone");
  const std::string before = seen.SerializeAsString();
  FitToBudget({}, &seen);
  EXPECT_EQ(seen.SerializeAsString(), before);
}

TEST(Told, WhatTheHostAsksAboutComesFirstAndWhatIsMissingIsSaid) {
  agent::Observation seen;
  agent::ObserveRequest request;
  for (int i = 0; i < 40'000; ++i) seen.add_groups("group" + std::to_string(i));
  for (int i = 0; i < 1'000; ++i) seen.add_authorized_keys(Key(i));
  request.add_groups("group39999");
  request.add_authorized_keys("no-pty " + Key(999) + " user@host");
  FitToBudget(request, &seen);
  EXPECT_THAT(seen.groups(), Contains("group39999"));
  EXPECT_THAT(seen.authorized_keys(), Contains(Key(999)));
  EXPECT_THAT(seen.authorized_keys(), Contains(Key(0)));
  EXPECT_THAT(seen.cut(), ElementsAre("groups", "authorized_keys"));
  EXPECT_LT(seen.ByteSizeLong(), kMostAnswerBytes);
}

TEST(Told, OneEntryThatIsTooLongHidesNoOther) {
  agent::Observation seen;
  seen.add_groups(std::string(kMostNameBytes + 1, 'g'));
  seen.add_groups("video");
  FitToBudget({}, &seen);
  EXPECT_THAT(seen.groups(), ElementsAre("video"));
  EXPECT_THAT(seen.cut(), ElementsAre("groups"));
}

TEST(Told, OfACrowdOfCardsThoseWithAnAddressComeFirst) {
  agent::Observation seen;
  for (int i = 0; i < 300; ++i) {
    agent::Card* card = seen.add_cards();
    card->set_name((i == 299 ? "z" : "veth") + std::to_string(i));
    card->set_mac("52:54:00:00:00:01");
    if (i == 299) card->add_addresses("192.0.2.2");
  }
  FitToBudget({}, &seen);
  ASSERT_THAT(seen.cards(), SizeIs(kMostCards));
  EXPECT_EQ(seen.cards(kMostCards - 1).name(), "z299") << "by name, as always";
  EXPECT_THAT(seen.cut(), ElementsAre("cards"));
}

TEST(Told, AHostOfUsersOfAFolderIsCutAndSoAreFolders) {
  agent::Observation seen;
  for (int i = 0; i < 100; ++i)
    seen.mutable_shares()->add_leaving()->set_used(std::string(1 << 16, 'u'));
  FitToBudget({}, &seen);
  EXPECT_THAT(seen.shares().leaving(), SizeIs(kMostShares));
  EXPECT_LT(seen.shares().leaving(0).used().size(), kMostReasonBytes);
}

TEST(Told, ALongReasonEndsWithTheWordThatItWasCut) {
  agent::SetStorageReply reply;
  reply.add_volumes()->set_problem(std::string(1 << 20, 'p'));
  reply.add_volumes()->set_problem("short");
  FitToBudget(&reply);
  EXPECT_LT(reply.volumes(0).problem().size(), kMostReasonBytes);
  EXPECT_THAT(reply.volumes(0).problem(), testing::EndsWith("(cut)"));
  EXPECT_EQ(reply.volumes(1).problem(), "short");
  agent::Observation seen;
  seen.add_card_states()->set_problem(std::string(1 << 20, 'p'));
  for (int i = 0; i < 300; ++i) seen.add_stale_cards("52:54:00:00:00:01");
  FitToBudget({}, &seen);
  EXPECT_THAT(seen.card_states(0).problem(), testing::EndsWith("(cut)"));
  EXPECT_THAT(seen.stale_cards(), SizeIs(kMostCards));
}

}  // namespace
}  // namespace rum::guest
