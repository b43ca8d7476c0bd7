#include "cli/ssh_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;
using testing::StartsWith;

control::SshReply Machine() {
  control::SshReply machine;
  machine.set_host("rum-dev-0123456789ab");
  machine.set_user("me");
  machine.set_command("ssh");
  machine.set_key_path("/state/keys/id/id_ed25519");
  machine.set_known_hosts_path("/state/keys/id/known_hosts");
  return machine;
}

std::string Output(const std::string& command) {
  std::string output;
  std::array<char, 4096> buffer{};
  FILE* pipe = popen(command.c_str(), "r");
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    output.append(buffer.data(), n);
  pclose(pipe);
  return output;
}

// The words behind those that all have in common.
std::vector<std::string> Behind(const std::vector<std::string>& words) {
  EXPECT_THAT(std::vector<std::string>(words.begin(), words.begin() + 5),
              ElementsAre("ssh", "-F", "/dev/null", "-o", "SendEnv=LANG LC_*"));
  return {words.begin() + 5, words.end()};
}

TEST(SshWords, AShellGivesAWordBackWhateverIsInIt) {
  for (const std::string& word : {std::string("plain"), std::string(""), std::string("a b"),
                                  std::string("it's"), std::string("$(reboot) `id` \\ \" ; & |"),
                                  std::string("line\nline"), std::string("\xFF")}) {
    EXPECT_EQ(Output("printf %s " + ShellWord(word)), word);
  }
}

TEST(SshWords, TheHostsKeyMustBeKnownAndNoOtherOfOursIsTried) {
  const auto options = OptionsFor(Machine(), {"/usr/bin/rum", "proxy", "22"});
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(*options, Contains(Pair("StrictHostKeyChecking", "yes")));
  EXPECT_THAT(*options, Contains(Pair("HostKeyAlias", "rum-dev-0123456789ab")));
  EXPECT_THAT(*options, Contains(Pair("UserKnownHostsFile", "\"/state/keys/id/known_hosts\"")));
  EXPECT_THAT(*options, Contains(Pair("IdentitiesOnly", "yes")));
  EXPECT_THAT(*options, Contains(Pair("ProxyCommand", "'/usr/bin/rum' 'proxy' '22'")));
}

// What ssh itself makes of them.
TEST(SshWords, OddPathsReachSshAsTheyAre) {
  control::SshReply machine = Machine();
  machine.set_key_path("/a b/%h \"x\" it's/key");
  const auto options = OptionsFor(machine, {"/bin/echo", "a 'b' %h"});
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(*options, Contains(Pair("IdentityFile", "\"/a b/%%h \\\"x\\\" it's/key\"")));
  std::string command = "ssh -F /dev/null -G";
  for (const auto& [name, value] : *options) command += " -o " + ShellWord(name + "=" + value);
  const std::string seen = Output(command + " host 2>&1");
  EXPECT_THAT(seen, HasSubstr("identityfile /a b/%%h \"x\" it's/key\n"));
  EXPECT_THAT(seen, HasSubstr("proxycommand '/bin/echo' 'a '\\''b'\\'' %%h'\n"));
  EXPECT_THAT(seen, HasSubstr("stricthostkeychecking true\n"));
}

