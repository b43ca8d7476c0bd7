#include "state/guest_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace rum {
namespace {

using testing::HasSubstr;

TEST(GuestTarget, WherePeoplePutTheirDataIsTaken) {
  for (const char* target : {"/home",
                             "/home/rum",
                             "/home/rum/src",
                             "/root",
                             "/root/x",
                             "/srv",
                             "/srv/www",
                             "/opt",
                             "/mnt",
                             "/mnt/x",
                             "/media/usb",
                             "/data",
                             "/tmp",
                             "/var/tmp",
                             "/var/log",
                             "/var/www",
                             "/var/cache",
                             "/var/spool",
                             "/var/lib/docker",
                             "/var/lib/postgresql",
                             "/var/lib/rumba",
                             "/usr/local/bin",
                             "/usr/local/src",
                             "/usr/local/lib/python3.11",
                             "/usr/src",
                             "/usr/lib/jvm",
                             "/usr/share/nginx",
                             "/etc/nginx",
                             "/nix",
                             "/snap",
                             "/binary",
                             "/library",
                             "/a/",
                             "/a//b",
                             "/work/./",
                             "/my data",
                             "/it's",
                             "/d\"q",
                             "/back\\slash",
                             "/größe",
                             "/#x",
                             "/-x",
                             "/home/rum/.sshx"}) {
    EXPECT_EQ(TargetProblem(target), "") << target;
  }
  EXPECT_EQ(TargetProblem("/" + std::string(255, 'a')), "");
}

TEST(GuestTarget, WhatTheGuestLivesByIsKept) {
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"/", "the guest's own disk"},
      {"//", "the guest's own disk"},
      {"/./", "the guest's own disk"},
      {"/etc", "does not live without"},
      {"/etc/", "does not live without"},
      {"//etc/.", "does not live without"},
      {"/etc/passwd", "a file of the guest's"},
      {"/etc/systemd/system", "rum's agent is started"},
      {"/etc/ssh", "by which you log in"},
      {"/usr", "does not live without"},
      {"/usr/bin", "does not live without"},
      {"/usr/lib", "does not live without"},
      {"/usr/lib/modules/6.1", "does not live without"},
      {"/usr/lib/x86_64-linux-gnu", "does not live without"},
      {"/usr/local", "rum's agent"},
      {"/usr/local/lib", "rum's agent"},
      {"/usr/local/lib/rum/x", "rum's agent"},
      {"/bin", "does not live without"},
      {"/sbin/x", "does not live without"},
      {"/lib", "does not live without"},
      {"/lib64", "does not live without"},
      {"/proc", "the kernel's"},
      {"/proc/sys", "the kernel's"},
      {"/sys/fs", "the kernel's"},
      {"/dev", "the kernel's"},
      {"/dev/shm", "the kernel's"},
      {"/run/user", "the kernel's"},
      {"/var/run/x", "the kernel's"},
      {"/boot", "starts from it"},
      {"/boot/efi", "starts from it"},
      {"/var", "rum keeps there"},
      {"/var/lib", "rum keeps there"},
      {"/var/lib/rum", "rum keeps there"},
      {"/var/lib/rum/runs", "rum keeps there"},
      {"/var/lib/cloud", "cloud-init keeps there"},
      {"/var/lib/dpkg", "packages"},
      {"/root/.ssh", "by which you log in"},
      {"/home/rum/.ssh", "by which you log in"}};
  for (const auto& [target, why] : cases) {
    EXPECT_THAT(TargetProblem(target), HasSubstr(why)) << target;
  }
}

TEST(GuestTarget, WhatIsNoPathIsRefused) {
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"", "an absolute path"},
      {"a", "an absolute path"},
      {"~/x", "an absolute path"},
      {"/a/../etc", "no \"..\""},
      {"/..", "no \"..\""},
      {"/a\nb", "control characters"},
      {std::string("/a\0b", 4), "control characters"},
      {"/a\x7f", "control characters"},
      {"/" + std::string(256, 'a'), "255 in each of its names"},
      {std::string(4096, '/') + "a", "at most 4095 bytes"}};
  for (const auto& [target, why] : cases) {
    EXPECT_THAT(TargetProblem(target), HasSubstr(why)) << target;
  }
}

}  // namespace
}  // namespace rum
