#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

#include "agent-api/guest/authorized_keys.h"

namespace rum::guest {
namespace {

TEST(KeyOfLine, IsTypeAndDataWhateverIsAround) {
  const std::string key = "ssh-ed25519 AAAAC3Nz";
  for (const char* line : {
           "ssh-ed25519 AAAAC3Nz",
           "ssh-ed25519 AAAAC3Nz me@here and more",
           "  ssh-ed25519\tAAAAC3Nz\r",
           "no-pty ssh-ed25519 AAAAC3Nz me",
           R"(command="echo \"ssh-rsa AAAA\" x",no-pty ssh-ed25519 AAAAC3Nz me)",
       }) {
    EXPECT_EQ(KeyOfLine(line), key) << line;
  }
}

TEST(KeyOfLine, IsEmptyWhereThereIsNone) {
  for (const char* line : {"", " ", "# ssh-ed25519 AAAA me", "ssh-ed25519", "hello world ssh-rsa",
                           R"(command="unended ssh-rsa AAAA)"}) {
    EXPECT_EQ(KeyOfLine(line), "") << line;
  }
}

TEST(EditAuthorizedKeys, ChangesTheNamedKeysAndNoOtherLine) {
  const std::string text = "# mine\n\nssh-rsa A one\nfrom=\"10.0.0.1\" ssh-rsa B two\nssh-rsa C";
  EXPECT_EQ(EditAuthorizedKeys(text, {"ssh-rsa D four", "ssh-rsa A again"}, {"ssh-rsa B other"}),
            "# mine\n\nssh-rsa A one\nssh-rsa C\nssh-rsa D four\n");
  EXPECT_EQ(EditAuthorizedKeys("", {"ssh-rsa A"}, {}), "ssh-rsa A\n");
  EXPECT_EQ(EditAuthorizedKeys("ssh-rsa A\n", {"ssh-rsa A"}, {"ssh-rsa A"}), "ssh-rsa A\n");
}

TEST(EditAuthorizedKeys, AKeyThatMayDoSomethingElseNowIsReplacedInItsPlace) {
  const std::string text = "ssh-rsa A one\nrestrict ssh-rsa B two\nssh-rsa C\n";
  EXPECT_EQ(EditAuthorizedKeys(text, {"no-pty ssh-rsa A 1", "ssh-rsa B 2", "ssh-rsa C 3"}, {}),
            "no-pty ssh-rsa A 1\nssh-rsa B 2\nssh-rsa C\n");
}

TEST(EditAuthorizedKeys, WhatIsNotAKeyIsNeverRemoved) {
  const std::string odd = "# ssh-rsa A\nbroken\n\n";
  EXPECT_EQ(EditAuthorizedKeys(odd, {}, {"broken", "", "# ssh-rsa A"}), odd);
}

TEST(EditAuthorizedKeys, TwiceIsOnceAndAddThenRemoveIsAsBefore) {
  const bool held = rc::check([] {
    std::string text;
    for (int number : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 5))) {
      text += number == 0 ? "# comment\n" : "ssh-rsa K" + std::to_string(number) + " x\n";
    }
    const std::vector<std::string> add = {"ssh-rsa K9 mine"};
    const std::string once = EditAuthorizedKeys(text, add, {});
    RC_ASSERT(EditAuthorizedKeys(once, add, {}) == once);
    RC_ASSERT(EditAuthorizedKeys(once, {}, {"ssh-rsa K9"}) == text);
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace rum::guest
