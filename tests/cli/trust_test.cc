// Whom rum believes, and what it lets others decide: the socket, the controller's answer, the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/cli/fake_controller.h"
#include "tests/cli/sandbox.h"
#include "tests/controller/service/another_user.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;
using testing::StartsWith;
using testing::UnorderedElementsAre;
using Words = std::vector<std::string>;

class TrustTest : public testing::Test {
 protected:
  TrustTest() {
    rum_.Write("dev.rum.toml", GoodToml());
    fs::create_directory(rum_.runtime());
    fs::permissions(rum_.runtime(), fs::perms(0700));
  }
  std::string socket() const { return rum_.runtime() + "/controller.sock"; }
  Result Rum(Words words) {
    words.insert(words.begin(), {"-c", "dev.rum.toml"});
    return rum_.Rum(words);
  }
  static void GiveAway(const std::string& path) {
    ASSERT_EQ(getuid(), 0u) << "only root can give away";
    ASSERT_EQ(lchown(path.c_str(), kNobody, kNobody), 0);
  }
  void ExpectEverythingRefused(const std::string& why) {
    for (const Words& words : {Words{"status"},
                               {"ssh"},
                               {"up", "-d"},
                               {"exec", "true"},
                               {"destroy"},
                               {"image", "list"},
                               {"controller", "status"},
                               {"controller", "stop"},
                               {"controller", "restart"},
                               {"controller", "run"},
                               {"controller", "metrics"}}) {
      const Result result = Rum(words);
      EXPECT_EQ(result.exit_status, 1) << words.back();
      EXPECT_EQ(result.out, "") << words.back();
      EXPECT_THAT(result.err, AllOf(HasSubstr(why), HasSubstr("and this is root"),
                                    HasSubstr("RUM_RUNTIME_DIR")))
          << words.back();
    }
    EXPECT_TRUE(rum_.Controllers().empty());
  }

  Sandbox rum_;
};

// `sudo -E rum ssh`: root with the $XDG_RUNTIME_DIR of somebody else, who has a controller there.
TEST_F(TrustTest, TheRuntimeFolderOfAnotherUserIsNotUsedAndNothingIsMadeInIt) {
  const std::string theirs = fs::path(rum_.runtime()).parent_path();
  {
    const FakeController controller(socket());
    GiveAway(socket());
    GiveAway(rum_.runtime());
    GiveAway(theirs);
    ExpectEverythingRefused(theirs + " belongs to user 65534");
  }
  fs::remove_all(rum_.runtime());
  ExpectEverythingRefused(theirs + " belongs to user 65534");
  EXPECT_TRUE(fs::is_empty(theirs)) << "their own rum would not get on with it";
}

