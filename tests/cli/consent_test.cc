// What the user is asked before a file reaches his host, and how he answers; without any VM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

constexpr char kOpen[] = "[[ports]]\nhost = 8080\nguest = 80\nbind = \"0.0.0.0\"\n";
constexpr char kItem[] = "ports[0.0.0.0:8080]";
constexpr char kNothing[] = "the file reaches nothing that needs your word\n";

class ConsentTest : public testing::Test {
 protected:
  ConsentTest() { rum_.Write("dev.rum.toml", GoodToml() + kOpen); }
  static Words With(Words words) {
    words.insert(words.begin(), {"-c", "dev.rum.toml"});
    return words;
  }
  Result Rum(const Words& words) { return rum_.Rum(With(words)); }
  Result Typing(const std::string& answer, const Words& words) {
    return rum_.RumOnTerminal(With(words), answer);
  }
  std::string Listed() { return Rum({"trust", "--list"}).out; }

  Sandbox rum_;
};

TEST_F(ConsentTest, CheckSaysWhatWillBeAskedAndIsContent) {
  Result check = Rum({"check", "dev.rum.toml"});
  EXPECT_EQ(check.exit_status, 0);
  EXPECT_THAT(check.out,
              AllOf(HasSubstr("dev.rum.toml: ok\n"), HasSubstr(absl::StrCat("  note: ", kItem)),
                    HasSubstr("others in your network reach guest port 80")));
  rum_.Write("dev.rum.toml", GoodToml());
  check = Rum({"check", "dev.rum.toml"});
  EXPECT_EQ(check.out, "dev.rum.toml: ok\n");
  EXPECT_EQ(Rum({"trust"}).out, kNothing);
}

TEST_F(ConsentTest, WithoutATerminalNobodyIsAsked) {
  const Result trust = Rum({"trust"});
  EXPECT_EQ(trust.exit_status, 1);
  EXPECT_THAT(trust.out, HasSubstr(absl::StrCat("⚠ ", kItem, " needs your word")));
  EXPECT_THAT(trust.err, HasSubstr("`rum trust --all`"));
  EXPECT_THAT(Listed(), HasSubstr("needs your word")) << "still";
}

TEST_F(ConsentTest, IsGivenListedAndTakenBack) {
  const Result all = Rum({"trust", "--all"});
  EXPECT_EQ(all.exit_status, 0) << all.err;
  EXPECT_THAT(all.out, AllOf(HasSubstr(absl::StrCat("✓ ", kItem, " 0.0.0.0:8080 to guest port 80")),
                             Not(HasSubstr("needs your word"))));
  EXPECT_EQ(Listed(), all.out);
  EXPECT_THAT(Rum({"trust", "--list", "-o", "json"}).out, HasSubstr("\"consented\": [\n"));
  EXPECT_EQ(Rum({"controller", "stop"}).exit_status, 0);
  EXPECT_EQ(Listed(), all.out) << "it is in the record";
  EXPECT_THAT(Rum({"trust", "--revoke", "mounts"}).out, all.out) << "there is none of that";
  EXPECT_THAT(Rum({"trust", "--revoke", "ports"}).out, HasSubstr("needs your word"));
  for (const char* word : {"ports", "ports.bind", kItem}) {
    EXPECT_THAT(Rum({"trust", word}).out, HasSubstr("✓")) << word;
    EXPECT_THAT(Rum({"trust", "--revoke"}).out, Not(HasSubstr("✓"))) << word;
  }
}

TEST_F(ConsentTest, IsTakenBackAlsoWhereTheFileIsBroken) {
  EXPECT_EQ(Rum({"trust", "--all"}).exit_status, 0);
  rum_.Write("dev.rum.toml", "[image\n");
  const Result revoked = Rum({"trust", "--revoke"});
  EXPECT_EQ(revoked.exit_status, 1);
  EXPECT_THAT(revoked.err, HasSubstr("dev.rum.toml:1:"));
  EXPECT_EQ(revoked.out, kNothing);
}

