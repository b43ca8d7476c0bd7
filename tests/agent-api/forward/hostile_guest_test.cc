// The host's end of the forward channel against a guest that says what no peer of ours says.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "agent-api/channel/frame.h"
#include "agent-api/channel/session_pace.h"
#include "agent-api/channel/socket_io.h"
#include "agent-api/forward/host_end.h"
#include "agent-api/forward/mux.h"
#include "tests/fakes/guest/lying_agent.h"

namespace rum {
namespace {

using namespace std::chrono_literals;

const std::string kSettings = Http2Frame(4, 0, 0, "");
const std::string kAnswer = Http2Frame(1, 4, 1, "\x88");  // :status 200 of stream 1

struct Silent : Mux::Stream {
  void OnAnswer(int) override { ++answers; }
  int64_t Take(char*, size_t) override { return kNothingNow; }
  void OnData(const char*, size_t size) override { data += size; }
  void OnEnd() override {}
  void OnClose(bool) override { ++closed; }
  int answers = 0;
  size_t data = 0;
  int closed = 0;
};

// A host's mux with one stream to a guest that is only bytes.
class HostileMux : public testing::Test {
 protected:
  HostileMux() {
    id_ = host_.Open(80, &stream_, false);
    Drain();
    EXPECT_TRUE(Say(kSettings + kAnswer));
    EXPECT_EQ(stream_.answers, 1);
  }
  bool Say(const std::string& bytes) { return host_.Feed(bytes.data(), bytes.size()); }
  // What the host says, which nobody reads; how much that is.
  size_t Drain() {
    size_t said = 0;
    host_.Produce([&](const char*, size_t size) {
      said += size;
      return true;
    });
    return said;
  }
  // How often the guest may say it, up to `most`.
  size_t Borne(const std::string& frame, size_t most = 100'000) {
    for (size_t times = 0; times < most; ++times) {
      if (!Say(frame)) return times;
    }
    return most;
  }

