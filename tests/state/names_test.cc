#include "state/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rum {
namespace {

TEST(Names, HostnamesFollowRfc1123WithinLinuxsLength) {
  const std::string label(63, 'a');
  for (const std::string& name :
       {std::string("a"), std::string("a0"), std::string("dev-1.Example"), std::string("node.1"),
        std::string("3com"), label, label.substr(1) + ".b"}) {
    EXPECT_EQ(HostnameProblem(name), "") << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string("a."), std::string(".a"), std::string("a..b"),
        std::string("-a"), std::string("a-"), std::string("a_b"), std::string("a b"),
        std::string("é"), std::string("a\n"), std::string("a\0b", 3), label + "a",
        std::string("::1")}) {
    EXPECT_THAT(HostnameProblem(name), testing::HasSubstr("RFC 1123")) << name;
  }
  const std::string fqdn = label.substr(1) + ".bc";
  ASSERT_EQ(fqdn.size(), 65u);
  EXPECT_THAT(HostnameProblem(fqdn), testing::HasSubstr("at most 64 characters, as Linux"));
  EXPECT_THAT(HostnameProblem(fqdn), testing::HasSubstr("this has 65"));
}

TEST(Names, AHostnameNeitherMeansTheMachineItselfNorReadsAsAnAddress) {
  for (const char* name : {"localhost", "LocalHost", "localhost.localdomain", "localhost6",
                           "ip6-localhost", "dev.localhost"}) {
    EXPECT_THAT(HostnameProblem(name), testing::HasSubstr("every machine has for itself")) << name;
  }
  for (const char* name :
       {"0", "2024", "10.0.0.1", "10.1", "0x7f.1", "0x7f000001", "1.2.3.4.5", "256.1.1.1"}) {
    EXPECT_THAT(HostnameProblem(name), testing::HasSubstr("an address")) << name;
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

TEST(Names, GroupsAreWhatGuestsHave) {
  const std::string longest(32, 'g');
  for (const std::string& name :
       {std::string("docker"), std::string("Debian-exim"), std::string("_ssh"),
        std::string("systemd-journal"), std::string("a.b"), std::string("samba$"),
        std::string("9p"), std::string("grüße"), std::string("x\\y"), longest}) {
    EXPECT_TRUE(IsGroupName(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("a:b"), std::string("a,b"), std::string("a\nb"),
        std::string("a b"), std::string("a\tb"), std::string("-a"), std::string("+a"),
        std::string("~a"), std::string("1000"), std::string("a/b"), std::string("#a"),
        std::string("."), std::string(".."), std::string("a\x7f"), std::string("a\0b", 3),
        longest + "g"}) {
    EXPECT_FALSE(IsGroupName(name)) << name;
  }
}

TEST(Names, ServicesOfTheGuestAreNobodyToLogInAs) {
  for (const char* name : {"daemon", "nobody", "www-data", "_apt", "systemd-network", "sshd"}) {
    EXPECT_TRUE(IsSystemAccount(name)) << name;
  }
  for (const char* name : {"root", "rum", "ubuntu", "daemons"}) {
    EXPECT_FALSE(IsSystemAccount(name)) << name;
  }
}

TEST(Names, AUserOfSshIsNoOptionAndNoLine) {
  for (const char* name : {"root", "Ada", "john.doe", "a@b"}) EXPECT_TRUE(IsLoginName(name));
  for (const char* name :
       {"", "-oProxyCommand=x", "a b", "a\nProxyCommand x", "$(x)", "a;b", "`x`"}) {
    EXPECT_FALSE(IsLoginName(name)) << name;
  }
}

TEST(Names, PoolsAreNoOptionsAndNoWordsOfZpool) {
  for (const char* name : {"tank", "T-1", "a.b_c", "logs"}) EXPECT_TRUE(IsPoolName(name)) << name;
  for (const char* name : {"", "-f", "1tank", "my tank", "mirror", "raidz2", "log", "a/b", "a;b"}) {
    EXPECT_FALSE(IsPoolName(name)) << name;
  }
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
