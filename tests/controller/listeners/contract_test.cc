// What a ListenerSet does with a host's ports, whoever's it is: the real one, and the fake that
// other tests have in its place. What a client's bytes meet is in relay_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controller/listeners/listener_set_options.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"
#include "tests/fakes/listeners/fake_listener_set.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// A host with listeners of one kind on it.
class Host {
 public:
  virtual ~Host() = default;
  virtual std::unique_ptr<ListenerSet> Make(const std::string& machine,
                                            std::function<void()> on_change) = 0;
  virtual uint16_t AFreePort() = 0;
  // Another program's hold on a port of 127.0.0.1; it lets go when `false`.
  virtual void Hold(uint16_t port, bool hold) = 0;
  // Connects; what says whether that connection is still there. Null: refused.
  virtual std::function<bool()> Connects(const Forward& forward) = 0;
};

class RealHost : public Host {
 public:
  std::unique_ptr<ListenerSet> Make(const std::string& machine,
                                    std::function<void()> on_change) override {
    GuestRoute route;
    route.dial = guest_.dialer();
    route.machine = machine;
    route.on_change = std::move(on_change);
    return MakeListenerSet(std::move(route), {.retry = std::chrono::milliseconds(20)});
  }
  uint16_t AFreePort() override { return FreePort(); }
  void Hold(uint16_t port, bool hold) override {
    if (!hold) return void(held_.erase(port));
    held_[port] = Listen("127.0.0.1", port);
    EXPECT_TRUE(held_[port].ok());
  }
  std::function<bool()> Connects(const Forward& forward) override {
    const auto client =
        std::make_shared<Fd>(forward.host == 0 ? ConnectTo(forward.bind.substr(5))
                                               : Connect(forward.bind, forward.host));
    if (!client->ok() || ReadLine(client->get()).empty()) return nullptr;
    return [client] { return Echo(client->get(), "still?") == "still?"; };
  }

 private:
  static Fd ConnectTo(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* at = reinterpret_cast<const sockaddr*>(&address);
    return connect(fd.get(), at, sizeof address) == 0 ? std::move(fd) : Fd();
  }

  EchoGuest guest_;
  std::map<uint16_t, Fd> held_;
};

class HostInMemory : public Host {
 public:
  std::unique_ptr<ListenerSet> Make(const std::string& machine,
                                    std::function<void()> on_change) override {
    GuestRoute route;
    route.machine = machine;
    route.on_change = std::move(on_change);
    return std::make_unique<FakeListenerSet>(host_, std::move(route));
  }
  uint16_t AFreePort() override { return ++last_; }
  void Hold(uint16_t port, bool hold) override {
    if (!hold) return host_->Free(port);
    const std::lock_guard<std::mutex> guard(host_->mutex);
    host_->taken.insert(port);
  }
  std::function<bool()> Connects(const Forward& forward) override {
    const int number = host_->Reach(forward);
    if (number == 0) return nullptr;
    return [this, forward, number] { return host_->Reach(forward) == number; };
  }

 private:
  const std::shared_ptr<FakeHost> host_ = std::make_shared<FakeHost>();
  uint16_t last_ = 20'000;
};

struct Kind {
  std::string name;
  std::unique_ptr<Host> (*make)();
};

class ListenerSetContract : public testing::TestWithParam<Kind> {
 protected:
  ListenerSetContract() {
    std::string folder = "/tmp/rum-contract.XXXXXX";  // a short path
    folder_ = mkdtemp(folder.data());
    setenv("RUM_STATE_DIR", (folder_ + "/state").c_str(), 1);
  }
  ~ListenerSetContract() override {
    set_.reset();
    std::filesystem::remove_all(folder_);
  }

  uint16_t Port() { return host_->AFreePort(); }
  bool Serves(const Forward& forward) { return host_->Connects(forward) != nullptr; }

  std::string folder_;
  const std::unique_ptr<Host> host_ = GetParam().make();
  std::atomic<int> changes_ = 0;
  std::unique_ptr<ListenerSet> set_ =
      host_->Make("machine one (/one/rum.toml)", [this] { ++changes_; });
};