TEST_F(TrustTest, AControllerOfAnotherUserIsToldNothing) {
  NobodyListens nobody(socket());
  const Result result = Rum({"status"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("at the other end of " + socket() + " is user 65534"));
  EXPECT_EQ(nobody.HeardBeforeTheEnd(), "");
}

class FakeControllerTest : public TrustTest {
 protected:
  FakeControllerTest() {
    controller_.ssh.set_host("rum-dev-0123456789ab");
    controller_.ssh.set_user("me");
    controller_.ssh.set_command("ssh");
    controller_.ssh.set_key_path("/keys/id_ed25519");
    controller_.ssh.set_known_hosts_path("/keys/known_hosts");
  }
  // A program that says who it is and its words; in `folder` of the project.
  std::string Program(const std::string& name) {
    const std::string path = rum_.Write(name,
                                        "#!/bin/sh\necho \"$0 runs\"\nprintf '%s\\n' \"$@\"\n"
                                        "echo SHELL=$SHELL\nexit 7\n");
    fs::permissions(path, fs::perms(0755));
    return path;
  }
  Result Shell(const std::string& script) {
    const std::string rum = rum_.program;
    rum_.program = "/bin/sh";
    Result result = rum_.Rum({"-c", script, rum});
    rum_.program = rum;
    return result;
  }

  FakeController controller_{socket()};
};

TEST_F(FakeControllerTest, AFilesOwnProgramIsNotRun) {
  Program("evil");
  for (const std::string& command :
       {std::string("./evil"), rum_.project() + "/evil", std::string("make"), std::string("sh")}) {
    controller_.ssh.set_command(command);
    const Result ssh = Rum({"ssh", "true"});
    EXPECT_EQ(ssh.exit_status, 1);
    EXPECT_EQ(ssh.out, "");
    EXPECT_THAT(ssh.err, AllOf(HasSubstr("/dev.rum.toml: ssh.command = \"" + command + "\""),
                               HasSubstr("set RUM_SSH")));
  }
  controller_.ssh.set_command("./evil");
  EXPECT_EQ(Rum({"ssh-config"}).exit_status, 0) << "which runs nothing";
}

TEST_F(FakeControllerTest, TheUsersProgramIsRun) {
  rum_.env["RUM_SSH"] = Program("mine");
  for (const std::string& in_file : {std::string("ssh"), std::string(), rum_.env["RUM_SSH"]}) {
    controller_.ssh.set_command(in_file);
    const Result ssh = Rum({"ssh", "--", "-v", "ls"});
    EXPECT_EQ(ssh.exit_status, 7) << ssh.err;
    EXPECT_THAT(ssh.out, StartsWith(rum_.env["RUM_SSH"] + " runs\n-F\n/dev/null\n"));
    EXPECT_THAT(ssh.out, HasSubstr("\nrum-dev-0123456789ab\n-v\nls\n"));
    EXPECT_THAT(ssh.out, HasSubstr("SHELL=/bin/sh")) << "by which ssh runs its ProxyCommand";
  }
  controller_.ssh.set_command("ssh");
  rum_.env["RUM_SSH"] = "nowhere -v";
  const Result nowhere = Rum({"ssh"});
  EXPECT_EQ(nowhere.exit_status, 1);
  EXPECT_EQ(
      nowhere.err,
      "rum: nowhere -v: no such program in PATH; RUM_SSH names another one, without options\n");
}

TEST_F(FakeControllerTest, AnSshThatLiesInTheProjectIsNotTheOneFromPath) {
  Program("ssh");
  fs::create_directory(rum_.project() + "/bin");
  const std::string real = Program("bin/ssh");
  rum_.env["PATH"] = ".::bin:" + fs::path(real).parent_path().string();
  EXPECT_THAT(Rum({"ssh", "true"}).out, StartsWith(real + " runs\n"));
}

TEST_F(FakeControllerTest, WhatTheControllerSaysIsLookedAt) {
  rum_.env["RUM_SSH"] = Program("mine");
  controller_.ssh.set_host("-oProxyCommand=evil");
  EXPECT_THAT(Rum({"ssh"}).err, HasSubstr("ssh cannot be given such a host"));
  EXPECT_EQ(Rum({"ssh-config"}).out, "");
  controller_.ssh.set_host("rum-dev-0123456789ab");
  controller_.ssh.set_user("me\n  ProxyCommand evil");
  EXPECT_EQ(Rum({"ssh-config"}).out, "");
  EXPECT_EQ(Rum({"ssh-config"}).exit_status, 1);
}

TEST_F(FakeControllerTest, ALoopThatReadsKeepsItsInput) {
  const std::string loop = "printf 'a\\nb\\nc\\n' | while read word; do $0 -c dev.rum.toml ";
  Result result = Shell(loop + "exec -n echo $word; done");
  EXPECT_EQ(result.exit_status, 0) << result.err;
  ASSERT_EQ(controller_.Commands().size(), 3u);
  for (const agent::ExecStart& start : controller_.Commands()) EXPECT_TRUE(start.no_input());
  EXPECT_EQ(controller_.Commands()[2].argv(1), "c");
  EXPECT_EQ(result.out, "");
  result = Shell(loop + "exec cat; done");
  EXPECT_EQ(result.out, "b\nc\n") << "without it the command has the input";
  EXPECT_EQ(controller_.Commands().size(), 4u);
}

TEST_F(FakeControllerTest, ExecWithoutStandardStreamsRuns) {
  const Result result = Shell("exec $0 -c dev.rum.toml exec true <&- >&- 2>&-");
  EXPECT_EQ(result.exit_status, 0);
  ASSERT_EQ(controller_.Commands().size(), 1u);
  EXPECT_TRUE(controller_.Commands()[0].no_input());
}

TEST_F(FakeControllerTest, OutputOfAMachineThatNobodyGetsIsAFailure) {
  for (const std::string to : {">/dev/full", ">&-"}) {
    for (const std::string words : {"exec cat", "ssh-config", "log -f"}) {
      const Result result = Shell("echo hello | $0 -c dev.rum.toml " + words + " " + to);
      EXPECT_EQ(result.exit_status, 1) << words << to;
      EXPECT_THAT(result.err, StartsWith("rum: standard output: ")) << words << to;
    }
  }
}

TEST_F(FakeControllerTest, ANameAloneHasTheValueThatItHasHere) {
  rum_.env["TOKEN"] = "a=b c\n";
  rum_.env["EMPTY"] = "";
  const Result result =
      Rum({"exec", "-n", "--env", "TOKEN", "--env", "EMPTY", "--env", "NOT_SET", "--env", "HERE=1",
           "--env", "CLEARED=", "--env", "TWICE=1", "--env", "TWICE=2", "--env", "a.b=c", "env"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  ASSERT_EQ(controller_.Commands().size(), 1u);
  EXPECT_THAT(controller_.Commands()[0].env(),
              UnorderedElementsAre(Pair("TOKEN", "a=b c\n"), Pair("EMPTY", ""), Pair("HERE", "1"),
                                   Pair("CLEARED", ""), Pair("TWICE", "2"), Pair("a.b", "c")));
}

}  // namespace
}  // namespace rum
