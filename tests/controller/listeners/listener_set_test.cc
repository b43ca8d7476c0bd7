#include "controller/listeners/listener_set.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "controller/listeners/inherited.h"
#include "controller/listeners/listener.h"
#include "controller/listeners/listener_set_options.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using std::chrono::milliseconds;

class ListenerSetTest : public testing::Test {
 protected:
  EchoGuest guest_;
  std::unique_ptr<ListenerSet> set_ = MakeListenerSet(guest_.dialer());
};

TEST_F(ListenerSetTest, LeavesConnectionsOfUnchangedAndRetargetedForwardsAlone) {
  const uint16_t kept = FreePort(), moved = FreePort(), other = FreePort();
  set_->Apply({{"127.0.0.1", kept, 80}, {"127.0.0.1", moved, 81}});
  const Fd a = Connect("127.0.0.1", kept), b = Connect("127.0.0.1", moved);
  EXPECT_EQ(ReadLine(a.get()), "80");
  EXPECT_EQ(ReadLine(b.get()), "81");
  for (uint16_t i = 0; i < 50; ++i) {
    const auto states = set_->Apply({{"127.0.0.1", kept, 80},
                                     {"127.0.0.1", moved, static_cast<uint16_t>(100 + i)},
                                     {i % 2 == 0 ? "127.0.0.1" : "::1", other, 82}});
    for (const ForwardState& state : states) EXPECT_TRUE(state.bound.ok()) << state.bound;
    EXPECT_EQ(Echo(a.get(), "a" + std::to_string(i)), "a" + std::to_string(i));
    EXPECT_EQ(Echo(b.get(), "b" + std::to_string(i)), "b" + std::to_string(i));
  }
  const Fd c = Connect("127.0.0.1", moved);
  EXPECT_EQ(ReadLine(c.get()), "149") << "new connections go to the new port";
}

// As of a controller that is replaced before it came to one of its machines.
TEST_F(ListenerSetTest, WhatItInheritedAndDidNotTakeYetIsGivenUpAsWell) {
  const uint16_t taken = FreePort(), waiting = FreePort();
  std::vector<Fd> sockets;
  for (const uint16_t port : {taken, waiting}) sockets.push_back(Listen("127.0.0.1", port));
  Inherit(std::move(sockets));
  set_->Apply({{"127.0.0.1", taken, 80}});
  const std::vector<Fd> given = GiveUpListening();
  EXPECT_EQ(given.size(), 2u);
  for (const uint16_t port : {taken, waiting}) EXPECT_TRUE(Connect("127.0.0.1", port).ok()) << port;
  EXPECT_TRUE(TakeInherited().empty());
}

TEST_F(ListenerSetTest, TellsTheStatesInTheOrderOfTheWanted) {
  const uint16_t one = FreePort(), two = FreePort();
  const std::vector<Forward> wanted = {{"::1", two, 82}, {"127.0.0.1", one, 80}, {"::1", one, 81}};
  const auto applied = set_->Apply(wanted);
  const auto observed = set_->Observe();
  ASSERT_EQ(applied.size(), 3u);
  ASSERT_EQ(observed.size(), 3u);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(applied[i].forward, wanted[i]);
    EXPECT_EQ(observed[i].forward, wanted[i]);
    EXPECT_TRUE(observed[i].bound.ok()) << observed[i].bound;
  }
}

TEST_F(ListenerSetTest, ARemovedForwardRefusesNewConnectionsAndDrainsOldOnes) {
  set_ = MakeListenerSet(guest_.dialer(), {.drain = milliseconds(400)});
  const uint16_t port = FreePort();
  set_->Apply({{"127.0.0.1", port, 80}});
  const Fd fd = Connect("127.0.0.1", port);
  EXPECT_EQ(ReadLine(fd.get()), "80");
  EXPECT_TRUE(set_->Apply({}).empty());
  EXPECT_FALSE(Connect("127.0.0.1", port).ok());
  EXPECT_EQ(Echo(fd.get(), "still"), "still");
  EXPECT_EQ(EndOf(fd.get()), ECONNRESET) << "once the drain time is over";
}

