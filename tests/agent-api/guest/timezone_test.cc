// The time zone of a real /etc, which is this test's alone, as are the zones that there are.
#include "agent-api/guest/timezone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "agent-api/guest/changes.h"
#include "agent-api/guest/text_file.h"
#include "tests/agent-api/guest/private_etc.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kZones[] = "/usr/share/zoneinfo";

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class TimezoneTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    EnterPrivateEtc();
    ASSERT_EQ(mount("tmpfs", kZones, "tmpfs", 0, "mode=755"), 0);
  }
  void SetUp() override {
    for (const auto& entry : fs::directory_iterator(kZones)) fs::remove_all(entry);
    fs::create_directories("/usr/share/zoneinfo/Europe");
    Write("/usr/share/zoneinfo/UTC", "TZif2 utc");
    Write("/usr/share/zoneinfo/Europe/Berlin", "TZif2 berlin");
    Write("/usr/share/zoneinfo/tzdata.zi", "# text");
    fs::create_symlink("/etc/localtime", "/usr/share/zoneinfo/localtime");
    for (const char* path : {"/etc/localtime", "/etc/timezone"}) fs::remove(path);
    fs::create_symlink("/usr/share/zoneinfo/UTC", "/etc/localtime");
  }
};

TEST_F(TimezoneTest, IsALinkThatIsExchanged) {
  EXPECT_EQ(Timezone(), "UTC");
  ASSERT_TRUE(SetTimezone("Europe/Berlin").ok());
  EXPECT_EQ(fs::read_symlink("/etc/localtime"), "/usr/share/zoneinfo/Europe/Berlin");
  EXPECT_EQ(Timezone(), "Europe/Berlin");
  EXPECT_FALSE(fs::exists("/etc/timezone")) << "nobody had it";
  EXPECT_FALSE(fs::exists(fs::symlink_status("/etc/.localtime.rum")));
}

TEST_F(TimezoneTest, WhatAKilledAgentLeftIsInNobodysWay) {
  fs::create_symlink("/nowhere", "/etc/.localtime.rum");
  EXPECT_TRUE(SetTimezone("Europe/Berlin").ok());
  EXPECT_EQ(Timezone(), "Europe/Berlin");
}

TEST_F(TimezoneTest, IsToldAsAnyToolMadeIt) {
  fs::remove("/etc/localtime");
  fs::create_symlink("../usr/share/zoneinfo/Europe/Berlin", "/etc/localtime");  // timedatectl
  EXPECT_EQ(Timezone(), "Europe/Berlin");
  fs::remove("/etc/localtime");
  EXPECT_EQ(Timezone(), "UTC") << "as libraries take it";
  Write("/etc/localtime", "TZif2 berlin");  // a copy
  EXPECT_EQ(Timezone(), "");
  Write("/etc/timezone", "Europe/Berlin\n");
  EXPECT_EQ(Timezone(), "Europe/Berlin");
}

TEST_F(TimezoneTest, DebiansFileFollowsAndOneThatDiffersIsTold) {
  Write("/etc/timezone", "Etc/UTC\n");
  EXPECT_EQ(Timezone(), "UTC, Etc/UTC in /etc/timezone");
  ASSERT_TRUE(SetTimezone("UTC").ok());
  EXPECT_EQ(ReadFile("/etc/timezone"), "UTC\n");
  EXPECT_EQ(Timezone(), "UTC");
}

TEST_F(TimezoneTest, WhatIsNoZoneOfTheGuestIsRefusedAndNothingChanges) {
  for (const char* name : {"Europe/Paris", "Europe", "tzdata.zi", "localtime", "", "/UTC", "UTC/",
                           "../share/zoneinfo/UTC", "Europe//Berlin", "U\nTC"}) {
    EXPECT_FALSE(SetTimezone(name).ok()) << name;
    EXPECT_EQ(Timezone(), "UTC") << name;
  }
  EXPECT_THAT(std::string(SetTimezone("Europe/Paris").message()),
              HasSubstr("no time zone Europe/Paris"));
}

TEST_F(TimezoneTest, AGuestWithoutZonesSaysWhereTheyComeFrom) {
  for (const auto& entry : fs::directory_iterator(kZones)) fs::remove_all(entry);
  const absl::Status status = SetTimezone("Europe/Berlin");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("package tzdata"));
  EXPECT_EQ(fs::read_symlink("/etc/localtime"), "/usr/share/zoneinfo/UTC");
}

TEST_F(TimezoneTest, AChangeIsNews) {
  const Setting setting = TimezoneSetting();
  Changes changes(
      [&](const agent::ObserveRequest&) {
        agent::Observation seen;
        setting.look(seen.mutable_settings());
        return seen;
      },
      setting.files);
  agent::Observation told;
  setting.look(told.mutable_settings());
  changes.Told({}, told);
  uint64_t seen = changes.count();
  agent::Settings wanted;
  wanted.set_timezone("Europe/Berlin");
  ASSERT_TRUE(setting.set(wanted).ok());
  agent::Changed change;
  ASSERT_TRUE(changes.Next(std::chrono::seconds(60), &seen, &change));
  EXPECT_THAT(change.what(), ElementsAre("settings"));
}

TEST_F(TimezoneTest, OfWhichNothingIsSaidStaysAsItIs) {
  EXPECT_TRUE(TimezoneSetting().set(agent::Settings()).ok());
  EXPECT_EQ(Timezone(), "UTC");
}

}  // namespace
}  // namespace rum::guest
