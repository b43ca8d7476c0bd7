#include "cli/ssh_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

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
  EXPECT_THAT(SshWords(machine, {{"User", "me"}}, {}, true),
              ElementsAre("ssh", "-o", "User=me", machine.host()));
  machine.set_folder("/it's here");
  EXPECT_THAT(SshWords(machine, {}, {}, true),
              ElementsAre("ssh", "-t", machine.host(), "cd '/it'\\''s here'; exec \"$SHELL\" -l"));
  EXPECT_THAT(SshWords(machine, {}, {}, false), Not(Contains("-t")));
  EXPECT_THAT(SshWords(machine, {}, {"-L", "1:h:2", "ls", "-l"}, true),
              ElementsAre("ssh", machine.host(), "-L", "1:h:2", "ls", "-l"));
}

TEST(SshWords, AConfigIsABlockOfItsHost) {
  EXPECT_EQ(SshConfig("dev", {{"User", "me"}, {"IdentitiesOnly", "yes"}}),
            "Host dev\n  User me\n  IdentitiesOnly yes\n");
}

}  // namespace
}  // namespace rum
