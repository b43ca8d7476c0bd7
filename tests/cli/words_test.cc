// What rum says to words and files, without any controller.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Words = std::vector<std::string>;

class WordsTest : public testing::Test {
 protected:
  // Reading needs no controller and leaves nothing behind.
  void TearDown() override {
    EXPECT_TRUE(rum_.Controllers().empty());
    EXPECT_FALSE(std::filesystem::exists(rum_.state()));
    EXPECT_FALSE(std::filesystem::exists(rum_.runtime()));
  }

  Sandbox rum_;
};

TEST_F(WordsTest, HelpOfEveryCommand) {
  for (const std::string command :
       {"",        "up",        "apply",  "reload",  "status", "down",      "restart",
        "destroy", "provision", "log",    "exec",    "cp",     "ssh",       "ssh-config",
        "list",    "adopt",     "shell",  "console", "open",   "diff",      "stats",
        "check",   "explain",   "schema", "init",    "doctor", "controller"}) {
    const Result help = rum_.Rum(command.empty() ? Words{"--help"} : Words{command, "--help"});
    EXPECT_EQ(help.exit_status, 0) << command;
    EXPECT_THAT(help.out, HasSubstr("Usage: rum")) << command;
    EXPECT_EQ(help.err, "") << command;
  }
  for (const std::string command : {"run", "status", "stop"}) {
    const Result help = rum_.Rum({"controller", command, "--help"});
    EXPECT_EQ(help.exit_status, 0) << command;
    EXPECT_THAT(help.out, HasSubstr("Usage: rum controller " + command));
  }
}

TEST_F(WordsTest, HelpOfExecIsRumsOnlyBeforeTheCommand) {
  EXPECT_THAT(rum_.Rum({"exec", "--help"}).out, HasSubstr("--user"));
  const Result run = rum_.Rum({"-c", "dev.rum.txt", "exec", "ls", "--help"});
  EXPECT_EQ(run.exit_status, 1);
  EXPECT_EQ(run.out, "");
}

TEST_F(WordsTest, TellsItsVersion) {
  const Result version = rum_.Rum({"--version"});
  EXPECT_EQ(version.exit_status, 0);
  EXPECT_THAT(version.out, testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(WordsTest, WrongUsageEndsWith2AndNamesTheWord) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{}, "A subcommand is required"},
      {{"up", "--drives"}, "--reset"},
      {{"stauts"}, "has no command stauts (did you mean `status`?)"},
      {{"relaod"}, "has no command relaod (did you mean `reload`?)"},
      {{"frobnicate"}, "has no command frobnicate\n"},
      {{"\033[2J"}, "has no command \\x1b[2J"},
      {{"up", "--detatch"}, "`rum up` does not take --detatch (did you mean `--detach`?)"},
      {{"up", "--dry-run"}, "`rum up` does not take --dry-run"},
      {{"apply", "--dry-rum"}, "(did you mean `--dry-run`?)"},
      {{"status", "--colour", "never"}, "does not take --colour (did you mean `--color`?)"},
      {{"status", "-x"}, "`rum status` does not take -x"},
      {{"down", "dev"}, "`rum down` does not take dev"},
      {{"explain", "ports", "user"}, "does not take user"},
      {{"controller"}, "A subcommand is required"},
      {{"controller", "stpo"}, "`rum controller` has no command stpo (did you mean `stop`?)"},
      {{"exec"}, "COMMAND is required"},
      {{"exec", "--"}, "COMMAND is required"},
      {{"exec", "--usr", "x", "ls"}, "(did you mean `--user`?)"},
      {{"exec", "-n", "-t", "ls"}, "excludes"},
      {{"exec", "--env", "=1", "ls"}, "--env =1: expected NAME=VALUE, or NAME"},
      {{"exec", "--env", "", "ls"}, "--env : expected NAME=VALUE"},
      {{"exec", "--env", "A B=1", "ls"}, "--env A B=1: expected"},
      {{"exec", "--env", "A\t", "ls"}, "expected NAME=VALUE"},
      {{"ssh-config", "--host", "*"}, "--host: a name of one host"},
      {{"status", "-c"}, "--config"},
      {{"-o", "yaml", "status"}, "yaml is none of text, json"},
      {{"-o", "jsn", "status"}, "jsn is none of text, json (did you mean `json`?)"},
      {{"--color", "sometimes", "status"}, "sometimes"},
      {{"status", "--wait", "Redy"}, "(did you mean `Ready`?)"},
      {{"status", "dev"}, "--wait"},
      {{"up", "--timeout", "0"}, "--timeout"},
      {{"shel"}, "(did you mean `shell`?)"},
      {{"shell", "--usr", "x"}, "(did you mean `--user`?)"},
      {{"open", "80", "81"}, "does not take 81"},
  };
  for (const auto& [words, message] : cases) {
    const Result result = rum_.Rum(words);
    EXPECT_EQ(result.exit_status, 2) << message;
    EXPECT_EQ(result.out, "") << message;
    EXPECT_THAT(result.err, StartsWith("rum: "));
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_THAT(result.err, HasSubstr("--help` says more\n"));
  }
}

TEST_F(WordsTest, CheckAcceptsGoodFiles) {
  rum_.Write("rum.toml", GoodToml());
  rum_.Write("two.rum.toml", GoodToml());
  Result check = rum_.Rum({"check"});
  EXPECT_EQ(check.exit_status, 0);
  EXPECT_EQ(check.out, "rum.toml: ok\n");
  check = rum_.Rum({"check", "two.rum.toml", "./rum.toml"});
  EXPECT_EQ(check.exit_status, 0);
  EXPECT_EQ(check.out, "two.rum.toml: ok\n./rum.toml: ok\n");
  EXPECT_EQ(check.err, "");
  EXPECT_EQ(rum_.Rum({"check", "-c", "two.rum.toml"}).out, "two.rum.toml: ok\n");
  EXPECT_EQ(rum_.Rum({"-q", "check"}).out, "");
}