TEST_P(ListenerSetContract, ServesWhatIsWantedAndTellsItInThatOrder) {
  const uint16_t a = Port();
  const uint16_t b = Port();
  const std::vector<Forward> wanted = {{"127.0.0.1", std::max(a, b), 80},
                                       {"127.0.0.1", std::min(a, b), 81},
                                       {"::1", std::max(a, b), 82}};
  EXPECT_FALSE(Serves(wanted[0]));
  const auto applied = set_->Apply(wanted);
  const auto observed = set_->Observe();
  ASSERT_EQ(applied.size(), 3u);
  ASSERT_EQ(observed.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(applied[i].forward, wanted[i]);
    EXPECT_EQ(observed[i].forward, wanted[i]);
    EXPECT_TRUE(applied[i].bound.ok()) << applied[i].bound;
    EXPECT_EQ(applied[i].last_error, "");
    EXPECT_TRUE(Serves(wanted[i]));
  }
}

TEST_P(ListenerSetContract, WhatCanNeverBeBoundIsInvalidAndStopsNoOther) {
  const uint16_t port = Port();
  const auto states = set_->Apply({{"localhost", port, 80},
                                   {"127.0.0.1", 0, 80},
                                   {"unix:" + folder_ + "/a.sock", port, 80},
                                   {"127.0.0.1", port, 80},
                                   {"127.0.0.1", port, 81}});
  ASSERT_EQ(states.size(), 5u);
  for (const size_t i : {0, 1, 2, 4}) {
    EXPECT_TRUE(absl::IsInvalidArgument(states[i].bound)) << i << ": " << states[i].bound;
    EXPECT_EQ(states[i].last_error, states[i].bound.message());
  }
  EXPECT_THAT(std::string(states[4].bound.message()), HasSubstr("listed twice"));
  EXPECT_TRUE(states[3].bound.ok()) << states[3].bound;
  EXPECT_TRUE(Serves({"127.0.0.1", port, 80}));
}

TEST_P(ListenerSetContract, AnAddressThatNoInterfaceHasMayComeUp) {
  const auto states = set_->Apply({{"198.51.100.1", Port(), 80}});
  EXPECT_TRUE(absl::IsUnavailable(states[0].bound)) << states[0].bound;
  EXPECT_THAT(std::string(states[0].bound.message()), HasSubstr("no interface has this address"));
}

TEST_P(ListenerSetContract, ConnectionsOfUnchangedAndRetargetedForwardsStay) {
  const Forward kept = {"127.0.0.1", Port(), 80};
  const Forward before = {"127.0.0.1", Port(), 81};
  Forward after = before;
  after.guest = 82;
  set_->Apply({kept, before});
  const auto one = host_->Connects(kept);
  const auto other = host_->Connects(before);
  ASSERT_TRUE(one && other);
  const auto states = set_->Apply({after, kept});
  EXPECT_EQ(states[0].forward.guest, 82);
  EXPECT_TRUE(one());
  EXPECT_TRUE(other());
}

TEST_P(ListenerSetContract, AnAddressInAnotherSpellingIsTheSameForward) {
  const uint16_t port = Port();
  set_->Apply({{"::1", port, 80}});
  const auto connection = host_->Connects({"::1", port, 80});
  ASSERT_TRUE(connection);
  EXPECT_TRUE(set_->Apply({{"0:0:0:0:0:0:0:1", port, 80}})[0].bound.ok());
  EXPECT_TRUE(connection());
}

TEST_P(ListenerSetContract, ARemovedForwardRefusesClientsAndComesBack) {
  const Forward forward = {"127.0.0.1", Port(), 80};
  set_->Apply({forward});
  EXPECT_TRUE(set_->Apply({}).empty());
  EXPECT_FALSE(Serves(forward));
  EXPECT_TRUE(set_->Apply({forward})[0].bound.ok());
  EXPECT_TRUE(Serves(forward));
}

TEST_P(ListenerSetContract, ATakenPortSaysByWhomAndDoesNotStopTheOthersAndIsTakenWhenItIsFree) {
  const Forward taken = {"127.0.0.1", Port(), 80};
  const Forward free = {"127.0.0.1", Port(), 81};
  host_->Hold(taken.host, true);
  const auto states = set_->Apply({taken, free});
  EXPECT_TRUE(absl::IsUnavailable(states[0].bound)) << states[0].bound;
  EXPECT_THAT(std::string(states[0].bound.message()),
              StartsWith("port 127.0.0.1:" + std::to_string(taken.host) + ": in use by "));
  EXPECT_EQ(states[0].last_error, states[0].bound.message());
  EXPECT_TRUE(states[1].bound.ok()) << states[1].bound;
  EXPECT_FALSE(set_->Observe()[0].bound.ok());
  EXPECT_EQ(changes_, 0);
  host_->Hold(taken.host, false);
  EXPECT_TRUE(Eventually([&] { return changes_ > 0; }, std::chrono::seconds(60))) << "it is told";
  EXPECT_TRUE(set_->Observe()[0].bound.ok());
  EXPECT_TRUE(Serves(taken));
}

