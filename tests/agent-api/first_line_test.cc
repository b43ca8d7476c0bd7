#include "agent-api/first_line.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

TEST(FirstLine, IsWhatComesBeforeTheFirstEndOrAll) {
  EXPECT_EQ(FirstLine("a\nb\n"), "a");
  EXPECT_EQ(FirstLine("a"), "a");
  EXPECT_EQ(FirstLine("\nb"), "");
  EXPECT_EQ(FirstLine(""), "");
}

}  // namespace
}  // namespace rum
