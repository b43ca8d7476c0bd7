#include "cli/copy_progress.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

agent::CopyMessage File(const std::string& name, uint64_t size) {
  agent::CopyMessage message;
  message.mutable_item()->set_name(name);
  message.mutable_item()->set_size(size);
  return message;
}

agent::CopyMessage Data(size_t size) {
  agent::CopyMessage message;
  message.set_data(std::string(size, 'x'));
  return message;
}

TEST(CopyProgress, TellsBytesAndThePresentFileAtMostFiveTimesASecond) {
  CopyProgress progress(true);
  absl::Time now = absl::UnixEpoch();
  EXPECT_EQ(progress.Next(File("a", 4096), now), "\r\033[K  1 file, 0 B  a  0%");
  EXPECT_EQ(progress.Next(Data(1024), now + absl::Milliseconds(100)), "");
  now += absl::Milliseconds(200);
  EXPECT_EQ(progress.Next(Data(1024), now), "\r\033[K  1 file, 2.0 KiB  a  50%");
  now += absl::Milliseconds(200);
  EXPECT_EQ(progress.Next(File("b", 0), now), "\r\033[K  2 files, 2.0 KiB  b");
  EXPECT_EQ(progress.Summary(), "2 files, 2.0 KiB");
}

TEST(CopyProgress, OfAResumedCopyTellsWhatIsThereAlready) {
  CopyProgress progress(true);
  absl::Time now = absl::UnixEpoch();
  agent::CopyMessage kept = File("a", 4000);
  kept.mutable_item()->set_kept(true);
  progress.Next(kept, now);
  agent::CopyMessage part = File("b", 4000);
  part.mutable_item()->set_offset(3000);
  progress.Next(part, now);
  now += absl::Milliseconds(200);
  EXPECT_EQ(progress.Next(Data(500), now), "\r\033[K  1 file, 500 B, 1 there already  b  87%");
}

TEST(CopyProgress, ANameOfTheGuestCannotMoveTheCursor) {
  CopyProgress progress(true);
  EXPECT_EQ(progress.Next(File("\033[2Jx\n", 0), absl::UnixEpoch()).find("\033[2J"),
            std::string::npos);
}

TEST(CopyProgress, IsTakenAwayOnlyWhenItIsThere) {
  CopyProgress progress(true);
  EXPECT_EQ(progress.Clear(), "");
  progress.Next(File("a", 0), absl::UnixEpoch());
  EXPECT_EQ(progress.Clear(), "\r\033[K");
  EXPECT_EQ(progress.Clear(), "");
}

}  // namespace
}  // namespace rum
