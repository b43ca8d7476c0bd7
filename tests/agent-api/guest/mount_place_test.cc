#include "agent-api/guest/mount_place.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace rum::guest {
namespace {

TEST(HiddenBy, WhatTheGuestAndItsAgentNeedIsNeverHidden) {
  for (const char* target :
       {"/", "/etc", "/usr", "/usr/lib", "/var", "/var/lib", "/var/lib/rum", "/var/lib/rum/runs",
        "/proc", "/proc/1", "/sys", "/dev", "/dev/shm", "/run", "/bin"}) {
    EXPECT_NE(HiddenBy(target), "") << target;
  }
}

TEST(HiddenBy, WherePeopleKeepTheirDataThereIsRoom) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  for (const char* target : {"/home", "/home/rum", "/srv", "/var/lib/x", "/var/lib/rumba", "/data",
                             "/mnt", "/opt", "/usr/local", "/tmp", "/root", "/etc-of-mine"}) {
    EXPECT_EQ(HiddenBy(target), IsIn(self, target) ? self : "") << target;
  }
}

TEST(MountsBelow, AreTheInnermostFirst) {
  const std::vector<MountEntry> mounts = {{"/", "ext4", "/dev/vda", false},
                                          {"/home", "ext4", "/dev/vdb", false},
                                          {"/home/x", "ext4", "/dev/vdc", false},
                                          {"/home/x/y", "tmpfs", "tmpfs", false},
                                          {"/homestead", "tmpfs", "tmpfs", false}};
  const std::vector<MountEntry> below = MountsBelow(mounts, "/home");
  ASSERT_EQ(below.size(), 2u);
  EXPECT_EQ(below[0].target, "/home/x/y");
  EXPECT_EQ(below[1].target, "/home/x");
}

}  // namespace
}  // namespace rum::guest
