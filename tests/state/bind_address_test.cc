#include "state/bind_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace rum {
namespace {

using testing::HasSubstr;

TEST(BindAddress, WhatAHostCanHaveIsTaken) {
  for (const char* address : {"127.0.0.1", "127.8.9.10", "0.0.0.0", "192.168.1.5", "8.8.8.8",
                              "169.254.1.1", "::", "::1", "2001:db8::1", "fd00::1", "fe80::1%eth0",
                              "fe80::1%br-lan.4", "0:0:0:0:0:0:0:1", "64:ff9b::1.2.3.4"}) {
    EXPECT_EQ(BindProblem(address), "") << address;
  }
}

TEST(BindAddress, WhatNobodyCouldReachIsRefusedWithTheReason) {
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"::ffff:127.0.0.1", "write \"127.0.0.1\""},
      {"::FFFF:7f00:1", "write \"127.0.0.1\""},
      {"::127.0.0.1", "write \"127.0.0.1\""},
      {"fe80::1", "name one, as in \"fe80::1%eth0\""},
      {"febf::1", "name one"},
      {"fe80::1%", "not the name of an interface"},
      {"fe80::1%a/b", "not the name of an interface"},
      {"fe80::1%sixteen-letters-", "not the name of an interface"},
      {"::1%lo", "only a link-local address"},
      {"2001:db8::1%eth0", "only a link-local address"},
      {"224.0.0.1", "multicast"},
      {"239.1.2.3", "multicast"},
      {"ff02::1", "multicast"},
      {"ff02::1%eth0", "multicast"},
      {"255.255.255.255", "broadcast"},
      {"240.0.0.1", "reserved"},
      {"0.0.0.1", "\"0.0.0.0\" is all of them"},
      {"localhost", "write \"127.0.0.1\""},
      {"*", "write \"::\""},
      {"[::1]", "without the brackets"},
      {" 127.0.0.1", "without white space"},
      {"127.0.0.1\n", "without white space"},
      {"127.0.0.1:80", "the port stands in `host`"},
      {"127.0.0.0/8", "not a network"},
      {"127.0.0.01", "without zeros before them"},
      {"127.1", "four numbers"},
      {"127.0.0.1%lo", "must be an IPv4 or IPv6 address"},
      {"eth0", "must be an IPv4 or IPv6 address"},
      {"", "must be an IPv4 or IPv6 address"},
      {std::string("::1\0x", 5), "must be an IPv4 or IPv6 address"}};
  for (const auto& [address, why] : cases) {
    EXPECT_THAT(BindProblem(address), HasSubstr(why)) << address;
  }
}

TEST(BindAddress, BothWildcardsStandTogetherAndWithNothingElse) {
  EXPECT_FALSE(BindsCollide("0.0.0.0", "::"));
  EXPECT_FALSE(BindsCollide("::", "0.0.0.0"));
  for (const char* address : {"127.0.0.1", "192.0.2.1", "::1", "::"}) {
    EXPECT_TRUE(BindsCollide("::", address)) << address;
    EXPECT_TRUE(BindsCollide(address, "::")) << address;
  }
  EXPECT_TRUE(BindsCollide("0.0.0.0", "127.0.0.1"));
  EXPECT_FALSE(BindsCollide("0.0.0.0", "::1")) << "another family";
  EXPECT_FALSE(BindsCollide("127.0.0.1", "127.0.0.2"));
  EXPECT_FALSE(BindsCollide("127.0.0.1", "::1"));
  EXPECT_TRUE(BindsCollide("::1", "::1"));
}

TEST(BindAddress, OnlyThisHostReachesItsLoopback) {
  for (const char* address :
       {"127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address : {"0.0.0.0", "::", "128.0.0.1", "12.7.0.1", "::2", "::ffff:1.2.3.4",
                              "fe80::1%lo", "localhost", "127.1", ""}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace rum