TEST_F(ConsentTest, AFieldThatIsNotThereIsNamed) {
  for (const Words& words :
       {Words{"trust", "prts"}, {"up", "-d", "--trust=prts"}, {"apply", "--trust=prts"}}) {
    const Result result = Rum(words);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_THAT(result.err, HasSubstr("there is no field prts"));
  }
}

TEST_F(ConsentTest, AtATerminalItIsOneQuestion) {
  rum_.Write("dev.rum.toml", GoodToml() + kOpen +
                                 "[[mounts]]\nsource = \".\"\ntarget = \"/work\"\n"
                                 "[[mounts]]\nsource = \"..\"\ntarget = \"/more\"\n");
  for (const char* answer : {"\n", "n\n", "no\n", "x\n"}) {
    const Result no = Typing(answer, {"trust"});
    EXPECT_THAT(no.out, AllOf(HasSubstr("Allow? [y/N] "), HasSubstr(kItem),
                              HasSubstr("with the guest, which can write there"),
                              HasSubstr("the guest can write this file")));
    EXPECT_EQ(no.exit_status, 1) << answer;
  }
  EXPECT_THAT(Listed(), Not(HasSubstr("✓")));
  const Result yes = Typing("y\n", {"trust"});
  EXPECT_EQ(yes.exit_status, 0) << yes.out;
  EXPECT_THAT(Listed(), AllOf(HasSubstr(absl::StrCat("✓ ", kItem)), HasSubstr("✓ mounts[/more]"),
                              Not(HasSubstr("/work")), Not(HasSubstr("needs your word"))));
  EXPECT_THAT(Typing("", {"trust"}).out, Not(HasSubstr("Allow?"))) << "nothing is left to ask";
}

// The ssh that libvirt would start, in place of a host that there is not.
TEST_F(ConsentTest, ALibvirtElsewhereIsNotConnectedToBeforeConsent) {
  const std::string ran = rum_.project() + "/ran";
  fs::create_directory(rum_.project() + "/bin");
  const std::string ssh = rum_.Write("bin/ssh", "#!/bin/sh\n: >" + ran + "\nexit 1\n");
  fs::permissions(ssh, fs::perms(0755));
  rum_.env["PATH"] = rum_.project() + "/bin:" + rum_.env["PATH"];
  rum_.Write("dev.rum.toml",
             "[image]\nbase = \"debian-12\"\n[resources]\ncpus = 1\nmemory_mb = 512\n"
             "[advanced]\nlibvirt_uri = \"qemu+ssh://me@vm.example.org/system\"\n");
  for (const Words& words :
       {Words{"up", "-d"}, {"apply", "--dry-run"}, {"apply"}, {"down"}, {"destroy"}}) {
    const Result result = Rum(words);
    EXPECT_EQ(result.exit_status, 1) << words[0];
    EXPECT_THAT(result.err, AllOf(HasSubstr("waits for your word"),
                                  HasSubstr("works on the libvirt of vm.example.org, as me")));
  }
  EXPECT_THAT(Rum({"status"}).out, HasSubstr("needs your word"));
  EXPECT_EQ(Rum({"list"}).exit_status, 0);
  EXPECT_EQ(Rum({"check", "dev.rum.toml"}).exit_status, 0);
  EXPECT_FALSE(fs::exists(ran));
  const Result no = Typing("n\n", {"up", "-d"});
  EXPECT_THAT(no.out, AllOf(HasSubstr("Allow? [y/N]"), HasSubstr("waits for your word")));
  EXPECT_FALSE(fs::exists(ran));
  const Result trusted = Rum({"up", "-d", "--trust"});
  EXPECT_THAT(trusted.err,
              HasSubstr("allowed: advanced.libvirt_uri qemu+ssh://me@vm.example.org/system\n"));
  EXPECT_THAT(trusted.err, Not(HasSubstr("waits for your word")));
  EXPECT_TRUE(fs::exists(ran)) << trusted.err;
}

}  // namespace
}  // namespace rum