TEST_F(ListenerSetTest, AForwardThatComesBackWhileItDrainsKeepsItsConnections) {
  set_ = MakeListenerSet(guest_.dialer(), {.drain = std::chrono::seconds(1)});
  const uint16_t port = FreePort();
  const uint16_t other = FreePort();
  set_->Apply({{"127.0.0.1", port, 80}, {"127.0.0.1", other, 80}});
  const Fd old = Connect("127.0.0.1", port);
  const Fd removed = Connect("127.0.0.1", other);
  EXPECT_EQ(ReadLine(old.get()), "80");
  EXPECT_EQ(ReadLine(removed.get()), "80");
  set_->Apply({});
  EXPECT_TRUE(set_->Apply({{"127.0.0.1", port, 81}})[0].bound.ok());
  const Fd fresh = Connect("127.0.0.1", port);
  EXPECT_EQ(ReadLine(fresh.get()), "81");
  EXPECT_EQ(EndOf(removed.get()), ECONNRESET) << "the drain that began with the first one's";
  EXPECT_EQ(Echo(old.get(), "still"), "still");
  EXPECT_EQ(set_->Observe()[0].open_connections, 2);
}

TEST_F(ListenerSetTest, OneTakenPortNamesItsOwnerAndDoesNotStopTheOthers) {
  Fd holder = Listen("127.0.0.1", 0);
  const uint16_t taken = LocalPort(holder), fine = FreePort();
  const std::vector<Forward> wanted = {{"127.0.0.1", taken, 80}, {"127.0.0.1", fine, 80}};
  auto states = set_->Apply(wanted);
  EXPECT_TRUE(absl::IsUnavailable(states[0].bound)) << "so that it is retried";
  const std::string text(states[0].bound.message());
  EXPECT_EQ(text.find("port 127.0.0.1:" + std::to_string(taken) + ": in use by "), 0u) << text;
  EXPECT_NE(text.find(" (pid " + std::to_string(getpid()) + ")"), std::string::npos) << text;
  EXPECT_TRUE(states[1].bound.ok());
  EXPECT_EQ(ReadLine(Connect("127.0.0.1", fine).get()), "80");
  EXPECT_EQ(set_->Observe()[0].bound, states[0].bound);
  holder = Fd();
  EXPECT_TRUE(Eventually([&] { return set_->Apply(wanted)[0].bound.ok(); }));
}

TEST_F(ListenerSetTest, BindsMoveToAWildcardAndBack) {
  const uint16_t port = FreePort();
  for (const std::string bind : {"127.0.0.1", "0.0.0.0", "127.0.0.1", "::1", "::", "::1"}) {
    const auto states = set_->Apply({{bind, port, 80}});
    EXPECT_TRUE(states[0].bound.ok()) << bind << ": " << states[0].bound;
    const Fd fd = Connect(bind.find(':') == std::string::npos ? "127.0.0.1" : "::1", port);
    EXPECT_EQ(ReadLine(fd.get()), "80") << bind;
  }
}

TEST_F(ListenerSetTest, BothWildcardsOfAPortAreTwoForwards) {
  const uint16_t port = FreePort();
  for (const ForwardState& state : set_->Apply({{"0.0.0.0", port, 80}, {"::", port, 81}})) {
    EXPECT_TRUE(state.bound.ok()) << state.bound;
  }
  EXPECT_EQ(ReadLine(Connect("127.0.0.1", port).get()), "80");
  EXPECT_EQ(ReadLine(Connect("::1", port).get()), "81");
}

TEST_F(ListenerSetTest, TheWildcardOfIPv6TakesBothFamilies) {
  const uint16_t port = FreePort();
  for (const std::string bind : {"::", "0:0::0"}) {
    const auto states = set_->Apply({{bind, port, 80}});
    ASSERT_TRUE(states[0].bound.ok()) << states[0].bound;
    const Fd v4 = Connect("127.0.0.1", port), v6 = Connect("::1", port);
    EXPECT_EQ(ReadLine(v4.get()), "80");
    EXPECT_EQ(ReadLine(v6.get()), "80");
    EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].open_connections == 2; }));
    set_ = MakeListenerSet(guest_.dialer());
  }
}

