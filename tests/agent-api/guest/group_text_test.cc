#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "agent-api/guest/groups.h"

namespace rum::guest {
namespace {

std::string Edited(const std::string& text, const std::vector<std::string>& add,
                   const std::vector<std::string>& remove) {
  const auto edited = EditGroups(text, true, "dev", add, remove);
  return edited.ok() ? *edited : edited.status().ToString();
}

TEST(EditGroups, AddsAtTheEndOfTheMembersAndOnlyOnce) {
  EXPECT_EQ(Edited("video:x:44:\nadm:x:4:a,b\n", {"video", "adm"}, {}),
            "video:x:44:dev\nadm:x:4:a,b,dev\n");
  EXPECT_EQ(Edited("adm:x:4:dev,b\n", {"adm"}, {}), "adm:x:4:dev,b\n");
}

TEST(EditGroups, RemovesTheWholeNameAndNothingLikeIt) {
  EXPECT_EQ(Edited("a:x:4:devel,dev,xdev\n", {}, {"a"}), "a:x:4:devel,xdev\n");
  EXPECT_EQ(Edited("a:x:4:dev\n", {}, {"a"}), "a:x:4:\n");
  EXPECT_EQ(Edited("ab:x:4:dev\n", {}, {"a", "b"}), "ab:x:4:dev\n");
}

TEST(EditGroups, WhatIsNotAGroupStaysAsItIs) {
  const std::string odd =
      "# a comment\n\n+:::\nbroken\nvideo:x\nfive:x:1:2:dev\nspaced : x:5: dev \n";
  EXPECT_EQ(Edited(odd, {}, {"video", "five", "broken"}), odd);
  EXPECT_EQ(Edited(odd + "v:x:44:\n", {"v"}, {}), odd + "v:x:44:dev\n");
}

TEST(EditGroups, ALastLineWithoutItsEndIsEndedOnlyForAnother) {
  EXPECT_EQ(Edited("a:x:4:x", {"a"}, {}), "a:x:4:x,dev");
  EXPECT_EQ(Edited("a:x:4:x", {"new"}, {}), "a:x:4:x\nnew:x:999:dev\n");
}

TEST(EditGroups, AnEmptyFileGetsTheGroup) { EXPECT_EQ(Edited("", {"a"}, {}), "a:x:999:dev\n"); }

TEST(EditGroups, NewGroupsTakeTheHighestFreeIds) {
  EXPECT_EQ(Edited("a:x:999:\nb:x:997:\n", {"n", "m"}, {}),
            "a:x:999:\nb:x:997:\nn:x:998:dev\nm:x:996:dev\n");
}

TEST(EditGroups, WithoutAFreeIdItSaysSo) {
  std::string full;
  for (int id = 100; id < 1000; ++id) {
    full += "g" + std::to_string(id) + ":x:" + std::to_string(id) + ":\n";
  }
  EXPECT_EQ(EditGroups(full, true, "dev", {"new"}, {}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(EditGroups, GshadowKeepsPasswordsAndAdministrators) {
  EXPECT_EQ(*EditGroups("a:!$6$x:boss,dev:x\n", false, "dev", {"a", "new"}, {}),
            "a:!$6$x:boss,dev:x,dev\nnew:!::dev\n");
}

std::vector<std::string> Lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(EditGroupsProperty, OnlyLinesOfNamedGroupsChangeAndTwiceIsOnce) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<std::string> names = {"a", "b", "c", "d"};
    std::string text;
    const int count = *rc::gen::inRange(0, 10);
    for (int i = 0; i < count; ++i) {
      text += *rc::gen::element<std::string>("a:x:1:", "b:x:2:dev", "c:x:3:dev,z", "d:x:4:y", "",
                                             ":", "x", "e:x:5:dev", "a:x:1:z,dev,q", "::::", ",");
      text += "\n";
    }
    std::vector<std::string> add;
    std::vector<std::string> remove;
    for (const std::string& name : names) {
      const int what = *rc::gen::inRange(0, 3);
      if (what == 1) add.push_back(name);
      if (what == 2) remove.push_back(name);
    }
    const std::string once = Edited(text, add, remove);
    RC_ASSERT(Edited(once, add, remove) == once);
    const auto before = Lines(text);
    const auto after = Lines(once);
    RC_ASSERT(after.size() >= before.size());
    for (size_t i = 0; i < before.size(); ++i) {
      const std::string name = before[i].substr(0, before[i].find(':'));
      const bool named = std::count(add.begin(), add.end(), name) != 0 ||
                         std::count(remove.begin(), remove.end(), name) != 0;
      if (!named) RC_ASSERT(after[i] == before[i]);
    }
  }));
}

}  // namespace
}  // namespace rum::guest
