#include "controller/service/handover.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "controller/listeners/inherited.h"
#include "tests/controller/service/another_user.h"

namespace rum {
namespace {

struct Bound {
  Fd fd;
  sockaddr_in address{};
  sockaddr* at() { return reinterpret_cast<sockaddr*>(&address); }
};

Bound Listen() {
  Bound bound;
  bound.fd = Fd(socket(AF_INET, SOCK_STREAM, 0));
  bound.address.sin_family = AF_INET;
  bound.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof bound.address;
  EXPECT_EQ(bind(bound.fd.get(), bound.at(), size), 0);
  EXPECT_EQ(listen(bound.fd.get(), 16), 0);
  EXPECT_EQ(getsockname(bound.fd.get(), bound.at(), &size), 0);
  return bound;
}

bool Connects(Bound& to) {
  const Fd client(socket(AF_INET, SOCK_STREAM, 0));
  return connect(client.get(), to.at(), sizeof to.address) == 0;
}

class HandoverTest : public testing::Test {
 protected:
  HandoverTest() {
    std::string folder = "/tmp/rum-handover.XXXXXX";  // short: a socket's path
    folder_ = mkdtemp(folder.data());
    path_ = folder_ + "/handover.sock";
  }
  ~HandoverTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  std::string path_;
};

TEST_F(HandoverTest, MoreSocketsThanOneMessageHoldsGoOverAndStayOpen) {
  std::promise<void> asked;
  auto old = Handover::Offer(path_, [&] { asked.set_value(); });
  ASSERT_TRUE(old.ok()) << old.status();
  auto taken = std::async(std::launch::async, [&] { return TakeOver(path_, absl::Seconds(20)); });
  asked.get_future().wait();
  std::vector<Fd> sockets;
  std::vector<sockaddr_in> addresses;
  for (int i = 0; i < 450; ++i) {
    Bound bound = Listen();
    addresses.push_back(bound.address);
    sockets.push_back(std::move(bound.fd));
  }
  ASSERT_TRUE((*old)->Close());
  ASSERT_TRUE((*old)->Give(sockets).ok());
  sockets.clear();
  old->reset();
  auto got = taken.get();
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->size(), addresses.size());
  Inherit(*std::move(got));
  for (sockaddr_in& address : addresses) {
    Bound bound;
    bound.address = address;
    EXPECT_TRUE(Connects(bound)) << "it never stopped listening";
    const Fd mine = TakeInherited(bound.at(), sizeof bound.address);
    ASSERT_TRUE(mine.ok());
    EXPECT_GE(Fd(accept(mine.get(), nullptr, nullptr)).get(), 0) << "who came meanwhile waits";
    EXPECT_FALSE(TakeInherited(bound.at(), sizeof bound.address).ok()) << "taken once";
  }
}

// A predecessor hands on sockets that are listened on from then on: by nobody else's word.
TEST_F(HandoverTest, NothingIsTakenFromAnotherUser) {
  ASSERT_EQ(getuid(), 0u) << "only root can be somebody else";
  {
    NobodyListens nobody(path_, SOCK_SEQPACKET);
    const auto taken = TakeOver(path_, absl::Seconds(20));
    EXPECT_EQ(taken.status().code(), absl::StatusCode::kPermissionDenied) << taken.status();
    EXPECT_EQ(nobody.HeardBeforeTheEnd(), "");
  }
  ASSERT_EQ(chown(path_.c_str(), kNobody, kNobody), 0);
  EXPECT_EQ(TakeOver(path_, absl::Seconds(20)).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(HandoverTest, NobodyThereIsNotFound) {
  EXPECT_EQ(TakeOver(path_, absl::Seconds(1)).status().code(), absl::StatusCode::kNotFound);
  {
    auto gone = Handover::Offer(path_, [] {});
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(TakeOver(path_, absl::Seconds(1)).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(HandoverTest, OneThatEndsWithoutAWordIsUnavailable) {
  std::promise<void> asked;
  auto old = Handover::Offer(path_, [&] { asked.set_value(); });
  ASSERT_TRUE(old.ok());
  auto taken = std::async(std::launch::async, [&] { return TakeOver(path_, absl::Seconds(20)); });
  asked.get_future().wait();
  old->reset();
  EXPECT_EQ(taken.get().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(HandoverTest, WhatNobodyTakesIsClosed) {
  Bound bound = Listen();
  std::vector<Fd> sockets;
  sockets.push_back(std::move(bound.fd));
  sockets.emplace_back(socket(AF_INET, SOCK_STREAM, 0));  // listens not
  Inherit(std::move(sockets));
  EXPECT_TRUE(Connects(bound));
  EXPECT_EQ(TakeInherited().size(), 1u);
  EXPECT_FALSE(Connects(bound));
}

}  // namespace
}  // namespace rum
