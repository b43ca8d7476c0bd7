// The host's end against a guest that is played byte by byte.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>

#include "tests/agent-api/channel/peer.h"
#include "tests/idle.h"

namespace rum {
namespace {

using namespace std::chrono_literals;
using Control = std::pair<FrameKind, std::string>;

class HostLink : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);  // as the controller does
    Connect({});
  }
  void Connect(Keepalive keepalive, SessionPace pace = SessionPace()) {
    const auto [ours, theirs] = NewPair();
    host_.reset();
    guest_ = std::make_unique<Peer>(theirs);
    host_ = std::make_unique<Host>(ours, std::move(keepalive), std::move(pace));
  }
  std::string Hello() {
    const Control hello = guest_->NextControl();
    EXPECT_EQ(hello.first, FrameKind::kHello);
    return hello.second;
  }
  // Answers a HELLO; the session's socket on the host.
  int Begin(const std::string& nonce) {
    guest_->Send(FrameKind::kAck, nonce);
    return host_->Take();
  }

  std::unique_ptr<Peer> guest_;
  std::unique_ptr<Host> host_;
};

TEST_F(HostLink, CarriesBytesBothWays) {
  const int session = Begin(Hello());
  std::string data(1 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = kMark[(i * 5 + i / 900) % kMarkSize];
  std::thread up([&] { WriteAll(session, data); });
  EXPECT_TRUE(guest_->ReadPayload(data.size()) == data);
  up.join();
  std::thread down([&] { guest_->SendPayload(data); });
  EXPECT_TRUE(ReadSome(session, data.size()) == data);
  down.join();
  EXPECT_TRUE(host_->Stop());
  EXPECT_EQ(host_->ends(), 1);
  close(session);
}

TEST_F(HostLink, WhatComesBeforeItsAckIsDropped) {
  const std::string nonce = Hello();
  guest_->SendPayload("for an older client");
  guest_->Send(FrameKind::kAck, NewNonce());
  guest_->SendPayload("for another older client");
  const int session = Begin(nonce);
  guest_->SendPayload("new");
  EXPECT_EQ(ReadSome(session, 3), "new");
  close(session);
}

TEST_F(HostLink, ASecondAckChangesNothing) {
  const std::string nonce = Hello();
  const int session = Begin(nonce);
  guest_->Send(FrameKind::kAck, nonce);
  guest_->SendPayload("goes on");
  EXPECT_EQ(ReadSome(session, 7), "goes on");
  close(session);
}

TEST_F(HostLink, AResetEndsTheSessionAndBeginsAnother) {
  const std::string nonce = Hello();
  const int old = Begin(nonce);
  guest_->Send(FrameKind::kReset, NewNonce());
  EXPECT_TRUE(AtEnd(old));
  const std::string next = Hello();
  EXPECT_NE(next, nonce);
  EXPECT_EQ(host_->ends(), 1);
  guest_->Send(FrameKind::kAck, nonce);  // late, and of no more use
  const int session = Begin(next);
  guest_->SendPayload("new");
  EXPECT_EQ(ReadSome(session, 3), "new");
  close(old);
  close(session);
}

TEST_F(HostLink, AClientThatClosesItsSessionGetsAnother) {
  const std::string nonce = Hello();
  close(Begin(nonce));
  const std::string next = Hello();
  EXPECT_NE(next, nonce);
  close(Begin(next));
}

TEST_F(HostLink, WithoutAnAckItGivesTheConnectionUp) {
  const auto begin = std::chrono::steady_clock::now();
  Hello();
  EXPECT_FALSE(host_->Wait());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1900));
}

TEST_F(HostLink, WithoutAnAckAfterAResetItGivesTheConnectionUp) {
  close(Begin(Hello()));
  Hello();
  EXPECT_TRUE(host_->Wait());
}

