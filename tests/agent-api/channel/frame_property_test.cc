#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "agent-api/channel/frame.h"

namespace rum {
namespace {

const std::string kWholeMark(kMark, kMarkSize);

// What a decoder made of a stream: payload between control frames.
struct Heard {
  std::vector<std::pair<FrameKind, std::string>> controls;
  std::vector<std::string> payloads = {""};  // one more than controls
};

class Listener {
 public:
  Listener()
      : decoder_(
            [this](const char* data, size_t size) { heard.payloads.back().append(data, size); },
            [this](FrameKind kind, const std::string& nonce) {
              heard.controls.emplace_back(kind, nonce);
              heard.payloads.emplace_back();
            }) {}
  void Feed(const std::string& bytes) { decoder_.Feed(bytes.data(), bytes.size()); }
  // Cut at random places, and sometimes into single bytes.
  void FeedInPieces(const std::string& bytes) {
    const int most = *rc::gen::element(1, 3, 9, 1000);
    for (size_t at = 0; at < bytes.size();) {
      const auto size = static_cast<size_t>(*rc::gen::inRange(1, most + 1));
      Feed(bytes.substr(at, size));
      at += size;
    }
  }
  Heard heard;

 private:
  FrameDecoder decoder_;
};

// Bytes in which marks, pieces of marks and whole frames are common.
std::string DrawBytes() {
  std::string bytes;
  const int pieces = *rc::gen::inRange(0, 12);
  for (int i = 0; i < pieces; ++i) {
    switch (*rc::gen::inRange(0, 6)) {
      case 0:
        bytes += *rc::gen::arbitrary<std::string>();
        break;
      case 1:
        bytes += kWholeMark;
        break;
      case 2:
        bytes += kWholeMark.substr(0, static_cast<size_t>(*rc::gen::inRange(1, 8)));
        break;
      case 3:
        bytes += kWholeMark.substr(static_cast<size_t>(*rc::gen::inRange(1, 8)));
        break;
      case 4:
        bytes += EncodeControl(static_cast<FrameKind>(*rc::gen::inRange(0, 6)), NewNonce());
        break;
      default:
        bytes += *rc::gen::element<std::string>("\xF5", std::string(1, '\0'), "\n", "0a");
    }
  }
  return bytes;
}

std::string EncodeInPieces(const std::string& payload) {
  std::string stream;
  const int most = *rc::gen::element(1, 3, 9, 1000);
  for (size_t at = 0; at < payload.size();) {
    const size_t size =
        std::min(payload.size() - at, static_cast<size_t>(*rc::gen::inRange(1, most + 1)));
    EncodePayload(payload.data() + at, size, &stream);
    at += size;
  }
  return stream;
}

FrameKind DrawKind() {
  return *rc::gen::element(FrameKind::kHello, FrameKind::kAck, FrameKind::kReset, FrameKind::kBye);
}

TEST(FrameProperty, AnyPayloadComesOutAsItWentInHoweverItIsCut) {
  EXPECT_TRUE(rc::check([] {
    const std::string payload = DrawBytes();
    Listener listener;
    listener.FeedInPieces(EncodeInPieces(payload));
    RC_ASSERT(listener.heard.controls.empty());
    RC_ASSERT(listener.heard.payloads[0] == payload);
  }));
}

TEST(FrameProperty, ControlFramesStandWhereTheyWereBetweenThePayload) {
  EXPECT_TRUE(rc::check([] {
    Heard said;
    std::string stream;
    const int frames = *rc::gen::inRange(0, 5);
    for (int i = 0; i <= frames; ++i) {
      said.payloads.back() = DrawBytes();
      stream += EncodeInPieces(said.payloads.back());
      if (i == frames) break;
      said.controls.emplace_back(DrawKind(), NewNonce());
      said.payloads.emplace_back();
      stream += EncodeControl(said.controls.back().first, said.controls.back().second);
    }
    Listener listener;
    listener.FeedInPieces(stream);
    RC_ASSERT(listener.heard.controls == said.controls);
    RC_ASSERT(listener.heard.payloads == said.payloads);
  }));
}

// What an earlier client left in the channel, cut anywhere, must not hide the frame after it nor
// damage what follows.
TEST(FrameProperty, AFrameIsFoundAfterTheCutOffRestOfAnOlderStream) {
  EXPECT_TRUE(rc::check([] {
    std::string old = EncodeInPieces(DrawBytes()) + EncodeControl(DrawKind(), NewNonce()) +
                      EncodeInPieces(DrawBytes());
    old.resize(static_cast<size_t>(*rc::gen::inRange<size_t>(0, old.size() + 1)));
    const std::string nonce = NewNonce();
    const std::string payload = DrawBytes();
    Listener listener;
    listener.FeedInPieces(old + EncodeControl(FrameKind::kHello, nonce) + EncodeInPieces(payload));
    RC_ASSERT(!listener.heard.controls.empty());
    RC_ASSERT(listener.heard.controls.back() == std::make_pair(FrameKind::kHello, nonce));
    RC_ASSERT(listener.heard.payloads.back() == payload);
  }));
}

// Bytes that no encoder made. Only a mark right before the frame can take its first byte for its
// own kind; the decoder then begins again with that byte.
TEST(FrameProperty, AFrameIsFoundAfterAnyGarbage) {
  EXPECT_TRUE(rc::check([] {
    const std::string garbage = DrawBytes();
    const std::string nonce = NewNonce();
    Listener listener;
    listener.FeedInPieces(garbage + EncodeControl(FrameKind::kHello, nonce) + "after");
    RC_ASSERT(!listener.heard.controls.empty());
    RC_ASSERT(listener.heard.controls.back() == std::make_pair(FrameKind::kHello, nonce));
    RC_ASSERT(listener.heard.payloads.back() == "after");
  }));
}

TEST(Frame, TheMarkInThePayloadIsSentAsALiteral) {
  std::string stream;
  const std::string payload = "a" + kWholeMark + "b";
  EncodePayload(payload.data(), payload.size(), &stream);
  EXPECT_EQ(stream, "a" + kWholeMark + std::string(1, '\0') + "b");
}

TEST(Frame, AChunkThatEndsInsideAMarkIsFlushedByANop) {
  std::string stream;
  EncodePayload(kMark, 3, &stream);
  EXPECT_EQ(stream, kWholeMark.substr(0, 3) + kWholeMark + "\x05");
  Listener listener;
  listener.Feed(stream);
  EXPECT_EQ(listener.heard.payloads[0], kWholeMark.substr(0, 3));
}

TEST(Frame, APartOfAMarkIsHeldBackUntilItIsKnownWhatItIs) {
  Listener listener;
  listener.Feed("ab" + kWholeMark.substr(0, 5));
  EXPECT_EQ(listener.heard.payloads[0], "ab");
  listener.Feed("cd");
  EXPECT_EQ(listener.heard.payloads[0], "ab" + kWholeMark.substr(0, 5) + "cd");
}

TEST(Frame, AFrameWithoutAWholeNonceIsNone) {
  const std::string nonce = NewNonce();
  const std::string hello = EncodeControl(FrameKind::kHello, nonce);
  for (const std::string& damaged :
       {hello.substr(0, hello.size() - 2) + "\n", hello.substr(0, hello.size() - 1) + "0\n",
        hello.substr(0, 20) + "G" + hello.substr(21), kWholeMark + "\x06" + nonce + "\n"}) {
    Listener listener;
    listener.Feed(damaged);
    EXPECT_TRUE(listener.heard.controls.empty());
    listener.Feed(hello);
    EXPECT_EQ(listener.heard.controls.size(), 1u);
  }
}

TEST(Frame, NoncesAreHexAndNew) {
  const std::string nonce = NewNonce();
  EXPECT_EQ(nonce.size(), kNonceSize);
  EXPECT_EQ(nonce.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(nonce, NewNonce());
}

}  // namespace
}  // namespace rum
