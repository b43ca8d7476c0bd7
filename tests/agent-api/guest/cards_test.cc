#include "agent-api/guest/cards.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace rum::guest {
namespace {

// What `cards` has now, as one text.
std::string Shown(Cards* cards) {
  std::vector<std::string> texts;
  for (const agent::Card& card : cards->Now()) {
    texts.push_back(
        absl::StrCat(card.name(), " ", card.mac(), " ", absl::StrJoin(card.addresses(), ",")));
  }
  return absl::StrJoin(texts, "; ");
}

void Ip(const std::string& words) {
  ASSERT_EQ(std::system(absl::StrCat("ip ", words).c_str()), 0) << words;
}

TEST(Cards, EachChangeOfCardsAndAddressesIsSeenByTheNextCall) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "this test needs root and namespaces";
  Cards cards;
  Cards from_the_start;
  EXPECT_EQ(Shown(&cards), "");
  Ip("link add card0 type bridge");
  Ip("link set card0 address 52:54:00:00:00:01");
  EXPECT_EQ(Shown(&cards), "card0 52:54:00:00:00:01 ");
  Ip("address add 192.0.2.7/24 dev card0");
  EXPECT_EQ(Shown(&cards), "card0 52:54:00:00:00:01 192.0.2.7");
  EXPECT_EQ(Shown(&cards), "card0 52:54:00:00:00:01 192.0.2.7");
  Ip("address add 2001:db8::7/64 dev card0 nodad");
  Ip("link set card0 address 52:54:00:00:00:02");
  EXPECT_EQ(Shown(&cards), "card0 52:54:00:00:00:02 192.0.2.7,2001:db8::7");
  Ip("address del 192.0.2.7/24 dev card0");
  EXPECT_EQ(Shown(&cards), "card0 52:54:00:00:00:02 2001:db8::7");
  Ip("link set card0 name card1");
  EXPECT_EQ(Shown(&cards), "card1 52:54:00:00:00:02 2001:db8::7");
  Ip("link del card1");
  EXPECT_EQ(Shown(&cards), "");
  EXPECT_EQ(Shown(&from_the_start), "");
}

TEST(Cards, MoreChangesThanTheKernelKeepsAreSeenToo) {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "this test needs root and namespaces";
  Cards cards;
  EXPECT_EQ(Shown(&cards), "");
  Ip("link add card0 type bridge");
  Ip("link set card0 address 52:54:00:00:00:01");
  const std::string flood =
      "for i in $(seq 250); do for j in 1 2 3 4; do echo address add 10.$j.$i.1/24 dev card0; "
      "echo address del 10.$j.$i.1/24 dev card0; done; done | ip -batch -";
  ASSERT_EQ(std::system(flood.c_str()), 0);
  Ip("address add 192.0.2.7/24 dev card0");
  EXPECT_EQ(Shown(&cards), "card0 52:54:00:00:00:01 192.0.2.7");
}

}  // namespace
}  // namespace rum::guest
