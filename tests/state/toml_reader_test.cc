#include "state/toml_reader.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/str_join.h"
#include "state/problem_text.h"
#include "tests/testdata/bad_files.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr char kSmall[] =
    "image.base = \"debian.qcow2\"\nresources = { cpus = 1, memory_mb = 512 }\n";

// A project's folder; its name is the machine's.
class TomlReader : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::canonical(testing::TempDir()) / "dev";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    path_ = folder_ / "rum.toml";
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Errors(const std::string& toml) {
    return RenderProblems("rum.toml", ReadToml(toml, path_));
  }
  Config Read(const std::string& toml) {
    EXPECT_EQ(Errors(toml), "");
    return ReadToml(toml, path_).config;
  }

  fs::path folder_;
  std::string path_;
};

// "BIND HOST GUEST" of each port.
std::vector<std::string> Ports(const Config& config) {
  std::vector<std::string> ports;
  for (const Port& port : config.ports()) {
    ports.push_back(port.bind() + " " + std::to_string(port.host()) + " " +
                    std::to_string(port.guest()));
  }
  return ports;
}

TEST_F(TomlReader, ARangeOfPortsIsOneForwardForEach) {
  const std::string small = kSmall;
  EXPECT_EQ(
      Ports(Read(small + "[[ports]]\nhost = \"8000-8002\"\nguest = 80\n"
                         "[[ports]]\nhost = \"9000-9001\"\nguest = \"90-91\"\nbind = \"::1\"\n"
                         "[[ports]]\nhost = \"7000\"\nguest = 70\n")),
      (std::vector<std::string>{"127.0.0.1 8000 80", "127.0.0.1 8001 81", "127.0.0.1 8002 82",
                                "::1 9000 90", "::1 9001 91", "127.0.0.1 7000 70"}));
  EXPECT_EQ(Read(small + "[[ports]]\nhost = \"8000-8999\"\nguest = 1\n").ports_size(), 1000);
}

TEST_F(TomlReader, ForAnAutoPortTheHostsPortIsLeftOpen) {
  const Config config = Read(std::string(kSmall) +
                             "[[ports]]\nauto = true\nguest = \"80-81\"\n"
                             "[[ports]]\nauto = true\nguest = 80\n");
  EXPECT_EQ(Ports(config),
            (std::vector<std::string>{"127.0.0.1 0 80", "127.0.0.1 0 81", "127.0.0.1 0 80"}));
  for (const Port& port : config.ports()) EXPECT_TRUE(port.auto_());
}

TEST_F(TomlReader, EveryBadFileIsNamedWithPlaceFieldAndCure) {
  const std::vector<BadFile> files = ReadBadFiles("tests/testdata/bad_files.txt", folder_);
  ASSERT_GE(files.size(), 60u);
  // RUM_WRITE_BAD_FILES=PATH writes the file anew, for a person to review as a diff.
  const char* rewritten = std::getenv("RUM_WRITE_BAD_FILES");
  std::ofstream out(rewritten == nullptr ? "/dev/null" : rewritten);
  for (const BadFile& file : files) {
    std::string errors = Errors(file.toml);
    EXPECT_EQ(errors, file.errors) << file.name;
    EXPECT_NE(errors, "") << file.name;
    for (size_t at = errors.find(folder_); at != std::string::npos; at = errors.find(folder_)) {
      errors.replace(at, folder_.string().size(), "FOLDER");
    }
    out << "#### " << file.name << "\n" << file.toml << "----\n" << errors;
  }
}

TEST_F(TomlReader, AFileWithWindowsEndsOfLinesMeansTheSame) {
  const std::string toml = std::string(kSmall) +
                           "[provision.boot]\nscript = \"\"\"\n#!/bin/sh\necho hi\n\"\"\"\n"
                           "[provision.system]\nscript = '''\n#!/bin/sh\necho ho\n'''\n";
  std::string saved;
  for (const char c : toml) saved += c == '\n' ? "\r\n" : std::string(1, c);
  const Config config = Read(saved);
  EXPECT_EQ(config.provision().boot().script(), "#!/bin/sh\necho hi\n");
  EXPECT_EQ(config.provision().system().script(), "#!/bin/sh\necho ho\n");
}

