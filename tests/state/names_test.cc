#include "state/names.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

TEST(Names, HostnamesFollowRfc1123) {
  const std::string label(63, 'a');
  for (const std::string& name :
       {std::string("a"), std::string("0"), std::string("dev-1.Example"), label,
        label + "." + label + "." + label + "." + label.substr(2)}) {
    EXPECT_TRUE(IsHostname(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string("a."), std::string(".a"), std::string("a..b"),
        std::string("-a"), std::string("a-"), std::string("a_b"), std::string("a b"),
        std::string("é"), std::string("a\n"), std::string("a\0b", 3), label + "a",
        label + "." + label + "." + label + "." + label}) {
    EXPECT_FALSE(IsHostname(name)) << name;
  }
}

TEST(Names, UsersAreWhatUseraddTakes) {
  for (const char* name : {"rum", "_x", "a-b_c9", "abcdefghijklmnopqrstuvwxyzabcdef"}) {
    EXPECT_TRUE(IsUserName(name)) << name;
  }
  for (const char* name : {"", "9a", "-a", "Rum", "a b", "a:b", "a,b", "a\n", "a$", "ä",
                           "abcdefghijklmnopqrstuvwxyzabcdefg"}) {
    EXPECT_FALSE(IsUserName(name)) << name;
  }
}

TEST(Names, MachinesCannotLeaveTheirFolder) {
  for (const char* name : {"a", "9", "a.b_c-d", "Dev"}) EXPECT_TRUE(IsMachineName(name)) << name;
  for (const char* name : {"", ".", "..", "-a", "_a", "a/b", "../a", "a b", "a\n"}) {
    EXPECT_FALSE(IsMachineName(name)) << name;
  }
}

TEST(Names, OpenSshKeysAreOneLine) {
  EXPECT_TRUE(IsOpenSshKey("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"));
  EXPECT_TRUE(IsOpenSshKey("ssh-rsa AAAAB3NzaC1yc2E= me@here and more"));
  EXPECT_TRUE(IsOpenSshKey("sk-ssh-ed25519@openssh.com AAAAGnNr== k"));
  for (const char* key :
       {"", "ssh-ed25519", "ssh-ed25519 ", "ssh-ed25519 BBBB", "AAAAC3Nz", "ssh-foo AAAA",
        "ssh-rsa AAAA===", "ssh-rsa AA AA", "ssh-rsa AAAA x\ny", "command=\"x\" ssh-rsa AAAA"}) {
    EXPECT_FALSE(IsOpenSshKey(key)) << key;
  }
}

TEST(Names, PoolsAreNoOptionsAndNoWordsOfZpool) {
  for (const char* name : {"tank", "T-1", "a.b_c", "logs"}) EXPECT_TRUE(IsPoolName(name)) << name;
  for (const char* name : {"", "-f", "1tank", "my tank", "mirror", "raidz2", "log", "a/b", "a;b"}) {
    EXPECT_FALSE(IsPoolName(name)) << name;
  }
}

TEST(Names, AKeyIsTheSameWhateverItsComment) {
  EXPECT_EQ(KeyWithoutComment("ssh-rsa AAAA me and more"), "ssh-rsa AAAA");
  EXPECT_EQ(KeyWithoutComment("ssh-rsa AAAA"), "ssh-rsa AAAA");
  EXPECT_EQ(KeyName("ssh-rsa AAAA me and more"), "me and more");
  EXPECT_EQ(KeyName("ssh-rsa AAAABBBBCCCC"), "ssh-rsa …BBBBCCCC");
}

TEST(Names, ChecksumsAreSixtyFourHexDigits) {
  EXPECT_TRUE(IsSha256(std::string(64, 'a')));
  EXPECT_TRUE(IsSha256(std::string(64, 'F')));
  EXPECT_FALSE(IsSha256(std::string(63, 'a')));
  EXPECT_FALSE(IsSha256(std::string(64, 'g')));
}

TEST(Names, QuotedTextIsSafeForATerminalAndShort) {
  EXPECT_EQ(Quoted("a\x1b[31m\"\n"), "\"a\\033[31m\\\"\\n\"");
  EXPECT_EQ(Quoted("dév"), "\"dév\"");
  EXPECT_LT(Quoted(std::string(1000, 'a')).size(), 100u);
}

}  // namespace
}  // namespace rum
