#include "controller/listeners/relay.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "controller/listeners/listener_set_options.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using std::chrono::milliseconds;
using Done = std::function<void(absl::StatusOr<int>)>;

// Forwards to `dial` from one free port.
struct Forwarded {
  explicit Forwarded(Dialer dial, ListenerSetOptions options = {})
      : set(MakeListenerSet(std::move(dial), options)) {
    EXPECT_TRUE(set->Apply({{"127.0.0.1", port, 80}})[0].bound.ok());
  }
  Fd Client() const { return Connect("127.0.0.1", port); }
  ForwardState State() const { return set->Observe()[0]; }

  const uint16_t port = FreePort();
  std::unique_ptr<ListenerSet> set;
};

// A guest that the test plays: the far end of every connection lands here.
class Puppet {
 public:
  Dialer dialer() {
    return [this](uint16_t, const Done& done) {
      Fd ours;
      Fd theirs;
      ASSERT_TRUE(SocketPair(&ours, &theirs));
      {
        const std::lock_guard<std::mutex> guard(mutex_);
        ends_.push_back(std::move(ours));
      }
      done(theirs.Release());
    };
  }
  Fd Take() {
    Fd end;
    EXPECT_TRUE(Eventually([&] {
      const std::lock_guard<std::mutex> guard(mutex_);
      if (ends_.empty()) return false;
      end = std::move(ends_.back());
      ends_.pop_back();
      return true;
    }));
    return end;
  }

 private:
  std::mutex mutex_;
  std::vector<Fd> ends_;
};

class RelayOverEachSocket : public testing::TestWithParam<bool> {
 protected:
  EchoGuest guest_;
  Dialer dialer() { return GetParam() ? guest_.dialer() : Dialer(DialEchoPair); }
};
INSTANTIATE_TEST_SUITE_P(Guest, RelayOverEachSocket, testing::Bool(),
                         [](const auto& info) { return info.param ? "Tcp" : "SocketPair"; });

TEST_P(RelayOverEachSocket, CarriesBytesAndHalfClosesAndCountsThem) {
  const Forwarded forward(dialer());
  const Fd fd = forward.Client();
  EXPECT_EQ(ReadLine(fd.get()), "80");
  EXPECT_EQ(Echo(fd.get(), "hello"), "hello");
  EXPECT_EQ(forward.State().open_connections, 1);
  shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(ReadLine(fd.get()), "bye") << "the guest still had something to say";
  EXPECT_EQ(EndOf(fd.get()), 0);
  EXPECT_TRUE(Eventually([&] { return forward.State().open_connections == 0; }));
  EXPECT_EQ(forward.State().bytes_in, 6);
  EXPECT_EQ(forward.State().bytes_out, 3 + 6 + 4);
  EXPECT_EQ(forward.State().last_error, "");
}

TEST(Relay, TheGuestMayEndFirst) {
  Puppet guest;
  const Forwarded forward(guest.dialer());
  const Fd client = forward.Client();
  const Fd end = guest.Take();
  WriteAll(end.get(), "all I know\n");
  shutdown(end.get(), SHUT_WR);
  EXPECT_EQ(ReadLine(client.get()), "all I know");
  EXPECT_EQ(EndOf(client.get()), 0);
  WriteAll(client.get(), "thanks\n");
  EXPECT_EQ(ReadLine(end.get()), "thanks");
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(EndOf(end.get()), 0);
  EXPECT_TRUE(Eventually([&] { return forward.State().open_connections == 0; }));
  EXPECT_EQ(forward.State().last_error, "");
}

TEST(Relay, ALostAgentIsAResetAndNotAnEnd) {
  Puppet guest;
  const Forwarded forward(guest.dialer());
  const Fd client = forward.Client();
  Fd end = guest.Take();
  WriteAll(end.get(), "half of\n");
  EXPECT_EQ(ReadLine(client.get()), "half of");
  shutdown(end.get(), SHUT_RDWR);
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
  EXPECT_EQ(forward.State().last_error, "guest: the connection broke");
}

TEST(Relay, ARefusalInTheGuestIsAResetForTheClient) {
  const Forwarded forward([](uint16_t port, const Done& done) {
    done(absl::FailedPreconditionError("port " + std::to_string(port) + ": Connection refused"));
  });
  EXPECT_EQ(EndOf(forward.Client().get()), ECONNRESET);
  EXPECT_EQ(forward.State().last_error, "port 80: Connection refused");
  EXPECT_EQ(forward.State().open_connections, 0);
}

TEST(Relay, WaitsForAnAgentThatIsAway) {
  std::atomic<int> failures = 5;
  const Forwarded forward([&](uint16_t port, Done done) {
    if (failures-- > 0) return done(absl::UnavailableError("no agent"));
    DialEchoPair(port, std::move(done));
  });
  const Fd fd = forward.Client();
  WriteAll(fd.get(), "early\n");
  EXPECT_EQ(ReadLine(fd.get()), "80");
  EXPECT_EQ(ReadLine(fd.get()), "early");
}