TEST_P(ListenerSetContract, AnotherMachinesPortNamesItAndIsTakenWhenItIsFree) {
  std::atomic<int> changes = 0;
  const auto second = host_->Make("machine two (/two/rum.toml)", [&] { ++changes; });
  const uint16_t port = Port();
  for (const std::string held : {"127.0.0.1", "0.0.0.0", "::1", "::"}) {
    SCOPED_TRACE(held);
    ASSERT_TRUE(set_->Apply({{held, port, 80}})[0].bound.ok());
    const Forward wanted = {held.find(':') != std::string::npos ? "::1" : "127.0.0.1", port, 81};
    const absl::Status why = second->Apply({wanted})[0].bound;
    EXPECT_TRUE(absl::IsUnavailable(why)) << why;
    EXPECT_THAT(std::string(why.message()), HasSubstr("in use by machine one (/one/rum.toml)"));
    const int before = changes;
    set_->Apply({});
    EXPECT_TRUE(Eventually([&] { return changes > before; }, std::chrono::seconds(60)));
    EXPECT_TRUE(second->Observe()[0].bound.ok());
    EXPECT_TRUE(Serves(wanted));
    second->Apply({});
  }
}

TEST_P(ListenerSetContract, AnAddressMovesToAWildcardAndBack) {
  const uint16_t port = Port();
  for (const std::string bind : {"127.0.0.1", "0.0.0.0", "127.0.0.1", "::", "::1"}) {
    SCOPED_TRACE(bind);
    EXPECT_TRUE(set_->Apply({{bind, port, 80}})[0].bound.ok());
    EXPECT_TRUE(Serves({bind == "::1" || bind == "::" ? "::1" : "127.0.0.1", port, 80}));
  }
}

TEST_P(ListenerSetContract, BothWildcardsOfAPortAreTwoForwards) {
  const uint16_t port = Port();
  const auto states = set_->Apply({{"::", port, 80}, {"0.0.0.0", port, 81}});
  EXPECT_TRUE(states[0].bound.ok()) << states[0].bound;
  EXPECT_TRUE(states[1].bound.ok()) << states[1].bound;
}

TEST_P(ListenerSetContract, ASocketOfAPathGoesWithItsForwardAndIsAnothersOnlyThen) {
  const Forward forward = {"unix:" + folder_ + "/app.sock", 0, 80};
  EXPECT_FALSE(Serves(forward));
  EXPECT_TRUE(set_->Apply({forward})[0].bound.ok());
  EXPECT_TRUE(Serves(forward));
  const auto second = host_->Make("machine two (/two/rum.toml)", nullptr);
  const absl::Status why = second->Apply({forward})[0].bound;
  EXPECT_TRUE(absl::IsUnavailable(why)) << why;
  EXPECT_THAT(std::string(why.message()), HasSubstr("in use by machine one (/one/rum.toml)"));
  set_->Apply({});
  EXPECT_TRUE(
      Eventually([&] { return second->Observe()[0].bound.ok(); }, std::chrono::seconds(60)));
  second->Apply({});
  EXPECT_FALSE(Serves(forward));
}

TEST_P(ListenerSetContract, TheSetsEndFreesItsPorts) {
  const Forward forward = {"127.0.0.1", Port(), 80};
  set_->Apply({forward});
  set_.reset();
  EXPECT_FALSE(Serves(forward));
  set_ = host_->Make("machine one (/one/rum.toml)", nullptr);
  EXPECT_TRUE(set_->Apply({forward})[0].bound.ok());
}

INSTANTIATE_TEST_SUITE_P(
    All, ListenerSetContract,
    testing::Values(
        Kind{"Asio", []() -> std::unique_ptr<Host> { return std::make_unique<RealHost>(); }},
        Kind{"Fake", []() -> std::unique_ptr<Host> { return std::make_unique<HostInMemory>(); }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace rum
