#include "cli/first_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "state/problem_text.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class FirstFileTest : public testing::Test {
 protected:
  static ParsedConfig Read(const std::string& text) {
    return ReadToml(text, fs::canonical(testing::TempDir()) / "rum.toml");
  }
  static std::string Problems(const std::string& text) {
    return RenderProblems("rum.toml", Read(text));
  }
  // With every example in force.
  static std::string WithExamples(const std::string& text) {
    std::string all;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      const bool example = line.size() > 1 && line[0] == '#' && line[1] != ' ' && line[1] != ':';
      absl::StrAppend(&all, example ? line.substr(1) : line, "\n");
    }
    return all;
  }
  static FirstPort Port(const std::string& word) {
    const auto port = ParseFirstPort(word);
    EXPECT_TRUE(port.ok()) << word;
    return port.ok() ? *port : FirstPort();
  }
};

TEST_F(FirstFileTest, WhatNobodyAskedAnythingOfIsValidAndSoIsEveryExampleInIt) {
  const std::string text = FirstFileText({});
  EXPECT_EQ(Problems(text), "");
  EXPECT_EQ(Read(text).config.ports_size(), 0);
  EXPECT_THAT(text, StartsWith("# "));
  const ParsedConfig all = Read(WithExamples(text));
  EXPECT_EQ(RenderProblems("rum.toml", all), "");
  EXPECT_EQ(all.config.ports_size(), 1);
  EXPECT_EQ(all.config.mounts_size(), 1);
  EXPECT_EQ(all.config.network().hostname(), "dev");
  EXPECT_FALSE(all.config.provision().boot().script().empty());
  EXPECT_FALSE(all.config.provision().system().script().empty());
}

TEST_F(FirstFileTest, WhatWasAskedForIsInForce) {
  FirstFile first;
  first.image = "./my \"disk\" \\ größe.qcow2";
  first.cpus = 4;
  first.memory_mb = 512;
  first.disk = "40G";
  first.ports = {Port("8080:80"), Port("0.0.0.0:9000-9002:90"), Port(":5432"), Port("7000"),
                 Port("[::1]:8081:81")};
  first.mounts = {*ParseFirstMount("."), *ParseFirstMount("..:/mnt/it's \"here\"")};
  first.proposed = {{"8080", "8080", "compose.yaml publishes it"},
                    {"9002-9004", "9002", "compose.yaml publishes it"},
                    {"3000", "3000", "Procfile listens on it (web)"}};
  LeaveOutTaken(&first);
  first.schema = "/usr/share/rum/rum.schema.json";
  const std::string text = FirstFileText(first);
  EXPECT_THAT(text, StartsWith("#:schema /usr/share/rum/rum.schema.json\n"));
  EXPECT_EQ(Problems(text), "");
  const Config config = Read(text).config;
  EXPECT_THAT(config.image().base(), testing::EndsWith("my \"disk\" \\ größe.qcow2"));
  EXPECT_EQ(config.resources().cpus(), 4u);
  EXPECT_EQ(config.resources().memory_mb(), 512u);
  EXPECT_EQ(config.resources().disk(), uint64_t{40} << 30);
  ASSERT_EQ(config.ports_size(), 7);
  EXPECT_EQ(config.ports(0).host(), 8080u);
  EXPECT_EQ(config.ports(0).guest(), 80u);
  EXPECT_EQ(config.ports(3).bind(), "0.0.0.0");
  EXPECT_EQ(config.ports(3).host(), 9002u);
  EXPECT_TRUE(config.ports(4).auto_());
  EXPECT_EQ(config.ports(5).guest(), 7000u);
  EXPECT_EQ(config.ports(6).bind(), "::1");
  ASSERT_EQ(config.mounts_size(), 2);
  EXPECT_TRUE(config.mounts(0).default_());
  EXPECT_EQ(config.mounts(1).target(), "/mnt/it's \"here\"");
  // What is forwarded already is not proposed as well; the rest goes together with it.
  const Config all = Read(WithExamples(text)).config;
  EXPECT_EQ(Problems(WithExamples(text)), "");
  EXPECT_EQ(all.ports_size(), 8);
  EXPECT_THAT(text, HasSubstr("# Procfile listens on it (web):\n#[[ports]]\n#host = 3000\n"));
  EXPECT_THAT(text, Not(HasSubstr("compose.yaml")));
}

TEST_F(FirstFileTest, PortsAsDockerWritesThem) {
  EXPECT_EQ(Port("80").host, "80");
  EXPECT_EQ(Port("8000-8010:3000").host, "8000-8010");
  EXPECT_EQ(Port("127.0.0.1::80").host, "");
  EXPECT_EQ(Port("127.0.0.1::80").bind, "127.0.0.1");
  for (const char* word : {"", ":", "a:80", "80:b", "8080:", "80 ", "80/tcp", "1.2:3"}) {
    EXPECT_FALSE(ParseFirstPort(word).ok()) << word;
  }
}

TEST_F(FirstFileTest, MountsWithAndWithoutATarget) {
  EXPECT_EQ(ParseFirstMount(".")->target, "/work");
  EXPECT_EQ(ParseFirstMount("git")->target, "/work");
  EXPECT_EQ(ParseFirstMount("../lib")->target, "/mnt/lib");
  EXPECT_EQ(ParseFirstMount("/srv/data/")->target, "/mnt/data");
  EXPECT_EQ(ParseFirstMount("a:b:/x")->source, "a:b");
  for (const char* word : {"", ":/x", "..", "~", "/"}) {
    EXPECT_FALSE(ParseFirstMount(word).ok()) << word;
  }
}

TEST_F(FirstFileTest, MemoryIsMibOrASize) {
  EXPECT_EQ(*ParseFirstMemory("2048"), 2048u);
  EXPECT_EQ(*ParseFirstMemory("2G"), 2048u);
  EXPECT_EQ(*ParseFirstMemory("1536 MiB"), 1536u);
  for (const char* word : {"", "much", "1.5G", "100K", "-1", "99999999999999999999"}) {
    EXPECT_FALSE(ParseFirstMemory(word).ok()) << word;
  }
}

}  // namespace
}  // namespace rum
