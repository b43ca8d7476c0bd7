#include "controller/hypervisor/seed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "controller/hypervisor/domain_xml.h"

namespace rum {
namespace {

SeedParts SomeParts() {
  SeedParts parts;
  parts.identity = {"/p/dev/rum.toml", "dev", "0123456789ab"};
  parts.config.mutable_network()->set_hostname("dev.example");
  parts.config.mutable_user()->set_name("alice");
  parts.config.mutable_user()->add_groups("docker");
  parts.config.mutable_ssh()->add_authorized_keys("ssh-ed25519 AAAA \"alice\": #1 <a&b>");
  parts.disk_nonce = "00112233";
  parts.agent_binary = std::string(
                           "\x7f"
                           "ELF\0\1\2",
                           7) +
                       std::string(5000, 'x');
  return parts;
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

YAML::Node UserData(const SeedParts& parts) { return YAML::Load(SeedFiles(parts)["user-data"]); }
YAML::Node MetaData(const SeedParts& parts) { return YAML::Load(SeedFiles(parts)["meta-data"]); }

TEST(Seed, MakesTheUserWithKeysAndWithoutAPassword) {
  EXPECT_EQ(SeedFiles(SomeParts())["user-data"].rfind("#cloud-config\n", 0), 0u);
  YAML::Node data = UserData(SomeParts());
  ASSERT_EQ(data["users"].size(), 1u);
  YAML::Node user = data["users"][0];
  EXPECT_EQ(user["name"].as<std::string>(), "alice");
  EXPECT_TRUE(user["lock_passwd"].as<bool>());
  EXPECT_EQ(user["sudo"].as<std::string>(), "ALL=(ALL) NOPASSWD:ALL");
  EXPECT_EQ(user["ssh_authorized_keys"][0].as<std::string>(),
            SomeParts().config.ssh().authorized_keys(0));
  EXPECT_FALSE(user["groups"]);
  EXPECT_TRUE(data["preserve_hostname"].as<bool>());
}

TEST(Seed, KeepsHostileTextInItsPlace) {
  SeedParts parts = SomeParts();
  const std::string key = "ssh-rsa A\nruncmd: [reboot]\n'\"\\ \t - x: {y: [z";
  parts.config.mutable_ssh()->set_authorized_keys(0, key);
  parts.config.mutable_network()->set_hostname("a\nb: c");
  YAML::Node data = UserData(parts);
  EXPECT_EQ(data["users"][0]["ssh_authorized_keys"][0].as<std::string>(), key);
  EXPECT_FALSE(data["runcmd"]);
  EXPECT_EQ(MetaData(parts)["local-hostname"].as<std::string>(), "a\nb: c");
}

TEST(Seed, AsksForAnAddressOnEveryCardByItsMac) {
  SeedParts parts = SomeParts();
  EXPECT_EQ(SeedFiles(parts).count("network-config"), 0u) << "a machine without cards";
  parts.config.mutable_network()->set_nat(true);
  parts.config.mutable_network()->add_interfaces()->set_network("lan");
  const YAML::Node config = YAML::Load(SeedFiles(parts)["network-config"]);
  ASSERT_EQ(config["ethernets"].size(), 2u);
  EXPECT_EQ(config["ethernets"]["rum1"]["match"]["macaddress"].as<std::string>(),
            CardMac(parts.identity, "network:lan"));
  EXPECT_TRUE(config["ethernets"]["rum1"]["dhcp4"].as<bool>());
}

TEST(Seed, LogsInOnTheConsoleOnlyWhenAsked) {
  SeedParts parts = SomeParts();
  EXPECT_EQ(SeedFiles(parts).count("rum-autologin.conf"), 0u);
  parts.config.mutable_advanced()->set_autologin(true);
  EXPECT_THAT(SeedFiles(parts)["rum-autologin.conf"], testing::HasSubstr("--autologin alice "));
}

TEST(Seed, RunsWordsAndNotShellAtBoot) {
  for (const YAML::Node& command : UserData(SomeParts())["bootcmd"]) {
    EXPECT_TRUE(command.IsSequence()) << command;
  }
}

TEST(Seed, IsTheSameInstanceUnderANewHostnameAndANewOneWithANewDisk) {
  SeedParts parts = SomeParts();
  const std::string id = MetaData(parts)["instance-id"].as<std::string>();
  EXPECT_EQ(id, "0123456789ab-00112233");
  parts.config.mutable_network()->set_hostname("other");
  EXPECT_EQ(MetaData(parts)["instance-id"].as<std::string>(), id);
  parts.disk_nonce = "44556677";
  EXPECT_NE(MetaData(parts)["instance-id"].as<std::string>(), id);
}

TEST(Seed, HashesWhatItHolds) {
  SeedParts parts = SomeParts();
  const std::string hash = SeedHash(SeedFiles(parts));
  EXPECT_EQ(hash.size(), 16u);
  EXPECT_EQ(SeedHash(SeedFiles(parts)), hash);
  parts.agent_binary += "y";
  EXPECT_NE(SeedHash(SeedFiles(parts)), hash);
}

TEST(Seed, IsAnIsoThatGivesTheFilesBack) {
  std::map<std::string, std::string> files = SeedFiles(SomeParts());
  auto iso = MakeIso(files);
  ASSERT_TRUE(iso.ok()) << iso.status();
  EXPECT_EQ(iso->substr(32768 + 40, 7), "CIDATA ");
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "seed";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "seed.iso", std::ios::binary) << *iso;
  const std::string command = "cd '" + folder.string() +
                              "' && xorriso -osirrox on -indev seed.iso -extract / out "
                              "2>xorriso.log";
  ASSERT_EQ(std::system(command.c_str()), 0) << ReadFile(folder / "xorriso.log");
  for (const auto& [name, content] : files) EXPECT_EQ(ReadFile(folder / "out" / name), content);
}

TEST(Seed, IsTheSameImageForTheSameFiles) {
  auto first = MakeIso(SeedFiles(SomeParts()));
  auto second = MakeIso(SeedFiles(SomeParts()));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(*first == *second);
}

TEST(Seed, CarriesAnInstallerThatAShellUnderstands) {
  const std::filesystem::path script = std::filesystem::path(testing::TempDir()) / "rum-install";
  std::ofstream(script) << SeedFiles(SomeParts())["rum-install"];
  EXPECT_EQ(std::system(("sh -n '" + script.string() + "'").c_str()), 0);
}

}  // namespace
}  // namespace rum
