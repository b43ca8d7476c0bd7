#include "controller/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

#include "controller/service/control.pb.h"

namespace rum {
namespace {

TEST(Utf8, KnowsWhatIsACharacter) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("aé漢😀\x7F\n"));
  for (const char* bad :
       {"\x80", "\xC3", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xE2\x86", "\xF0\x80\x80\xAF",
        "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "a\xFF"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
  EXPECT_EQ(CharacterAt("x😀", 1).code, 0x1F600u);
  EXPECT_EQ(CharacterAt("x😀", 1).size, 4u);
}

TEST(Utf8, KnowsACharacterThatIsNotWholeYet) {
  const std::string whole = "é漢😀";
  EXPECT_EQ(BytesOfBegunCharacter(""), 0u);
  EXPECT_EQ(BytesOfBegunCharacter("a"), 0u);
  for (size_t size = 0; size <= whole.size(); ++size) {
    const size_t begun = BytesOfBegunCharacter(whole.substr(0, size));
    EXPECT_TRUE(IsUtf8(whole.substr(0, size - begun))) << size;
    EXPECT_LE(begun, 3u);
  }
  EXPECT_EQ(BytesOfBegunCharacter("\xC0"), 0u) << "which begins none";
  EXPECT_EQ(BytesOfBegunCharacter("\x80\x80\x80\x80"), 0u);
}

TEST(Utf8, MakesEveryStringOfAMessageReadable) {
  control::Outcome outcome;
  outcome.set_error("a\xFFz");
  outcome.add_removed("fine");
  outcome.add_removed("\xC3");
  Action* action = outcome.mutable_plan()->add_actions();
  action->mutable_set_groups()->add_add("\xE2\x86gone");
  MakeUtf8(&outcome);
  EXPECT_EQ(outcome.error(), "a\\xffz");
  EXPECT_EQ(outcome.removed(0), "fine");
  EXPECT_EQ(outcome.removed(1), "\\xc3");
  EXPECT_EQ(action->set_groups().add(0), "\\xe2\\x86gone");
  ActionResult result;
  result.set_output_tail("\xFF");  // bytes may be anything
  MakeUtf8(&result);
  EXPECT_EQ(result.output_tail(), "\xFF");
}

}  // namespace
}  // namespace rum