TEST(Relay, GivesUpOnAnAgentThatStaysAway) {
  const auto started = std::chrono::steady_clock::now();
  const Forwarded forward(
      [](uint16_t, const Done& done) { done(absl::UnavailableError("no agent")); },
      {.patience = milliseconds(300)});
  EXPECT_EQ(EndOf(forward.Client().get()), ECONNRESET);
  EXPECT_GE(std::chrono::steady_clock::now() - started, milliseconds(300));
  EXPECT_EQ(forward.State().last_error, "no agent");
}

TEST(Relay, GivesUpOnADialWithoutAnAnswer) {
  std::vector<Done> kept;
  const Forwarded forward([&](uint16_t, Done done) { kept.push_back(std::move(done)); },
                          {.answer = milliseconds(200)});
  EXPECT_EQ(EndOf(forward.Client().get()), ECONNRESET);
  EXPECT_EQ(forward.State().last_error, "guest port 80: no answer");
}

TEST(Relay, ADialAnsweredAfterTheSetsEndClosesItsSocket) {
  std::mutex mutex;
  std::vector<Done> kept;
  auto forward = std::make_unique<Forwarded>([&](uint16_t, Done done) {
    const std::lock_guard<std::mutex> guard(mutex);
    kept.push_back(std::move(done));
  });
  const Fd client = forward->Client();
  ASSERT_TRUE(Eventually([&] {
    const std::lock_guard<std::mutex> guard(mutex);
    return kept.size() == 1;
  }));
  forward.reset();
  EXPECT_EQ(EndOf(client.get()), ECONNRESET);
  Fd ours;
  Fd theirs;
  ASSERT_TRUE(SocketPair(&ours, &theirs));
  std::thread([&] { kept[0](theirs.Release()); }).join();
  EXPECT_EQ(EndOf(ours.get()), 0) << "closed by whom it was given to";
}

TEST(Relay, AResetOfTheClientIsSeenWhileTheGuestReadsNothing) {
  Puppet guest;
  const Forwarded forward(guest.dialer());
  Fd client = forward.Client();
  const Fd end = guest.Take();
  const std::string much(256 * 1024, 'x');
  while (send(client.get(), much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0 ||
         forward.State().bytes_in == 0) {
  }
  const linger reset{1, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  client = Fd();
  EXPECT_TRUE(Eventually([&] { return forward.State().open_connections == 0; }));
  EXPECT_EQ(forward.State().last_error, "client: Connection reset by peer");
}

TEST(Relay, HoldsNoMoreThanItsBufferForAGuestThatReadsNothing) {
  std::atomic<int> kept = -1;
  const Forwarded forward([&](uint16_t, const Done& done) {
    Fd ours;
    Fd theirs;
    ASSERT_TRUE(SocketPair(&ours, &theirs));
    const int small = 4096;
    setsockopt(theirs.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    kept = ours.Release();
    done(theirs.Release());
  });
  const Fd client = forward.Client();
  std::thread writer([&] { WriteAll(client.get(), std::string(16 << 20, 'x')); });
  ASSERT_TRUE(Eventually([&] { return forward.State().bytes_in > 0; }));
  // Nobody takes anything from the client any more.
  int looks = 0;
  EXPECT_TRUE(Eventually([&] {
    pollfd room{client.get(), POLLOUT, 0};
    looks = poll(&room, 1, 0) == 0 ? looks + 1 : 0;
    return looks == 50;
  }));
  EXPECT_LE(forward.State().bytes_in, 64 * 1024 + 32 * 1024) << "its buffer and the kernel's";
  const Fd end(kept);
  EXPECT_EQ(ReadExactly(end.get(), 16 << 20).size(), 16u << 20) << "and nothing is lost";
  writer.join();
}

TEST(Relay, OneThatReadsNothingDoesNotStopTheOthers) {
  const Forwarded forward(DialEchoPair);
  const Fd lazy = forward.Client(), busy = forward.Client();
  EXPECT_EQ(ReadLine(busy.get()), "80");
  const std::string much(1 << 20, 'x');
  while (send(lazy.get(), much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Echo(busy.get(), "ping"), "ping");
}

TEST(Relay, SetsMayEndAtAnyMomentOfTheirConnections) {
  for (int round = 0; round < 40; ++round) {
    std::vector<std::thread> dials;
    std::mutex mutex;
    auto forward = std::make_unique<Forwarded>([&](uint16_t port, Done done) {
      const std::lock_guard<std::mutex> guard(mutex);
      dials.emplace_back([port, done = std::move(done)] { DialEchoPair(port, done); });
    });
    std::vector<Fd> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(forward->Client());
      WriteAll(clients.back().get(), std::string(1000, 'x'));
    }
    if (round % 2 == 0) ReadLine(clients[0].get());
    if (round % 3 == 0) forward->set->Apply({});
    forward.reset();
    for (std::thread& dial : dials) dial.join();
  }
}

}  // namespace
}  // namespace rum