TEST(SshWords, APathThatSshWouldReadAsSomethingElseIsRefused) {
  control::SshReply machine = Machine();
  machine.set_key_path("/a/${HOME}/key");
  EXPECT_EQ(OptionsFor(machine, {"rum"}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OptionsFor(Machine(), {"rum", "-c", "a\nb"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SshWords, AShellStartsInTheMachinesFolderAndOtherWordsAreSshs) {
  control::SshReply machine = Machine();
  EXPECT_THAT(Behind(SshWords("ssh", machine, {{"User", "me"}}, {}, true)),
              ElementsAre("-o", "User=me", machine.host()));
  machine.set_folder("/it's here");
  EXPECT_THAT(Behind(SshWords("ssh", machine, {}, {}, true)),
              ElementsAre("-t", machine.host(), "cd '/it'\\''s here'; exec \"$SHELL\" -l"));
  EXPECT_THAT(SshWords("ssh", machine, {}, {}, false), Not(Contains("-t")));
  EXPECT_THAT(Behind(SshWords("ssh", machine, {}, {"-L", "1:h:2", "ls", "-l"}, true)),
              ElementsAre(machine.host(), "-L", "1:h:2", "ls", "-l"));
}

TEST(SshWords, AConfigIsABlockOfItsHost) {
  EXPECT_THAT(SshConfig("dev", {{"User", "me"}, {"IdentitiesOnly", "yes"}}),
              StartsWith("Host dev\n  User me\n  IdentitiesOnly yes\n"));
  for (const char* good : {"dev", "my.box-2", "me@box"}) EXPECT_TRUE(IsHostAlias(good)) << good;
  for (const char* bad : {"", "*", "a b", "a\nUser root", "?", "!dev", "a,b", "\"a\"", "-a"})
    EXPECT_FALSE(IsHostAlias(bad)) << bad;
}

// What a user has for all hosts, each by a mark that nothing of ours has.
constexpr char kForAllHosts[] =
    "Host *\n"
    "  User evil\n  HostName evil.example\n  Port 666\n  ProxyJump evil.example\n"
    "  ProxyUseFdpass yes\n  ControlMaster auto\n  ControlPath /tmp/evil-%r@%h:%p\n"
    "  ControlPersist 666\n  RemoteCommand evil\n  RequestTTY force\n  PermitLocalCommand yes\n"
    "  StdinNull yes\n  ForkAfterAuthentication yes\n  HostKeyAlias evil\n"
    "  StrictHostKeyChecking no\n  UserKnownHostsFile /evil\n  GlobalKnownHostsFile /evil\n"
    "  KnownHostsCommand /evil\n  UpdateHostKeys yes\n  VerifyHostKeyDNS yes\n  CheckHostIP yes\n"
    "  NoHostAuthenticationForLocalhost yes\n  CanonicalizeHostname always\n  IdentitiesOnly no\n"
    "  AddKeysToAgent yes\n  PKCS11Provider /evil.so\n  PubkeyAuthentication no\n"
    "  PreferredAuthentications hostbased\n"
    "Match exec true\n  User evil2\n  ControlPath /evil2\n";

class UsersConfigTest : public testing::Test {
 protected:
  UsersConfigTest() {
    auto options = OptionsFor(Machine(), {"/usr/bin/rum", "proxy", "22"});
    EXPECT_TRUE(options.ok());
    options_ = *std::move(options);
  }
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  // What the real ssh makes of words, in order of their names.
  static std::string Seen(const std::vector<std::string>& words) {
    std::string command;
    for (const std::string& word : words) command += ShellWord(word) + " ";
    return Output(command + "</dev/null 2>&1 | sort");
  }

  SshOptions options_;
};

TEST_F(UsersConfigTest, NothingForAllHostsChangesABlockThatComesFirst) {
  const std::string block = SshConfig("dev", options_);
  const std::string alone = Seen({"ssh", "-G", "-F", Write("alone", block), "dev"});
  EXPECT_THAT(alone, HasSubstr("hostname rum-dev-0123456789ab\n"));
  EXPECT_THAT(alone, HasSubstr("controlmaster false\n"));
  EXPECT_EQ(
      Seen({"ssh", "-G", "-F",
            Write("both", block + kForAllHosts + "Host *\n  SessionType none\n  Tunnel yes\n"),
            "dev"}),
      Seen({"ssh", "-G", "-F", Write("alone", block + "Host *\n"), "dev"}));
  EXPECT_THAT(Seen({"ssh", "-G", "-F", Write("hostile", kForAllHosts), "dev"}), HasSubstr("evil"))
      << "else this shows nothing";
}

TEST_F(UsersConfigTest, RumSshReadsNoneAndOneThatIsBroughtBackChangesNothing) {
  const std::vector<std::string> plain = SshWords("ssh", Machine(), options_, {"-G"}, false);
  EXPECT_THAT(std::vector<std::string>(plain.begin(), plain.begin() + 3),
              ElementsAre("ssh", "-F", "/dev/null"));
  const std::string path = Write("hostile", kForAllHosts);
  EXPECT_EQ(Seen(SshWords("ssh", Machine(), options_, {"-G", "-F", path}, false)), Seen(plain));
  EXPECT_THAT(Seen(SshWords("ssh", Machine(), options_, {"-G", "-F", "/dev/null"}, false)),
              HasSubstr("sendenv LANG\n"));
}

// %h, %n and %C of a control path, whoever sets it.
TEST_F(UsersConfigTest, TwoMachinesHaveTwoAddresses) {
  control::SshReply other = Machine();
  other.set_host("rum-dev-ba9876543210");
  const auto options = OptionsFor(other, {"/usr/bin/rum", "proxy", "22"});
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(Seen(SshWords("ssh", other, *options, {"-G"}, false)),
              HasSubstr("\nhostname rum-dev-ba9876543210\n"));
  EXPECT_THAT(Seen(SshWords("ssh", Machine(), options_, {"-G"}, false)),
              HasSubstr("\nhostname rum-dev-0123456789ab\n"));
}

TEST_F(UsersConfigTest, OptionsOfSshStillDoWhatTheyDo) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"-tt", "requesttty force"},
      {"-T", "requesttty false"},
      {"-N", "sessiontype none"},
      {"-s", "sessiontype subsystem"},
      {"-n", "stdinnull yes"},
      {"-A", "forwardagent yes"},
      {"-f", "forkafterauthentication yes"},
      {"-w5:6", "tunnel point-to-point"},
      {"-L1234:localhost:80", "localforward 1234 [localhost]:80"},
      {"-oServerAliveInterval=7", "serveraliveinterval 7"}};
  for (const auto& [option, line] : cases) {
    EXPECT_THAT(Seen(SshWords("ssh", Machine(), options_, {"-G", option, "true"}, false)),
                HasSubstr("\n" + line + "\n"))
        << option;
  }
}

TEST(SshWords, WhatNoMachineOfOursHasIsNotGivenToSsh) {
  const std::vector<std::function<void(control::SshReply*)>> lies = {
      [](control::SshReply* m) { m->set_host("-oProxyCommand=evil"); },
      [](control::SshReply* m) { m->set_host(""); },
      [](control::SshReply* m) { m->set_host("*"); },
      [](control::SshReply* m) { m->set_host("a\nProxyCommand evil"); },
      [](control::SshReply* m) { m->set_user("-l"); },
      [](control::SshReply* m) { m->set_user(""); },
      [](control::SshReply* m) { m->set_user("$(evil)"); },
      [](control::SshReply* m) { m->set_user("me\n  ProxyCommand evil"); },
      [](control::SshReply* m) { m->set_user("%h"); },
      [](control::SshReply* m) { m->set_key_path("key"); },
      [](control::SshReply* m) { m->set_key_path(""); },
      [](control::SshReply* m) { m->set_known_hosts_path("~/.ssh/known_hosts"); },
      [](control::SshReply* m) { m->set_known_hosts_path("/a\r"); },
  };
  for (size_t i = 0; i < lies.size(); ++i) {
    control::SshReply machine = Machine();
    lies[i](&machine);
    EXPECT_EQ(OptionsFor(machine, {"rum"}).status().code(), absl::StatusCode::kInvalidArgument)
        << i;
  }
}

TEST(SshWords, AFileNamesOnlyAProgramThatTheUserNamed) {
  EXPECT_EQ(*SshProgram("ssh", nullptr), "ssh");
  EXPECT_EQ(*SshProgram("", ""), "ssh");
  EXPECT_EQ(*SshProgram("ssh", "/opt/ssh"), "/opt/ssh");
  EXPECT_EQ(*SshProgram("/opt/ssh", "/opt/ssh"), "/opt/ssh");
  for (const char* evil : {"make", "./ssh", "/bin/sh", "ssh ", "../ssh"}) {
    for (const char* environment : {static_cast<const char*>(nullptr), "", "ssh", "/opt/ssh"}) {
      const auto program = SshProgram(evil, environment);
      EXPECT_EQ(program.status().code(), absl::StatusCode::kFailedPrecondition) << evil;
      EXPECT_THAT(std::string(program.status().message()), HasSubstr("RUM_SSH"));
    }
  }
}

TEST(SshWords, AProgramIsNotFoundWhereWeHappenToBe) {
  EXPECT_EQ(FindProgram("sh", "/nowhere:/bin:/usr/bin"), "/bin/sh");
  EXPECT_EQ(FindProgram("sh", nullptr), "/usr/bin/sh");
  EXPECT_EQ(FindProgram("./sh", "/bin"), "./sh") << "what the user typed stands";
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path("/bin");
  for (const char* path : {".", "", ":", "::", ".:", "../bin", "/nowhere:"})
    EXPECT_EQ(FindProgram("sh", path), "") << path;
  std::filesystem::current_path(before);
}

}  // namespace
}  // namespace rum