  Silent stream_;
  Mux host_{Mux::Side::kHost, nullptr};
  int32_t id_ = 0;
};

TEST_F(HostileMux, NoPushIsTaken) {
  EXPECT_FALSE(Say(Http2Frame(5, 4, 1, std::string("\0\0\0\2\x88", 5))));
}

TEST_F(HostileMux, NoStreamIsTakenThatTheGuestOpens) {
  Say(Http2Frame(1, 4, 2, "\x88"));
  Drain();
  EXPECT_FALSE(Say(kSettings));
  EXPECT_EQ(host_.streams(), 1u);
}

TEST_F(HostileMux, NoAnswerIsTakenToWhatWasNotAsked) {
  Say(Http2Frame(1, 4, 3, "\x88"));
  Drain();
  EXPECT_FALSE(Say(kSettings));
}

// By what a frame is called here: how many are borne beyond those that what was said allows.
TEST_F(HostileMux, FramesThatNothingAskedForAreFew) {
  constexpr size_t kMost = Mux::kFreeFrames + Mux::kFramesOfStream;
  const std::string number("\0\0\0\1", 4);
  const std::vector<std::pair<const char*, std::string>> floods = {
      {"SETTINGS", kSettings},
      {"acknowledged SETTINGS", Http2Frame(4, 1, 0, "")},
      {"PING", Http2Frame(6, 0, 0, "12345678")},
      {"acknowledged PING", Http2Frame(6, 1, 0, "12345678")},
      {"WINDOW_UPDATE", Http2Frame(8, 0, 0, number)},
      {"WINDOW_UPDATE of the stream", Http2Frame(8, 0, 1, number)},
      {"WINDOW_UPDATE of a stream that never was", Http2Frame(8, 0, 1001, number)},
      {"RST_STREAM", Http2Frame(3, 0, 1, number)},
      {"RST_STREAM of a stream that never was", Http2Frame(3, 0, 1001, number)},
      {"PRIORITY", Http2Frame(2, 0, 1, std::string("\0\0\0\3\1", 5))},
      {"empty DATA", Http2Frame(0, 0, 1, "")},
      {"an unknown kind", Http2Frame(77, 0, 0, "x")},
      {"informational answers", Http2Frame(1, 4, 1, std::string("\x08\x03") + "103")},
  };
  for (const auto& [name, frame] : floods) {
    Silent stream;
    Mux host(Mux::Side::kHost, nullptr);
    host.Open(80, &stream, false);
    host.Produce([](const char*, size_t) { return true; });
    const std::string begin = kSettings + kAnswer;
    ASSERT_TRUE(host.Feed(begin.data(), begin.size()));
    size_t times = 0;
    while (times < 100'000 && host.Feed(frame.data(), frame.size())) ++times;
    EXPECT_LE(times, kMost) << name;
    size_t said = 0;
    host.Produce([&](const char*, size_t size) {
      said += size;
      return true;
    });
    EXPECT_LT(said, 8'000u) << name << ": what is said to it";
  }
}

TEST_F(HostileMux, OfAStreamThatWasResetOnlyWhatWasUnderWayIsBorne) {
  host_.Reset(id_);
  Drain();
  const std::string kilobyte = Http2Frame(0, 0, 1, std::string(1024, 'x'));
  const size_t borne = Borne(kilobyte);
  EXPECT_GE(borne, Mux::kFirstWindow / 1024);
  EXPECT_LE(borne, 64u);
  EXPECT_EQ(stream_.data, 0u);
}

TEST_F(HostileMux, AGuestThatSendsBeyondTheWindowGetsNoFurther) {
  const std::string frame = Http2Frame(0, 0, 1, std::string(16 * 1024, 'x'));
  size_t borne = 0;
  while (borne < 1000 && Say(frame)) ++borne, Drain();
  EXPECT_LE(borne, 8u);
  EXPECT_LE(stream_.data, 65'536u);
  EXPECT_EQ(stream_.closed, 1);
}

TEST_F(HostileMux, WhatWasSentAllowsAsManyUpdatesAsAPeerMakesOfIt) {
  // A peer updates a window at its half, and says nothing else of data that it took.
  struct Talker : Silent {
    int64_t Take(char*, size_t size) override { return static_cast<int64_t>(size); }
  } talker;
  const int32_t id = host_.Open(81, &talker, false);
  const std::string half("\0\0\x60\0", 4);
  ASSERT_TRUE(Say(Http2Frame(8, 0, 0, std::string("\x7f\0\0\0", 4))));
  for (int i = 0; i < 2'000; ++i) {
    Drain();
    ASSERT_TRUE(Say(Http2Frame(8, 0, static_cast<unsigned>(id), half))) << i;
  }
}

// The guest's end of a forward channel, by hand.
class HostileChannel : public testing::Test {
 protected:
  HostileChannel() {
    signal(SIGPIPE, SIG_IGN);
    int channel = -1;
    EXPECT_TRUE(SocketPair(&port_, &channel));
    host_.Open(channel);
  }
  ~HostileChannel() override { close(port_); }

  // Both ends have their turn, until the host has lost the channel or `done`.
  void Run(const std::function<bool()>& done = [] { return false; }) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (lost_ == 0 && !done() && std::chrono::steady_clock::now() < end) {
      host_.Run(1);
      char buffer[65536];
      const ssize_t n = read(port_, buffer, sizeof buffer);
      if (n > 0) decoder_.Feed(buffer, static_cast<size_t>(n));
      Write();
    }
  }
  void Write() {
    const ssize_t n = send(port_, out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) out_.erase(0, static_cast<size_t>(n));
  }

  std::function<void(const std::string& nonce)> on_hello_;
  int port_ = -1;
  int hellos_ = 0;
  int lost_ = 0;
  int changes_ = 0;
  std::string out_;
  HostEnd host_{[this] { ++lost_; }, [this] { ++changes_; }, {.probe = 50ms}};
  FrameDecoder decoder_{[](const char*, size_t) {},
                        [this](FrameKind kind, const std::string& nonce) {
                          if (kind != FrameKind::kHello) return;
                          ++hellos_;
                          on_hello_(nonce);
                        }};
};

TEST_F(HostileChannel, SessionsThatBreakAtOnceAreFewAndTheNextOneWaits) {
  on_hello_ = [this](const std::string& nonce) {
    out_ += EncodeControl(FrameKind::kAck, nonce) + EncodeControl(FrameKind::kReset, NewNonce());
  };
  Run();
  EXPECT_EQ(lost_, 1);
  EXPECT_LE(hellos_, SessionPace::kFree + 1);
  EXPECT_GT(host_.pause(), 0ms);
}

TEST_F(HostileChannel, SoAreSessionsInWhichItSaysWhatNoPeerSays) {
  on_hello_ = [this](const std::string& nonce) {
    out_ += EncodeControl(FrameKind::kAck, nonce);
    const std::string rubbish = "HTTP/1.1 200 OK\r\n\r\n";
    EncodePayload(rubbish.data(), rubbish.size(), &out_);
  };
  Run();
  EXPECT_EQ(lost_, 1);
  EXPECT_LE(hellos_, SessionPace::kFree + 1);
  EXPECT_GT(host_.pause(), 0ms);
}

TEST_F(HostileChannel, AFloodOfWordsAboutSessionsEndsTheConnection) {
  on_hello_ = [](const std::string&) {};
  for (int i = 0; i < 10'000; ++i) out_ += EncodeControl(FrameKind::kAck, NewNonce());
  Run();
  EXPECT_EQ(lost_, 1);
}

TEST_F(HostileChannel, AnAgentThatStartsAgainNowAndThenIsNoHarm) {
  on_hello_ = [this](const std::string& nonce) {
    out_ += EncodeControl(FrameKind::kAck, nonce);
    if (hellos_ < SessionPace::kFree) out_ += EncodeControl(FrameKind::kReset, NewNonce());
  };
  Run([this] { return hellos_ >= SessionPace::kFree && host_.up(); });
  EXPECT_EQ(lost_, 0);
  EXPECT_TRUE(host_.up());
}

TEST_F(HostileChannel, AProbeThatIsNotAnsweredIsGivenUp) {
  on_hello_ = [this](const std::string& nonce) {
    out_ += EncodeControl(FrameKind::kAck, nonce);
    EncodePayload(kSettings.data(), kSettings.size(), &out_);
  };
  Run([this] { return host_.up(); });
  ASSERT_TRUE(host_.up());
  int told = -1;
  host_.Probe(80, [&](int error) { told = error; });
  Run([&] { return told >= 0; });
  EXPECT_EQ(told, ETIMEDOUT);
}

}  // namespace
}  // namespace rum