TEST_F(WordsTest, CheckPrintsEveryProblemOfEveryFileUnderTheNameThatWasTyped) {
  rum_.Write("good.toml", GoodToml());
  rum_.Write("one.toml",
             "[image]\nbase = 7\n[resources]\ncpus = 0\nmemory_mb = 512\ndiks = 1\n"
             "[[ports]]\nhost = 8080\nguest = 99999\n");
  rum_.Write("two.rum.toml", "[image\n");
  const Result check = rum_.Rum(
      {"check", "one.toml", "good.toml", "../project/two.rum.toml", "gone.toml", "rum.json"});
  EXPECT_EQ(check.exit_status, 1);
  EXPECT_EQ(check.out, "good.toml: ok\n");
  for (const char* message :
       {"one.toml:2:8: error: ", "    2 | base = 7\n      |        ^",
        "one.toml:4:8: error: ", "one.toml:6:1: error: ", "disk", "one.toml:9:9: error: ",
        "../project/two.rum.toml:1:", "gone.toml: error: cannot be read: No such file",
        "rum.json: the name of a machine's file must end in .toml"}) {
    EXPECT_THAT(check.err, HasSubstr(message));
  }
  EXPECT_THAT(check.err, Not(HasSubstr(rum_.project())));
}

// A machine that has its disk goes on with such a file; no new one is made of it.
TEST_F(WordsTest, CheckRefusesAnImageThatWhoeverIsOnTheWayCanExchange) {
  const auto with = [](const std::string& image) {
    return "[image]\n" + image + "\n[resources]\ncpus = 1\nmemory_mb = 512\n";
  };
  rum_.Write("rum.toml", with("base = \"http://u:s3cret@example.org/a.qcow2\""));
  const Result check = rum_.Rum({"check"});
  EXPECT_EQ(check.exit_status, 1);
  EXPECT_EQ(check.out, "");
  EXPECT_THAT(check.err,
              HasSubstr("rum.toml:2:8: error: image.sha256 is missing: whoever is on "
                        "the way can send another image than http://example.org/a.qcow2"));
  EXPECT_THAT(check.err, Not(HasSubstr("s3cret")));
  for (const std::string& image :
       {"base = \"http://example.org/a.qcow2\"\nsha256 = \"" + std::string(64, 'a') + "\"",
        std::string("base = \"http://127.0.0.1:8000/a.qcow2\""),
        std::string("base = \"https://example.org/a.qcow2\"")}) {
    rum_.Write("rum.toml", with(image));
    EXPECT_EQ(rum_.Rum({"check"}).exit_status, 0) << image;
  }
}

TEST_F(WordsTest, CheckOfWhatIsNoFile) {
  std::filesystem::create_directory(rum_.project() + "/folder.toml");
  const Result check = rum_.Rum({"check", "folder.toml", "nowhere/x.toml"});
  EXPECT_EQ(check.exit_status, 1);
  EXPECT_THAT(check.err, HasSubstr("folder.toml: error: cannot be read: Is a directory"));
  EXPECT_THAT(check.err, HasSubstr("nowhere/x.toml: its folder: No such file or directory"));
}

TEST_F(WordsTest, CheckShowsNoEscapeSequencesOfAFile) {
  rum_.Write("dev.rum.toml", "[image]\nbase = \"\033]0;pwned\007\xFF\"\n");
  const Result check = rum_.Rum({"check", "dev.rum.toml", "\033[2J.toml"});
  EXPECT_EQ(check.exit_status, 1);
  EXPECT_THAT(check.err, HasSubstr("dev.rum.toml:2:"));
  EXPECT_THAT(check.err, HasSubstr("]0;pwned"));
  EXPECT_THAT(check.err, HasSubstr("\\x1b[2J.toml: "));
  EXPECT_THAT(check.err, Not(HasSubstr("\033")));
}

TEST_F(WordsTest, ExplainsAFieldATableAndAll) {
  Result explain = rum_.Rum({"explain", "resources.memory_mb"});
  EXPECT_EQ(explain.exit_status, 0);
  EXPECT_THAT(explain.out, StartsWith("resources.memory_mb  ("));
  EXPECT_THAT(explain.out, HasSubstr("effect of a change: live within room (up to"));
  explain = rum_.Rum({"explain", "ports"});
  EXPECT_THAT(explain.out, HasSubstr("ports[].bind"));
  EXPECT_THAT(explain.out, HasSubstr("effect of a change: live\n"));
  explain = rum_.Rum({"explain"});
  EXPECT_EQ(explain.exit_status, 0);
  for (const char* effect : {"live\n", "live, opt-in — ", "restart — ", "recreate — ", "none"}) {
    EXPECT_THAT(explain.out, HasSubstr(std::string("effect of a change: ") + effect));
  }
}

TEST_F(WordsTest, ExplainKnowsTheNearestField) {
  const Result explain = rum_.Rum({"explain", "resources.memry_mb"});
  EXPECT_EQ(explain.exit_status, 1);
  EXPECT_EQ(explain.out, "");
  EXPECT_THAT(explain.err, HasSubstr("did you mean `resources.memory_mb`?"));
}

TEST_F(WordsTest, ExplainIsAsciiWithoutAUtf8Terminal) {
  rum_.env["LC_ALL"] = "C";
  for (const char c : rum_.Rum({"explain"}).out) ASSERT_LT(static_cast<unsigned char>(c), 0x80);
}

}  // namespace
}  // namespace rum
