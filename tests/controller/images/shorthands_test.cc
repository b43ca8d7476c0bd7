#include "controller/images/shorthands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "controller/images/location.h"

namespace rum {
namespace {

using testing::AnyOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Shorthands, EachNameHasOneImageForAnArchitectureAndOneForX86) {
  std::map<std::string, std::set<std::string>> architectures;
  std::set<std::string> urls;
  for (const Shorthand& row : Shorthands()) {
    EXPECT_TRUE(architectures[row.name].insert(row.architecture).second) << row.name;
    EXPECT_TRUE(urls.insert(row.url).second) << row.url;
    EXPECT_THAT(row.architecture, AnyOf("x86_64", "aarch64"));
    EXPECT_THAT(row.url, StartsWith("https://"));
    EXPECT_THAT(row.url, AnyOf(EndsWith(".qcow2"), EndsWith(".img")));
    EXPECT_TRUE(LocationOf(row.url).ok()) << row.url;
    if (!row.checksums_url.empty()) EXPECT_THAT(row.checksums_url, StartsWith("https://"));
  }
  for (const char* name : {"debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04",
                           "fedora-43", "alpine-3.22"}) {
    EXPECT_EQ(architectures[name].count("x86_64"), 1u) << name;
  }
}

TEST(Shorthands, StandForTheImageOfTheHostsArchitecture) {
  const ImageSource source = *SourceOf("debian-12", "ab", "aarch64");
  EXPECT_THAT(source.url, EndsWith("debian-12-generic-arm64.qcow2"));
  EXPECT_EQ(source.sha256, "ab");
  EXPECT_THAT(source.checksums_url, EndsWith("SHA512SUMS"));
}

TEST(Shorthands, PathsAndUrlsStandForThemselves) {
  for (const std::string base : {"/images/debian-12", "http://h/x", "file:///x"}) {
    EXPECT_EQ(SourceOf(base, "", "x86_64")->url, base);
    EXPECT_EQ(SourceOf(base, "", "x86_64")->checksums_url, "");
  }
}

TEST(Shorthands, AnyOtherWordIsAnErrorWithTheNearestName) {
  const absl::Status status = SourceOf("debain-12", "", "x86_64").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean `debian-12`?"));
  EXPECT_THAT(std::string(SourceOf("alpine-3.22", "", "riscv64").status().message()),
              HasSubstr("has no image for riscv64, but for x86_64"));
}

}  // namespace
}  // namespace rum
