#include <gtest/gtest.h>

#include "agent-api/guest/hostname.h"

namespace rum::guest {
namespace {

TEST(WithOwnName, ReplacesTheLineWhereItStands) {
  EXPECT_EQ(
      WithOwnName("127.0.0.1 localhost\n127.0.1.1 old.lan old # mine\n::1 localhost\n", "new"),
      "127.0.0.1 localhost\n127.0.1.1\tnew\n::1 localhost\n");
  EXPECT_EQ(WithOwnName("127.0.1.1 old\n127.0.0.1 localhost\n", "new"),
            "127.0.1.1\tnew\n127.0.0.1 localhost\n");
  EXPECT_EQ(WithOwnName("  \t127.0.1.1\told\n", "new"), "127.0.1.1\tnew\n");
}

TEST(WithOwnName, AFullNameBringsItsFirstLabel) {
  EXPECT_EQ(WithOwnName("127.0.1.1 old\n", "new.example.org"), "127.0.1.1\tnew.example.org\tnew\n");
}

TEST(WithOwnName, AMissingLineComesAfterTheLoopback) {
  EXPECT_EQ(WithOwnName("# x\n127.0.0.1 localhost\n::1 localhost\n", "new"),
            "# x\n127.0.0.1 localhost\n127.0.1.1\tnew\n::1 localhost\n");
  EXPECT_EQ(WithOwnName("::1 localhost\n", "new"), "::1 localhost\n127.0.1.1\tnew\n");
  EXPECT_EQ(WithOwnName("", "new"), "127.0.1.1\tnew\n");
}

TEST(WithOwnName, SeveralLinesBecomeOne) {
  EXPECT_EQ(WithOwnName("127.0.1.1 a\n10.0.0.1 x\n127.0.1.1 b\n", "new"),
            "127.0.1.1\tnew\n10.0.0.1 x\n");
}

TEST(WithOwnName, LinesThatOnlyLookLikeItStay) {
  for (const char* line : {"#127.0.1.1 old\n", "127.0.1.10 old\n", "10.0.0.1 127.0.1.1\n", "\n",
                           " # 127.0.1.1\n", "x\r\n"}) {
    EXPECT_EQ(WithOwnName(line, "new"), std::string(line) + "127.0.1.1\tnew\n");
  }
}

TEST(WithOwnName, TwiceIsOnce) {
  for (const char* hosts : {"", "127.0.0.1 localhost", "127.0.0.1 a\n127.0.0.1 b\n",
                            "127.0.1.1 a\n127.0.0.1 b", "::1 x\n\n\n"}) {
    const std::string once = WithOwnName(hosts, "new.lan");
    EXPECT_EQ(WithOwnName(once, "new.lan"), once) << hosts;
  }
}

}  // namespace
}  // namespace rum::guest
