#include "controller/guests/frames.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "controller/guests/call_stream.h"
#include "controller/guests/guests.pb.h"

namespace rum {
namespace {

using Outcome = FrameReader::Outcome;

class FramesTest : public testing::Test {
 protected:
  FramesTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    writing_ = Fd(ends[0]);
    reading_ = Fd(ends[1]);
  }

  static guests::ToProcess Abort(uint64_t number, const std::string& why) {
    guests::ToProcess message;
    message.mutable_abort()->set_number(number);
    message.mutable_abort()->set_why(why);
    return message;
  }
  // All that is there, by the reader.
  Outcome ReadAll(FrameReader* reader) {
    Outcome outcome = Outcome::kMore;
    while (outcome == Outcome::kMore) {
      outcome = reader->Read(reading_.get(), [this](const std::string& bytes, Fd fd) {
        guests::ToProcess message;
        EXPECT_TRUE(message.ParseFromString(bytes));
        came_.push_back(message);
        fds_.push_back(std::move(fd));
        return true;
      });
    }
    return outcome;
  }

  Fd writing_, reading_;
  std::vector<guests::ToProcess> came_;
  std::vector<Fd> fds_;
};

TEST_F(FramesTest, ComeWholeAndInOrderEachWithItsOwnDescriptor) {
  FrameWriter writer;
  FrameReader reader(kMostFrameBytes, true);
  std::vector<Fd> kept;
  constexpr uint64_t kCount = 40;
  for (uint64_t i = 1; i <= kCount; ++i) {
    int pipe_ends[2];
    ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
    kept.emplace_back(pipe_ends[0]);
    const std::string why(i % 7 == 0 ? 300'000 : i, 'x');
    if (i % 3 != 0) close(pipe_ends[1]);
    writer.Add(Abort(i, why), Fd(i % 3 == 0 ? pipe_ends[1] : -1));
  }
  while (writer.Flush(writing_.get()) == FrameWriter::Outcome::kFull) {
    ASSERT_EQ(ReadAll(&reader), Outcome::kNothingNow);
  }
  EXPECT_EQ(ReadAll(&reader), Outcome::kNothingNow);
  EXPECT_EQ(writer.bytes(), 0u);
  EXPECT_EQ(writer.descriptors(), 0u);
  ASSERT_EQ(came_.size(), kCount);
  for (uint64_t i = 1; i <= kCount; ++i) {
    EXPECT_EQ(came_[i - 1].abort().number(), i);
    EXPECT_EQ(came_[i - 1].abort().why().size(), i % 7 == 0 ? 300'000 : i);
    ASSERT_EQ(fds_[i - 1].ok(), i % 3 == 0) << i;
    if (!fds_[i - 1].ok()) continue;
    EXPECT_EQ(write(fds_[i - 1].get(), "!", 1), 1);
    char byte = 0;
    EXPECT_EQ(read(kept[i - 1].get(), &byte, 1), 1) << "the wrong one came with " << i;
  }
}

TEST_F(FramesTest, OneThatIsTooLargeIsNone) {
  FrameWriter writer;
  FrameReader reader(1000, false);
  writer.Add(Abort(1, std::string(1000, 'x')));
  writer.Flush(writing_.get());
  EXPECT_EQ(ReadAll(&reader), Outcome::kNoFrame);
  EXPECT_TRUE(came_.empty());
}

TEST_F(FramesTest, WhoTakesNoDescriptorsGetsNone) {
  FrameWriter writer;
  FrameReader reader(1000, false);
  const auto lowest = [] { return Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)).get(); };
  const int before = lowest();
  writer.Add(Abort(1, "x"), Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)));
  writer.Flush(writing_.get());
  EXPECT_EQ(ReadAll(&reader), Outcome::kNoFrame);
  EXPECT_EQ(lowest(), before);
}

TEST_F(FramesTest, TheEndIsTold) {
  FrameReader reader(1000, false);
  writing_ = Fd();
  EXPECT_EQ(ReadAll(&reader), Outcome::kEnd);
}

TEST(CallStreamTest, NoMoreIsUnderWayThanAWindowAndALastMessage) {
  CallStream sender;
  CallStream taker;
  const std::string message(100'000, 'x');
  size_t sent = 0;
  std::thread sending([&] {
    while (sender.MaySend(message.size())) {
      EXPECT_TRUE(taker.Came(message));
      ++sent;
    }
  });
  std::string taken;
  uint64_t told = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(taker.Take(&taken, &told));
    EXPECT_EQ(taken, message);
    if (told > 0) sender.Grow(told);
  }
  sender.Break();
  sending.join();
  EXPECT_LE(sent, 100 + CallStream::kWindow / message.size() + 1);
}

TEST(CallStreamTest, WhoSendsMoreThanThatIsFoundOut) {
  CallStream taker;
  size_t took = 0;
  while (took < 100 && taker.Came(std::string(100'000, 'x'))) ++took;
  EXPECT_EQ(took, CallStream::kWindow / 100'064 + 1);
  // And one that sends nothing but messages.
  CallStream empty;
  for (took = 0; took < 100'000 && empty.Came("");) ++took;
  EXPECT_EQ(took, CallStream::kWindow / CallStream::kEach);
}

TEST(CallStreamTest, WhatCameBeforeTheEndIsTaken) {
  CallStream taker;
  taker.Came("one");
  taker.ComesToEnd();
  taker.Came("two");
  std::string taken;
  uint64_t told = 0;
  EXPECT_TRUE(taker.Take(&taken, &told));
  EXPECT_EQ(taken, "one");
  EXPECT_FALSE(taker.Take(&taken, &told));
}

}  // namespace
}  // namespace rum
