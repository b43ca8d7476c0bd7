// `rum init`, `rum schema`, and what is said where there is no file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Words = std::vector<std::string>;

class InitTest : public testing::Test {
 protected:
  // Nothing of this needs a controller.
  void TearDown() override { EXPECT_TRUE(rum_.Controllers().empty()); }

  std::string Read(const std::string& name) const {
    std::ifstream file(rum_.project() + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  Sandbox rum_;
};

TEST_F(InitTest, WritesAFileThatCheckTakesAndSaysWhatToTypeNext) {
  const Result init = rum_.Rum({"init"});
  EXPECT_EQ(init.exit_status, 0) << init.err;
  EXPECT_EQ(init.out,
            "Wrote rum.toml: machine project, debian-12, 2 vCPUs, 2048 MiB\n"
            "Next: `rum up -d` makes and starts it; `rum doctor` looks at this host first\n");
  EXPECT_EQ(init.err, "");
  EXPECT_THAT(Read("rum.toml"), AllOf(Not(HasSubstr("#:schema")), HasSubstr("\ncpus = 2\n")));
  const Result check = rum_.Rum({"check"});
  EXPECT_EQ(check.exit_status, 0) << check.err;
  EXPECT_EQ(check.out, "rum.toml: ok\n");
}

TEST_F(InitTest, TakesItsOptions) {
  const Result init =
      rum_.Rum({"init", "--image", "./disk.qcow2", "--cpus", "1", "--memory", "512", "--disk", "8G",
                "--port", "8080:80", "--port", "5432", "--mount", ".", "--name", "dev"});
  EXPECT_EQ(init.exit_status, 0) << init.err;
  EXPECT_EQ(init.out,
            "Wrote dev.rum.toml: machine dev, ./disk.qcow2, 1 vCPU, 512 MiB\n"
            "Next: `rum -c dev.rum.toml up -d` makes and starts it; `rum doctor` looks at this "
            "host first\n");
  EXPECT_EQ(rum_.Rum({"check", "dev.rum.toml"}).out, "dev.rum.toml: ok\n");
  EXPECT_THAT(Read("dev.rum.toml"), AllOf(HasSubstr("memory_mb = 512\ndisk = \"8G\"\n"),
                                          HasSubstr("host = 8080\nguest = 80\n"),
                                          HasSubstr("target = \"/work\"\ndefault = true\n")));
}

TEST_F(InitTest, ProposesThePortsOfTheFolder) {
  rum_.Write("compose.yaml", "services:\n  web:\n    ports: ['8080:80']\n");
  const Result init = rum_.Rum({"init", "-q"});
  EXPECT_EQ(init.exit_status, 0);
  EXPECT_EQ(init.out, "");
  EXPECT_THAT(Read("rum.toml"), HasSubstr("# compose.yaml publishes it (web):\n#[[ports]]\n"));
  fs::remove(rum_.project() + "/rum.toml");
  EXPECT_THAT(rum_.Rum({"init"}).out,
              HasSubstr("  compose.yaml publishes it (web): port 8080 is in it as an example\n"));
  EXPECT_THAT(rum_.Rum({"init", "--name", "b", "--port", "8080:80"}).out,
              Not(HasSubstr("example")));
}

TEST_F(InitTest, ForPrograms) {
  const Result init = rum_.Rum({"init", "-o", "json"});
  EXPECT_THAT(init.out, AllOf(HasSubstr("\"version\": 1"), HasSubstr("\"machine\": \"project\""),
                              HasSubstr("/project/rum.toml\"")));
}

TEST_F(InitTest, NeverOverwritesAnything) {
  rum_.Write("rum.toml", "mine");
  Result init = rum_.Rum({"init"});
  EXPECT_EQ(init.exit_status, 1);
  EXPECT_EQ(init.out, "");
  EXPECT_EQ(init.err,
            "rum: rum.toml is there already and was left as it is: `rum check` reads it, `rum up` "
            "starts its machine; `rum init --name NAME` writes NAME.rum.toml beside it\n");
  EXPECT_EQ(Read("rum.toml"), "mine");
  fs::create_symlink("elsewhere.toml", rum_.project() + "/link.toml");
  init = rum_.Rum({"init", "-f", "link.toml"});
  EXPECT_EQ(init.exit_status, 1);
  EXPECT_THAT(init.err, HasSubstr("link.toml is there already"));
  EXPECT_FALSE(fs::exists(rum_.project() + "/elsewhere.toml"));
  fs::create_directory(rum_.project() + "/folder.toml");
  EXPECT_THAT(rum_.Rum({"init", "-f", "folder.toml"}).err, HasSubstr("is there already"));
}

TEST_F(InitTest, WhatWouldNotBeValidIsRefusedInTheWordsOfItsOptionAndNothingIsWritten) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--cpus", "0"}, "--cpus must be at least 1 (got 0)"},
      {{"--memory", "128"}, "--memory must be at least 256 (got 128)"},
      {{"--memory", "lots"}, "--memory \"lots\" is no amount of memory"},
      {{"--disk", "20"}, "\"20G\" is a usual size"},
      {{"--image", ""}, "--image must not be empty"},
      {{"--port", "http"}, "--port \"http\" is no port: 8080:80 leads"},
      {{"--port", "70000:80"}, "must be from 1 to 65535"},
      {{"--port", "80", "--port", "80"}, "collides"},
      {{"--mount", "nowhere"}, "there is none at "},
      {{"--mount", ".:work"}, "there is none at "},
      {{"--mount", ".:/etc"}, "the guest does not live without"},
      {{"--name", "a/b"}, "--name \"a/b\""},
      {{"--name", "ä"}, "a machine's name is made of letters"},
      {{"--image", "\xff.qcow2"}, "is not UTF-8"},
      {{"--ask"}, "--ask needs a terminal"},
  };
  for (const auto& [options, message] : cases) {
    Words words = {"init"};
    words.insert(words.end(), options.begin(), options.end());
    const Result init = rum_.Rum(words);
    EXPECT_EQ(init.exit_status, 2) << message;
    EXPECT_EQ(init.out, "") << message;
    EXPECT_THAT(init.err, AllOf(HasSubstr(message), HasSubstr("nothing was written"))) << message;
  }
  EXPECT_TRUE(fs::is_empty(rum_.project()));
  EXPECT_EQ(rum_.Rum({"init", "-f", "rum.yaml"}).exit_status, 1);
  EXPECT_THAT(rum_.Rum({"init", "-f", "no/rum.toml"}).err, HasSubstr("its folder: No such file"));
}

