#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <vector>

#include "agent-api/guest/hosts_file.h"

namespace rum::guest {
namespace {

std::string Renamed(const std::string& hosts, const std::string& hostname,
                    const std::vector<std::string>& before = {"dev"}) {
  return WithOwnName(hosts, hostname, before);
}

TEST(WithOwnName, OnlyTheOldOwnNamesAreReplaced) {
  EXPECT_EQ(Renamed("127.0.1.1 dev dev.lan shop.test # mine\n", "devbox"),
            "127.0.1.1 devbox devbox.lan shop.test # mine\n");
  EXPECT_EQ(Renamed("127.0.1.1\tshop.test  dev\tdevelop xdev # dev\n", "devbox"),
            "127.0.1.1\tshop.test  devbox\tdevelop xdev # dev\n");
  EXPECT_EQ(Renamed("  \t127.0.1.1\tDEV\n", "new"), "  \t127.0.1.1\tnew\n");
  EXPECT_EQ(Renamed("127.0.1.1 shop.test api.test#dev\n127.0.0.1 localhost\n", "new"),
            "127.0.1.1 shop.test api.test#dev\n127.0.0.1 localhost\n127.0.1.1\tnew\n");
}

// As Debian's installer writes it.
TEST(WithOwnName, TheFullNameKeepsItsDomain) {
  EXPECT_EQ(Renamed("127.0.1.1\tdev.lan\tdev\n", "devbox"), "127.0.1.1\tdevbox.lan\tdevbox\n");
  EXPECT_EQ(Renamed("127.0.1.1 dev shop.test dev.shop.test\n", "devbox"),
            "127.0.1.1 devbox shop.test dev.shop.test\n")
      << "a name of the user's";
}

TEST(WithOwnName, AFullNameBringsItsFirstLabel) {
  EXPECT_EQ(Renamed("127.0.1.1 dev\n", "new.example.org"), "127.0.1.1 new.example.org new\n");
  EXPECT_EQ(Renamed("127.0.1.1 dev.lan dev shop.test\n", "new.example.org"),
            "127.0.1.1 new.example.org new shop.test\n");
  EXPECT_EQ(Renamed("127.0.1.1 dev\n", "dev.lan"), "127.0.1.1 dev.lan dev\n");
}

TEST(WithOwnName, AFullNameThatBecomesShortLosesItsDomain) {
  EXPECT_EQ(Renamed("127.0.1.1 dev.lan dev shop.test\n", "devbox", {"dev.lan", "dev"}),
            "127.0.1.1 devbox shop.test\n");
  EXPECT_EQ(Renamed("127.0.1.1 dev.lan dev\n", "dev", {"dev.lan"}), "127.0.1.1 dev\n");
}

TEST(WithOwnName, AMissingLineComesAfterTheLoopback) {
  EXPECT_EQ(Renamed("# x\n127.0.0.1 localhost\n::1 localhost\n", "new"),
            "# x\n127.0.0.1 localhost\n127.0.1.1\tnew\n::1 localhost\n");
  EXPECT_EQ(Renamed("::1 localhost", "new"), "::1 localhost\n127.0.1.1\tnew\n");
  EXPECT_EQ(Renamed("127.0.0.1 localhost\r\n# dos\r\n", "new.lan"),
            "127.0.0.1 localhost\r\n127.0.1.1\tnew.lan\tnew\r\n# dos\r\n");
  EXPECT_EQ(Renamed("", "new"), "127.0.1.1\tnew\n");
}

TEST(WithOwnName, AnAddressThatTheUserGaveIsNotOverridden) {
  EXPECT_EQ(Renamed("10.0.0.5 devbox\n", "devbox"), "10.0.0.5 devbox\n");
  EXPECT_EQ(Renamed("127.0.0.1 localhost DevBox\n", "devbox"), "127.0.0.1 localhost DevBox\n");
  EXPECT_EQ(
      Renamed("127.0.1.1 dev\n127.0.1.1 dev shop.test # mine\nfe80::1%eth0 devbox\n", "devbox"),
      "127.0.1.1 shop.test # mine\nfe80::1%eth0 devbox\n");
  EXPECT_EQ(Renamed("127.0.1.1 dev # mine\n10.0.0.5 devbox\n", "devbox"),
            "# mine\n10.0.0.5 devbox\n");
  EXPECT_EQ(Renamed("# 10.0.0.5 devbox\n10.0.0 devbox\n", "devbox"),
            "# 10.0.0.5 devbox\n10.0.0 devbox\n127.0.1.1\tdevbox\n")
      << "neither is an address's";
}

TEST(WithOwnName, OfSeveralLinesTheUsersStay) {
  EXPECT_EQ(
      Renamed("127.0.1.1 dev\n10.0.0.1 x\n127.0.1.1 shop.test\n127.0.1.1 dev api.test\n", "new"),
      "127.0.1.1 new\n10.0.0.1 x\n127.0.1.1 shop.test\n127.0.1.1 api.test\n");
  EXPECT_EQ(Renamed("10.0.0.7 dev.lan dev\n::1 dev\n127.0.0.1 localhost dev\n", "new"),
            "10.0.0.7 dev.lan dev\n::1 dev\n127.0.0.1 localhost dev\n127.0.1.1\tnew\n")
      << "addresses that rum gave to nobody";
}

TEST(WithOwnName, LinesThatOnlyLookLikeItStay) {
  for (const char* line : {"#127.0.1.1 dev\n", "127.0.1.10 dev\n", "10.0.0.1 127.0.1.1\n", "\n",
                           " # 127.0.1.1\n", "x\n", "\xff\xfe dev\n"}) {
    EXPECT_EQ(Renamed(line, "new"), std::string(line) + "127.0.1.1\tnew\n");
  }
}

TEST(WithOwnName, LocalhostIsNobodysOwnName) {
  EXPECT_EQ(Renamed("127.0.1.1 localhost x\n", "new", {"localhost"}),
            "127.0.1.1 localhost x\n127.0.1.1\tnew\n");
}

// Whatever the file: what is no word of ours is there afterwards, and a second time changes
// nothing.
TEST(WithOwnName, NothingOfTheUsersIsLostAndTwiceIsOnce) {
  const bool held = rc::check([] {
    const auto piece = rc::gen::elementOf(std::vector<std::string>{
        "127.0.1.1", "127.0.0.1", "10.0.0.5", "::1", "dev", "dev.lan", "shop.test", "new",
        "new.lan", " ", "\t", "\n", "\r\n", "#", "# mine", "\xe4\xf6", "localhost"});
    std::string hosts;
    for (const std::string& each : *rc::gen::container<std::vector<std::string>>(piece)) {
      hosts += each + *rc::gen::elementOf(std::vector<std::string>{"", " ", "\t", "\n"});
    }
    const std::string hostname = *rc::gen::elementOf(std::vector<std::string>{"new", "new.lan"});
    const std::string once = WithOwnName(hosts, hostname, {"dev"});
    RC_ASSERT(NamesHost(once, hostname));
    RC_ASSERT(WithOwnName(once, hostname, {"dev"}) == once);
    for (const std::string word : {"shop.test", "# mine", "\xe4\xf6", "10.0.0.5", "localhost"}) {
      const auto count = [&](const std::string& text) {
        int n = 0;
        for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; ++at) ++n;
        return n;
      };
      RC_ASSERT(count(once) == count(hosts));
    }
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace rum::guest
