// The guest's end against a host that is played byte by byte.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "tests/agent-api/channel/peer.h"

namespace rum {
namespace {

using Control = std::pair<FrameKind, std::string>;

class GuestLink : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);  // as the agent does
    const auto [ours, theirs] = NewPair();
    port_ = ours;
    host_ = std::make_unique<Peer>(theirs);
    guest_ = std::make_unique<Guest>(port_);
    EXPECT_EQ(host_->NextControl().first, FrameKind::kReset);
  }
  void TearDown() override {
    guest_.reset();
    close(port_);
  }
  // Begins a session; its socket in the guest.
  int Begin(const std::string& nonce) {
    host_->Send(FrameKind::kHello, nonce);
    EXPECT_EQ(host_->NextControl(), Control(FrameKind::kAck, nonce));
    return guest_->Take();
  }

  int port_ = -1;
  std::unique_ptr<Peer> host_;
  std::unique_ptr<Guest> guest_;
};

TEST_F(GuestLink, CarriesBytesBothWays) {
  const int session = Begin(NewNonce());
  std::string data(1 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = kMark[(i * 7 + i / 1000) % kMarkSize];
  std::thread up([&] { host_->SendPayload(data); });
  EXPECT_TRUE(ReadSome(session, data.size()) == data);
  up.join();
  std::thread down([&] { WriteAll(session, data); });
  EXPECT_TRUE(host_->ReadPayload(data.size()) == data);
  down.join();
  close(session);
}

TEST_F(GuestLink, WhatComesBeforeHelloIsDropped) {
  host_->SendPayload("the end of something older");
  host_->SendRaw(EncodeControl(FrameKind::kHello, NewNonce()).substr(0, 20));
  const int session = Begin(NewNonce());
  host_->SendPayload("new");
  EXPECT_EQ(ReadSome(session, 3), "new");
  close(session);
}

TEST_F(GuestLink, ANewNonceEndsTheOldSession) {
  const int old = Begin(NewNonce());
  host_->SendPayload("to the old one");
  EXPECT_EQ(ReadSome(old, 14), "to the old one");
  const int session = Begin(NewNonce());
  EXPECT_TRUE(AtEnd(old));
  host_->SendPayload("to the new one");
  EXPECT_EQ(ReadSome(session, 14), "to the new one");
  close(old);
  close(session);
}

TEST_F(GuestLink, NothingOfTheOldSessionFollowsTheNewAck) {
  const int old = Begin(NewNonce());
  // More than the channel holds, so that some of it is still on its way when the new one begins.
  std::thread writer([&] { WriteAll(old, std::string(4 << 20, 'o')); });
  EXPECT_EQ(host_->ReadPayload(1), "o");
  const int session = Begin(NewNonce());  // reads what the channel still held
  writer.join();
  WriteAll(session, "n");
  EXPECT_EQ(host_->ReadPayload(1), "n");
  EXPECT_EQ(host_->payload(), "");
  close(old);
  close(session);
}

TEST_F(GuestLink, TheSameNonceIsAckedAgainAndChangesNothing) {
  const std::string nonce = NewNonce();
  const int session = Begin(nonce);
  host_->Send(FrameKind::kHello, nonce);
  EXPECT_EQ(host_->NextControl(), Control(FrameKind::kAck, nonce));
  EXPECT_TRUE(guest_->none());
  host_->SendPayload("goes on");
  EXPECT_EQ(ReadSome(session, 7), "goes on");
  close(session);
}

TEST_F(GuestLink, OnlyByeOfThisSessionEndsIt) {
  const std::string nonce = NewNonce();
  const int session = Begin(nonce);
  host_->Send(FrameKind::kBye, NewNonce());
  host_->SendPayload("x");
  EXPECT_EQ(ReadSome(session, 1), "x");
  host_->Send(FrameKind::kBye, nonce);
  EXPECT_TRUE(AtEnd(session));
  close(session);
}

TEST_F(GuestLink, AServerThatClosesItsSessionTellsTheHost) {
  const std::string nonce = NewNonce();
  close(Begin(nonce));
  EXPECT_EQ(host_->NextControl().first, FrameKind::kReset);
  // The same nonce begins a session anew: there is none that it could be of.
  close(Begin(nonce));
}

TEST_F(GuestLink, AHangUpThatLastsEndsTheSession) {
  const int session = Begin(NewNonce());
  host_->Close();
  EXPECT_TRUE(AtEnd(session));
  close(session);
}

TEST_F(GuestLink, APortThatIsGoneIsAnError) {
  const int session = Begin(NewNonce());
  host_->Close();
  WriteAll(session, "nobody takes this");
  EXPECT_EQ(guest_->Wait(), "the port is gone: Broken pipe");
  EXPECT_TRUE(AtEnd(session));
  close(session);
}

}  // namespace
}  // namespace rum