TEST_F(TomlReader, KeysAreTakenAsSshdTakesThemAndTwoSpellingsAreOne) {
  const std::string key =
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ";
  const Config config =
      Read(std::string(kSmall) + "ssh.authorized_keys = [\"" + key +
           "  me\\r\\n\", 'no-pty,command=\"a  b\"\t" + key + "', '''\n" + key + "\n''']\n");
  ASSERT_EQ(config.ssh().authorized_keys_size(), 3);
  EXPECT_EQ(config.ssh().authorized_keys(0), key + " me");
  EXPECT_EQ(config.ssh().authorized_keys(1), "no-pty,command=\"a  b\" " + key);
  EXPECT_EQ(config.ssh().authorized_keys(2), key);
}

TEST_F(TomlReader, BothFamiliesOfOnePortStandTogether) {
  const Config config = Read(std::string(kSmall) +
                             "[[ports]]\nhost = 80\nguest = 80\nbind = \"0.0.0.0\"\n"
                             "[[ports]]\nhost = 80\nguest = 80\nbind = \"0:0::0\"\n");
  EXPECT_EQ(Ports(config), (std::vector<std::string>{"0.0.0.0 80 80", ":: 80 80"}));
}

TEST_F(TomlReader, EveryFoldersNameGivesAValidHostname) {
  for (const char* name :
       {"2024", "localhost", "10.0.0.1", "my.project_v2", "0x10", "-", "é",
        "a-very-long-name-of-a-folder-that-goes-on-and-on-and-on-beyond-64-bytes"}) {
    const fs::path folder = folder_ / name;
    fs::create_directory(folder);
    EXPECT_EQ(RenderProblems("rum.toml", ReadToml(kSmall, folder / "rum.toml")), "") << name;
  }
}

TEST_F(TomlReader, BytesThatAreNotUtf8AreAnError) {
  EXPECT_EQ(Errors("[image]\nbase = \"\xff\"\n")
                .rfind("rum.toml:2:8: error: there are bytes here that are not UTF-8: save the "
                       "file as UTF-8",
                       0),
            0u);
}

TEST_F(TomlReader, TheSourceLineIsShownWithoutWhatATerminalObeys) {
  const std::string errors = Errors("[image]\nbase = \"\x1b[2J\"\n");
  EXPECT_EQ(errors.rfind("rum.toml:2:9: error: ", 0), 0u);
  EXPECT_NE(errors.find("    2 | base = \"?[2J\"\n"), std::string::npos);
}

TEST_F(TomlReader, FillsInEveryDefault) {
  const Config config = Read(kSmall);
  EXPECT_EQ(config.resources().disk(), uint64_t{20} << 30);
  EXPECT_TRUE(config.network().nat());
  EXPECT_EQ(config.network().hostname(), "dev");
  EXPECT_TRUE(config.network().wait_for_ip());
  EXPECT_EQ(config.network().ip_wait_timeout_s(), 120u);
  EXPECT_EQ(config.user().name(), "rum");
  EXPECT_EQ(config.ssh().user(), "rum");
  EXPECT_EQ(config.ssh().command(), "ssh");
  EXPECT_EQ(config.advanced().domain_type(), "auto");
  EXPECT_EQ(config.advanced().machine(), "q35");
  EXPECT_FALSE(config.advanced().autologin());
  EXPECT_TRUE(config.reconcile().auto_());
}

// As people's files for such tools look, section by section.
const std::vector<std::string> kSections = {
    "[image]\nbase = \"ubuntu-24.04\"\n",
    "[resources]\ncpus = 2\nmemory_mb = 2048\ndisk = \"20G\"\n",
    "[network]\nhostname = \"dev\"\n",
    "[ssh]\nuser = \"rum\"\ncommand = \"ssh\"\n",
    "[[ports]]\nhost = 8080\nguest = 80\n\n[[ports]]\nhost = 2222\nguest = 22\nbind = "
    "\"0.0.0.0\"\n",
    "[drives.data]\nsize = \"20G\"\n",
    "[drives.pool-1]\nsize = \"1G\"\n[drives.pool-2]\nsize = \"1G\"\n",
    "[[fs.ext4]]\ndrive = \"data\"\ntarget = \"/mnt/data\"\n",
    "[[fs.btrfs]]\ndrives = [\"pool-1\", \"pool-2\"]\nmode = \"raid1\"\ntarget = \"/pool\"\n",
    "[[mounts]]\nsource = \".\"\ntarget = \"/mnt/project\"\ndefault = true\n",
    "[provision.system]\nscript = \"\"\"\napt-get update\n\"\"\"\n",
    "[provision.boot]\nscript = \"\"\"\n#!/bin/sh\ndate\n\"\"\"\n"};