TEST_F(ListenerSetTest, TheOtherWildcardComesAndGoesWhileConnectionsOfBothStay) {
  const uint16_t port = FreePort();
  set_->Apply({{"::", port, 80}});
  const Fd v4 = Connect("127.0.0.1", port), v6 = Connect("::1", port);
  EXPECT_EQ(ReadLine(v4.get()), "80");
  EXPECT_EQ(ReadLine(v6.get()), "80");
  for (const ForwardState& state : set_->Apply({{"::", port, 80}, {"0.0.0.0", port, 81}})) {
    EXPECT_TRUE(state.bound.ok()) << state.bound;
  }
  const Fd other = Connect("127.0.0.1", port);
  EXPECT_EQ(ReadLine(other.get()), "81");
  EXPECT_EQ(ReadLine(Connect("::1", port).get()), "80");
  set_->Apply({{"::", port, 80}});
  EXPECT_EQ(ReadLine(Connect("127.0.0.1", port).get()), "80");
  for (const Fd* fd : {&v4, &v6, &other}) EXPECT_EQ(Echo(fd->get(), "still"), "still");
  set_->Apply({{"0.0.0.0", port, 81}});
  EXPECT_FALSE(Connect("::1", port).ok());
  EXPECT_EQ(ReadLine(Connect("127.0.0.1", port).get()), "81");
  for (const Fd* fd : {&v4, &v6, &other}) EXPECT_EQ(Echo(fd->get(), "still"), "still");
}

TEST_F(ListenerSetTest, AWildcardWhoseIPv4PortIsHeldSaysByWhom) {
  const Fd holder = Listen("127.0.0.1", 0);
  const auto states = set_->Apply({{"::", LocalPort(holder), 80}});
  EXPECT_TRUE(absl::IsUnavailable(states[0].bound));
  EXPECT_NE(states[0].bound.message().find("(pid " + std::to_string(getpid()) + ")"),
            absl::string_view::npos)
      << states[0].bound;
}

// As of two machines that have the same port.
TEST_F(ListenerSetTest, ASiblingsPortNamesItsMachineAndIsTakenWhenItIsFree) {
  const auto of = [&](const std::string& machine, std::function<void()> on_change) {
    GuestRoute route;
    route.dial = guest_.dialer();
    route.machine = machine;
    route.on_change = std::move(on_change);
    return MakeListenerSet(std::move(route), {.retry = milliseconds(20)});
  };
  std::atomic<int> changes = 0;
  const auto first = of("machine one (/one/rum.toml)", [] {});
  const auto second = of("machine two (/two/rum.toml)", [&] { ++changes; });
  const uint16_t port = FreePort();
  for (const std::string held : {"127.0.0.1", "0.0.0.0", "::1", "::"}) {
    ASSERT_TRUE(first->Apply({{held, port, 80}})[0].bound.ok());
    const bool v6 = held.find(':') != std::string::npos;
    const Forward wanted{v6 ? "::1" : "127.0.0.1", port, 81};
    const auto states = second->Apply({wanted});
    const std::string text(states[0].bound.message());
    EXPECT_NE(text.find("in use by machine one (/one/rum.toml)"), std::string::npos) << text;
    const int before = changes;
    first->Apply({});
    EXPECT_TRUE(Eventually([&] { return second->Observe()[0].bound.ok(); })) << held;
    EXPECT_GT(changes, before) << "whoever shows it is told";
    EXPECT_EQ(ReadLine(Connect(wanted.bind, port).get()), "81");
    second->Apply({});
  }
}

