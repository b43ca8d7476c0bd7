#include "agent-api/client/checked_reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "agent-api/budget.h"

namespace rum {
namespace {

using testing::HasSubstr;

agent::ScriptRun HonestRun(int i = 0) {
  agent::ScriptRun run;
  run.set_kind("boot");
  run.set_run_id("boot-0123456789ab-01234567-" + std::to_string(i));
  run.set_content_hash(std::string(64, 'a'));
  run.set_boot_id("123e4567-e89b-12d3-a456-426614174000");
  run.set_started_ms(1'700'000'000'000);
  run.set_ended_ms(1'700'000'000'001);
  return run;
}

// As much of everything as an agent tells.
agent::Observation Honest() {
  agent::Observation seen;
  seen.set_agent_version("0.1.0");
  seen.set_build_id(std::string(40, 'f'));
  seen.set_boot_id("123e4567-e89b-12d3-a456-426614174000");
  seen.set_hostname("devbox");
  seen.set_static_hostname(std::string(kMostHostnameBytes, '\xff'));
  seen.set_boot_script_hash(std::string(64, 'a'));
  for (int i = 0; i < 213; ++i) *seen.add_runs() = HonestRun(i);
  for (int i = 0; i < 900; ++i) seen.add_groups("group" + std::to_string(i) + "\xff");
  for (int i = 0; i < 60; ++i) seen.add_authorized_keys("ssh-rsa " + std::string(700, 'A'));
  for (int i = 0; i < kMostCards; ++i) {
    agent::Card* card = seen.add_cards();
    card->set_name("veth" + std::to_string(i));
    card->set_mac("52:54:00:00:00:01");
    card->add_addresses("192.0.2.2");
    card->add_addresses("2001:db8::1");
  }
  seen.add_volumes()->set_target("/data");
  seen.add_stale_targets("/gone");
  seen.add_cut("authorized_keys");
  seen.mutable_shares()->add_leaving()->set_tag("src");
  return seen;
}

agent::ObserveRequest AboutData() {
  agent::ObserveRequest request;
  request.add_volumes()->set_target("/data");
  request.add_leaving_shares("src");
  return request;
}

TEST(CheckedReply, WhatAnAgentTellsAtTheMostIsTaken) {
  EXPECT_EQ(CheckReply(AboutData(), Honest()), absl::OkStatus());
  EXPECT_EQ(CheckReply({}, agent::Observation()), absl::OkStatus()) << "one of the first agents";
}

TEST(CheckedReply, OfAnObservationWhatNoAgentSaysIsRefusedAndNamed) {
  struct Lie {
    const char* named;
    std::function<void(agent::Observation*)> tell;
  };
  const Lie lies[] = {
      {"an answer of", [](auto* seen) { seen->set_hostname(std::string(300'000, 'h')); }},
      {"a build id of 4096 bytes", [](auto* s) { s->set_build_id(std::string(4096, 'f')); }},
      {"a build id with", [](auto* s) { s->set_build_id("\x1b[2J"); }},
      {"a version", [](auto* s) { s->set_agent_version(std::string(257, '1')); }},
      {"a boot id", [](auto* s) { s->set_boot_id("../../x"); }},
      {"a hostname", [](auto* s) { s->set_static_hostname(std::string(301, 'h')); }},
      {"a setting of several",
       [](auto* s) { s->mutable_settings()->set_timezone("Europe\nBerlin"); }},
      {"a setting of 257",
       [](auto* s) { s->mutable_settings()->set_timezone(std::string(257, 'z')); }},
      {"a run of a kind", [](auto* s) { s->mutable_runs(0)->set_kind("kind-17"); }},
      {"a run with an id", [](auto* s) { s->mutable_runs(0)->set_run_id("../evil"); }},
      {"a run with an id", [](auto* s) { s->mutable_runs(0)->set_run_id(std::string(65, 'a')); }},
      {"the beginning of a run", [](auto* s) { s->mutable_runs(0)->set_started_ms(-1); }},
      {"the end of a run", [](auto* s) { s->mutable_runs(0)->set_ended_ms(INT64_MAX); }},
      {"the hash of a script", [](auto* s) { s->mutable_runs(0)->set_content_hash("\n"); }},
      {"257 runs",
       [](auto* s) {
         while (s->runs_size() < 257) *s->add_runs() = HonestRun();
       }},
      {"the states of 1 cards", [](auto* s) { s->add_card_states(); }},
      {"the MAC address", [](auto* s) { s->add_stale_cards("x y"); }},
      {"65 stale cards",
       [](auto* s) {
         while (s->stale_cards_size() < 65) s->add_stale_cards("52:54:00:00:00:01");
       }},
      {"65 network cards", [](auto* s) { s->add_cards(); }},
      {"the name of a card", [](auto* s) { s->mutable_cards(0)->set_name(std::string(257, 'c')); }},
      {"the MAC address", [](auto* s) { s->mutable_cards(0)->set_mac("x\ny"); }},
      {"the address of a card", [](auto* s) { s->mutable_cards(0)->set_addresses(0, "a b"); }},
      {"65 addresses",
       [](auto* s) {
         for (int i = 0; i < 63; ++i) s->mutable_cards(0)->add_addresses("::1");
       }},
      {"the name of a group", [](auto* s) { s->add_groups(std::string(257, 'g')); }},
      {"the name of a group of several", [](auto* s) { s->add_groups("a\nb"); }},
      {"an ssh key of 16385", [](auto* s) { s->add_authorized_keys(std::string(16'385, 'k')); }},
      {"a volume that nobody", [](auto* s) { s->mutable_volumes(0)->set_target("/other"); }},
      {"2 volumes, asked about 1", [](auto* s) { s->add_volumes(); }},
      {"the problem of a volume",
       [](auto* s) { s->mutable_volumes(0)->set_problem(std::string(5000, 'p')); }},
      {"65 stale targets",
       [](auto* s) {
         while (s->stale_targets_size() < 65) s->add_stale_targets("/x");
       }},
      {"a path of", [](auto* s) { s->set_stale_targets(0, std::string(5000, '/')); }},
      {"a shared folder that nobody",
       [](auto* s) { s->mutable_shares()->mutable_leaving(0)->set_tag("other"); }},
      {"2 shared folders", [](auto* s) { s->mutable_shares()->add_leaving()->set_tag("src"); }},
      {"the users of a shared folder",
       [](auto* s) { s->mutable_shares()->mutable_leaving(0)->set_used(std::string(5000, 'u')); }},
      {"the name of a list", [](auto* s) { s->set_cut(0, "\x1b"); }},
  };
  for (const Lie& lie : lies) {
    agent::Observation seen = Honest();
    lie.tell(&seen);
    const absl::Status status = CheckReply(AboutData(), seen);
    EXPECT_TRUE(SaysWhatNoAgentSays(status)) << lie.named << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(lie.named));
    EXPECT_LT(status.message().size(), 300u) << "nothing of what it said is in it";
  }
}

TEST(CheckedReply, ALongListOfAnOlderAgentDoesNotKeepItFromBeingReplaced) {
  agent::Observation seen = Honest();
  for (int i = 0; i < 500; ++i) seen.add_cards();
  EXPECT_EQ(CheckGreeting(seen), absl::OkStatus());
  seen.set_build_id(std::string(4 << 20, 'f'));
  EXPECT_TRUE(SaysWhatNoAgentSays(CheckGreeting(seen)));
}

TEST(CheckedReply, OfVolumesAndHostKeysAsWell) {
  agent::SetStorageRequest storage;
  storage.add_volumes()->set_target("/data");
  agent::SetStorageReply reply;
  EXPECT_TRUE(SaysWhatNoAgentSays(CheckReply(storage, reply))) << "one state for each volume";
  reply.add_volumes()->set_target("/data");
  EXPECT_EQ(CheckReply(storage, reply), absl::OkStatus());
  agent::ReadHostKeysReply keys;
  keys.add_keys("ssh-ed25519 AAAA");
  EXPECT_EQ(CheckReply(agent::ReadHostKeysRequest(), keys), absl::OkStatus());
  keys.add_keys("ssh-ed25519 AAAA\n* evil");
  EXPECT_TRUE(SaysWhatNoAgentSays(CheckReply(agent::ReadHostKeysRequest(), keys)));
}

agent::RunScriptEvent OutputAt(uint64_t offset, size_t size) {
  agent::RunScriptEvent event;
  event.set_offset(offset);
  event.set_standard_output(std::string(size, 'x'));
  return event;
}

TEST(CheckedReply, OutputGoesForwardInPiecesAsAnAgentSendsThem) {
  RunEvents events("one");
  EXPECT_EQ(events.Check(OutputAt(0, 10)), absl::OkStatus());
  EXPECT_EQ(events.Check(agent::RunScriptEvent()), absl::OkStatus()) << "it goes on";
  EXPECT_EQ(events.Check(OutputAt(20, 64 * 1024)), absl::OkStatus()) << "some were not kept";
  EXPECT_TRUE(SaysWhatNoAgentSays(events.Check(OutputAt(15, 1)))) << "back";
  EXPECT_TRUE(SaysWhatNoAgentSays(events.Check(OutputAt(UINT64_MAX, 1))));
  EXPECT_TRUE(SaysWhatNoAgentSays(events.Check(OutputAt(1 << 20, 64 * 1024 + 1))));
  agent::RunScriptEvent late = OutputAt(1 << 20, 1);
  late.set_time_ms(INT64_MIN);
  EXPECT_TRUE(SaysWhatNoAgentSays(events.Check(late)));
}

TEST(CheckedReply, OnlyTheRunThatIsFollowedEnds) {
  RunEvents events("one");
  agent::RunScriptEvent event;
  *event.mutable_ended() = HonestRun();
  EXPECT_TRUE(SaysWhatNoAgentSays(events.Check(event)));
  event.mutable_ended()->set_run_id("one");
  EXPECT_EQ(events.Check(event), absl::OkStatus());
  event.mutable_ended()->set_kind("invented");
  EXPECT_TRUE(SaysWhatNoAgentSays(events.Check(event)));
}

}  // namespace
}  // namespace rum