TEST_F(TomlReader, TheOrderOfSectionsNeverMatters) {
  const Config wanted = Read(absl::StrJoin(kSections, "\n"));
  EXPECT_TRUE(rc::check([&] {
    std::vector<std::string> sections = kSections;
    std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
    std::shuffle(sections.begin(), sections.end(), random);
    RC_ASSERT(google::protobuf::util::MessageDifferencer::Equals(
        Read(absl::StrJoin(sections, "\n")), wanted));
  }));
}

TEST_F(TomlReader, ReadsAWholeFileInAnyOrder) {
  fs::create_directories(folder_ / "src");
  const Config config = Read(R"(
[reconcile]
auto = false
[[fs.ext4]]
drive = "data"
target = "/mnt/data"
[drives.data]
size = "10G"
[[mounts]]
source = "src"
target = "/src"
readonly = true
default = true
[[mounts]]
source = "."
target = "/project"
tag = "project"
[ssh]
user = "root"
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ me@here"]
[user]
name = "ada"
groups = ["docker", "wheel"]
[[ports]]
host = 8080
guest = 80
[[ports]]
host = 8080
guest = 81
bind = "::1"
[provision.system]
script = "apt-get update"
[provision.boot]
script = '''
echo "hi"
'''
[network]
nat = false
hostname = "dev.example"
[[network.interfaces]]
network = "lan"
ip = "10.1.0.7"
[resources]
cpus = 2
memory_mb = 1024
disk = "30GB"
[image]
base = "./debian.qcow2"
sha256 = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"
[advanced]
libvirt_uri = "qemu:///session"
domain_type = "qemu"
machine = "pc-q35-7.2"
autologin = true
)");
  EXPECT_EQ(config.image().base(), folder_ / "debian.qcow2");
  EXPECT_EQ(config.resources().disk(), uint64_t{30} << 30);
  EXPECT_EQ(config.mounts(0).source(), folder_ / "src");
  EXPECT_EQ(config.mounts(0).tag(), "src");
  EXPECT_EQ(config.mounts(1).tag(), "project");
  EXPECT_EQ(config.ports(1).bind(), "::1");
  EXPECT_EQ(config.provision().boot().script(), "echo \"hi\"\n");
  EXPECT_EQ(config.drives().at("data").size(), uint64_t{10} << 30);
  EXPECT_EQ(config.fs().at("ext4").entries(0).target(), "/mnt/data");
  EXPECT_EQ(config.ssh().user(), "root");
}

TEST_F(TomlReader, KnowsWhereEachValueStands) {
  const ParsedConfig parsed =
      ReadToml(std::string(kSmall) + "[[ports]]\nhost = 8080\nguest = 80\n", path_);
  const SourceRange where = parsed.sources.at("ports[0].host");
  EXPECT_EQ(where.line, 4u);
  EXPECT_EQ(where.column, 8u);
  EXPECT_EQ(where.end_column, 12u);
}

TEST_F(TomlReader, MarksTheValueAfterTabsAndWideCharacters) {
  const std::string toml = std::string(kSmall) + "network = {\thostname = \"dév_\", nat = 1 }\n";
  EXPECT_EQ(Errors(toml),
            "rum.toml:3:24: error: network.hostname must be an RFC 1123 name: labels of 1 to 63 "
            "letters, digits and '-', no '-' at an edge, 64 characters in all (got \"dév_\")\n"
            "    3 | network = {\thostname = \"dév_\", nat = 1 }\n"
            "      |            \t           ^^^^^^\n"
            "rum.toml:3:38: error: network.nat must be a boolean, not an integer\n"
            "    3 | network = {\thostname = \"dév_\", nat = 1 }\n"
            "      |            \t                         ^\n");
}

TEST_F(TomlReader, AFileThatCannotBeReadSaysWhy) {
  ASSERT_EQ(ReadTomlFile(path_).problems.size(), 1u);
  EXPECT_EQ(ReadTomlFile(path_).problems[0].message, "cannot be read: No such file or directory");
  EXPECT_EQ(ReadTomlFile(folder_).problems[0].message, "cannot be read: Is a directory");
}

TEST_F(TomlReader, LongTextEndsInAShortError) {
  const std::string name(2'000'000, 'a');
  const std::string errors = Errors(std::string(kSmall) + "network.hostname = \"" + name + "\"\n");
  EXPECT_EQ(errors.find("rum.toml:3:20: error: network.hostname must be"), 0u);
  EXPECT_LT(errors.size(), 400u);
}

TEST_F(TomlReader, DeepNestingIsAnErrorAndNotAnEndOfTheProcess) {
  const std::string deep = "x = " + std::string(100'000, '[') + "\n";
  EXPECT_NE(Errors(deep), "");
}

}  // namespace
}  // namespace rum