TEST_F(HostLink, AClosedChannelEndsItsSession) {
  const int session = Begin(Hello());
  guest_->Close();
  EXPECT_TRUE(host_->Wait());
  EXPECT_TRUE(AtEnd(session));
  EXPECT_EQ(host_->ends(), 1);
  close(session);
}

TEST_F(HostLink, ASilentGuestIsAskedAndKeepsTheSessionByAnAnswer) {
  Connect({[] { return true; }, 50ms, 20s});
  const std::string nonce = Hello();
  const int session = Begin(nonce);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Hello(), nonce);
    guest_->Send(FrameKind::kAck, nonce);
  }
  guest_->SendPayload("here");
  EXPECT_EQ(ReadSome(session, 4), "here");
  EXPECT_EQ(host_->ends(), 0);
  close(session);
}

TEST_F(HostLink, AGuestThatDoesNotAnswerLosesTheSession) {
  Connect({[] { return true; }, 50ms, 50ms});
  const std::string nonce = Hello();
  const int session = Begin(nonce);
  EXPECT_EQ(Hello(), nonce);
  EXPECT_TRUE(host_->Wait());
  EXPECT_TRUE(AtEnd(session));
  EXPECT_EQ(host_->ends(), 1);
  close(session);
}

TEST_F(HostLink, WhileNobodyWaitsForItAGuestMayBeSilent) {
  Connect({[] { return false; }, 10ms, 10ms});
  const std::string nonce = Hello();
  const int session = Begin(nonce);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(OtherThreads().FallIdle()) << "nothing is due";
    WriteAll(session, "x");
    EXPECT_EQ(guest_->ReadPayload(1), "x");
  }
  EXPECT_TRUE(host_->Stop());
  EXPECT_EQ(guest_->NextControl(), Control(FrameKind::kBye, nonce));  // and it was not asked
  close(session);
}

// The clock stands still, so that nothing is made up for meanwhile.
TEST_F(HostLink, AGuestThatBreaksEachSessionAtOnceGetsFewAndLosesTheConnection) {
  const Pace::Time now{};
  Connect({}, SessionPace([now] { return now; }));
  for (int i = 0; i <= SessionPace::kFree; ++i) {
    const int session = Begin(Hello());
    guest_->Send(FrameKind::kReset, NewNonce());
    EXPECT_TRUE(AtEnd(session));
    close(session);
  }
  EXPECT_TRUE(host_->Wait()) << "it ended by itself";
  EXPECT_EQ(host_->ends(), SessionPace::kFree + 1);
}

TEST_F(HostLink, AFloodOfResetsEndsTheConnectionAndHasFewAnswers) {
  const Pace::Time now{};
  Connect({}, SessionPace([now] { return now; }));
  const std::string reset = EncodeControl(FrameKind::kReset, NewNonce());
  std::string flood;
  for (int i = 0; i < 20'000; ++i) flood += reset;
  guest_->SendRaw(flood);
  EXPECT_FALSE(host_->Wait());
  int answers = 0;
  while (guest_->NextControl().first == FrameKind::kHello) ++answers;
  EXPECT_LE(answers, SessionPace::kFree + 1);
}

TEST_F(HostLink, AFloodOfAcknowledgementsEndsTheConnection) {
  const Pace::Time now{};
  Connect({}, SessionPace([now] { return now; }));
  const std::string nonce = Hello();
  const int session = Begin(nonce);
  for (int i = 0; i < SessionPace::kControlBurst; ++i) guest_->Send(FrameKind::kAck, nonce);
  EXPECT_TRUE(host_->Wait());
  EXPECT_TRUE(AtEnd(session));
  close(session);
}

TEST_F(HostLink, SaysByeAtItsEnd) {
  const std::string nonce = Hello();
  const int session = Begin(nonce);
  EXPECT_TRUE(host_->Stop());
  EXPECT_EQ(guest_->NextControl(), Control(FrameKind::kBye, nonce));
  EXPECT_TRUE(AtEnd(session));
  close(session);
}

}  // namespace
}  // namespace rum