TEST_F(ListenerSetTest, AnAddressInAnotherSpellingIsTheSameForward) {
  const uint16_t port = FreePort();
  set_->Apply({{"::1", port, 80}});
  const Fd fd = Connect("::1", port);
  EXPECT_EQ(ReadLine(fd.get()), "80");
  const auto states = set_->Apply({{"0:0:0:0:0:0:0:1", port, 80}});
  EXPECT_EQ(states[0].open_connections, 1);
}

TEST_F(ListenerSetTest, RejectsWhatCanNeverBeBound) {
  const uint16_t port = FreePort();
  const auto states = set_->Apply({{"localhost", port, 80},
                                   {"127.0.0.1", 0, 80},
                                   {"127.0.0.1", port, 80},
                                   {"127.0.0.1", port, 81},
                                   {"192.0.2.1", port, 80}});
  EXPECT_TRUE(absl::IsInvalidArgument(states[0].bound)) << states[0].bound;
  EXPECT_TRUE(absl::IsInvalidArgument(states[1].bound)) << states[1].bound;
  EXPECT_TRUE(states[2].bound.ok()) << states[2].bound;
  EXPECT_TRUE(absl::IsInvalidArgument(states[3].bound)) << states[3].bound;
  EXPECT_TRUE(absl::IsUnavailable(states[4].bound)) << "the interface may come up";
}

TEST(BindError, HintsAtWhatAPrivilegedPortNeeds) {
  const absl::Status status = BindError({"::1", 80, 80}, EACCES, "");
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  EXPECT_EQ(std::string(status.message()),
            "port [::1]:80: Permission denied; a port below net.ipv4.ip_unprivileged_port_start "
            "(1024 by default) needs root, CAP_NET_BIND_SERVICE or a lower start: use a port from "
            "1024 up");
}

TEST_F(ListenerSetTest, NoSocketIsInheritedByChildren) {
  const uint16_t port = FreePort();
  set_->Apply({{"127.0.0.1", port, 80}});
  const Fd fd = Connect("127.0.0.1", port);
  EXPECT_EQ(ReadLine(fd.get()), "80");
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (gone || target.find("socket:") != 0) continue;
    const int number = std::stoi(entry.path().filename().string());
    sockaddr_storage at{};
    socklen_t size = sizeof at;
    getsockname(number, reinterpret_cast<sockaddr*>(&at), &size);
    if (at.ss_family != AF_INET) continue;  // the test runner's own
    EXPECT_NE(fcntl(number, F_GETFD) & FD_CLOEXEC, 0) << number;
  }
}

TEST_F(ListenerSetTest, CanBeUsedFromManyThreads) {
  const uint16_t kept = FreePort(), other = FreePort();
  set_->Apply({{"127.0.0.1", kept, 80}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        std::vector<Forward> wanted = {{"127.0.0.1", kept, static_cast<uint16_t>(80 + t)}};
        if ((i + t) % 2 == 0) wanted.push_back({"127.0.0.1", other, 90});
        EXPECT_TRUE(set_->Apply(wanted)[0].bound.ok());
        EXPECT_GE(set_->Observe().size(), 1u);
      }
    });
  }
  const Fd fd = Connect("127.0.0.1", kept);
  ReadLine(fd.get());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Echo(fd.get(), "x"), "x");
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ListenerSetTest, TheSetsEndResetsConnectionsAndFreesPorts) {
  const uint16_t port = FreePort(), removed = FreePort();
  set_->Apply({{"127.0.0.1", port, 80}, {"127.0.0.1", removed, 80}});
  const Fd a = Connect("127.0.0.1", port), b = Connect("127.0.0.1", removed);
  EXPECT_EQ(ReadLine(a.get()) + ReadLine(b.get()), "8080");
  set_->Apply({{"127.0.0.1", port, 80}});
  set_.reset();
  EXPECT_EQ(EndOf(a.get()), ECONNRESET);
  EXPECT_EQ(EndOf(b.get()), ECONNRESET) << "draining";
  EXPECT_FALSE(Connect("127.0.0.1", port).ok());
}

}  // namespace
}  // namespace rum
