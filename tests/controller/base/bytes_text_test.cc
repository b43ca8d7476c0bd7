#include "controller/base/bytes_text.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

TEST(BytesText, IsBinaryAndHasAtMostFourDigits) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(1024), "1.0 KiB");
  EXPECT_EQ(BytesText(99.94 * 1024), "99.9 KiB");
  EXPECT_EQ(BytesText(100 * 1024), "100 KiB");
  EXPECT_EQ(BytesText(1024.0 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(BytesText(5e18), "4441 PiB");
}

}  // namespace
}  // namespace rum