TEST_F(InitTest, InFoldersOfEveryNameTheFileIsValid) {
  Words check = {"-q", "check"};
  for (const std::string name :
       {"2024", "my project", "größe", "日本", "-", "--help", ".hidden", "a'b\"c", "$(x)",
        "localhost", "UPPER_case.d", "\\", "#[x]", "  "}) {
    fs::create_directory(rum_.project() + "/" + name);
    const std::string file = "./" + name + "/rum.toml";
    const Result init = rum_.Rum({"init", "-f", file, "--mount", "."});
    EXPECT_EQ(init.exit_status, 0) << name << init.err;
    check.push_back(file);
  }
  const std::string longest = rum_.project() + "/" + std::string(255, 'x');
  fs::create_directory(longest);
  EXPECT_EQ(rum_.Rum({"init", "-f", longest + "/rum.toml"}).exit_status, 0);
  check.push_back(longest + "/rum.toml");
  const Result checked = rum_.Rum(check);
  EXPECT_EQ(checked.exit_status, 0) << checked.err;
  EXPECT_EQ(rum_.Rum({"init", "-f", "."}).exit_status, 1);
}

TEST_F(InitTest, AsksAtATerminalAndAgainWhereAnAnswerWillNotDo) {
  const Result init = rum_.RumOnTerminal({"init", "--ask"}, "\n0\n4\nmuch\n1G\n\n8080:80 90\ny\n");
  EXPECT_EQ(init.exit_status, 0) << init.out;
  EXPECT_THAT(init.out, AllOf(HasSubstr("Image: a shorthand, a path or a URL [debian-12]: "),
                              HasSubstr("must be at least 1 (got 0)"),
                              HasSubstr("is no amount of memory"), HasSubstr("Next: `rum up -d`")));
  EXPECT_THAT(Read("rum.toml"),
              AllOf(HasSubstr("cpus = 4\nmemory_mb = 1024\n"), HasSubstr("host = 90\nguest = 90\n"),
                    HasSubstr("target = \"/work\"\n")));
  EXPECT_EQ(rum_.Rum({"check"}).exit_status, 0);
}

TEST_F(InitTest, AnAnswerThatDoesNotComeWritesNothing) {
  const Result init = rum_.RumOnTerminal({"init", "--ask"}, "\n\n\x04");
  EXPECT_EQ(init.exit_status, 1);
  EXPECT_THAT(init.out, HasSubstr("not all was answered: nothing was written"));
  EXPECT_TRUE(fs::is_empty(rum_.project()));
}

TEST_F(InitTest, WithoutAFileCommandsProposeItAndStartNoController) {
  for (const Words& words : {Words{"up", "-d"},
                             {"up"},
                             {"apply"},
                             {"apply", "--dry-run"},
                             {"provision"},
                             {"trust", "--list"}}) {
    const Result result = rum_.Rum(words);
    EXPECT_EQ(result.exit_status, 1) << words[0];
    EXPECT_EQ(result.out, "") << words[0];
    EXPECT_EQ(result.err,
              "rum: there is no rum.toml here, and no machine was made from it: `rum init` writes "
              "a first one\n");
  }
  rum_.Write("dev.rum.toml", GoodToml());
  EXPECT_THAT(rum_.Rum({"up"}).err,
              HasSubstr("\n  here is dev.rum.toml: `rum -c dev.rum.toml COMMAND`\n"));
}

TEST_F(InitTest, SchemaPrintsJson) {
  const Result schema = rum_.Rum({"schema"});
  EXPECT_EQ(schema.exit_status, 0);
  EXPECT_THAT(schema.out, AllOf(StartsWith("{\n \"$schema\": "), HasSubstr("draft-04")));
}

}  // namespace
}  // namespace rum
