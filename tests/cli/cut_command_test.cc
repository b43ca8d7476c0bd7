#include "cli/cut_command.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

using Words = std::vector<std::string>;

struct Case {
  Words words;
  Words ours;
  Words command;
};

class CutCommandTest : public testing::TestWithParam<Case> {};

TEST_P(CutCommandTest, OptionsBelongToTheSideOfTheCommandThatTheyStandOn) {
  Words command;
  EXPECT_EQ(CutCommand(GetParam().words, &command), GetParam().ours);
  EXPECT_EQ(command, GetParam().command);
}

INSTANTIATE_TEST_SUITE_P(
    Exec, CutCommandTest,
    testing::Values(
        Case{{"exec", "ls"}, {"exec"}, {"ls"}},
        Case{{"exec", "ls", "-c", "--help"}, {"exec"}, {"ls", "-c", "--help"}},
        Case{{"exec", "-t", "ls", "-t"}, {"exec", "-t"}, {"ls", "-t"}},
        Case{{"exec", "-n", "ls", "-n"}, {"exec", "-n"}, {"ls", "-n"}},
        Case{{"exec", "--no-input", "--env", "A", "env"},
             {"exec", "--no-input", "--env", "A"},
             {"env"}},
        Case{{"exec", "--", "ls", "--", "x"}, {"exec"}, {"ls", "--", "x"}},
        Case{{"exec", "--", "-odd"}, {"exec"}, {"-odd"}},
        Case{{"exec", "--user", "me", "id"}, {"exec", "--user", "me"}, {"id"}},
        Case{{"exec", "--timeout", "5", "ls", "-l"}, {"exec", "--timeout", "5"}, {"ls", "-l"}},
        Case{{"shell"}, {"shell"}, {}},
        Case{{"shell", "--user", "me", "ls", "-m"}, {"shell", "--user", "me"}, {"ls", "-m"}},
        Case{{"-m", "shell", "shell", "--", "-l"}, {"-m", "shell", "shell"}, {"-l"}},
        Case{{"ssh"}, {"ssh"}, {}}, Case{{"ssh", "--", "-v", "ls"}, {"ssh"}, {"-v", "ls"}},
        Case{{"ssh", "ls", "-l"}, {"ssh"}, {"ls", "-l"}},
        Case{{"ssh-config", "--host", "x"}, {"ssh-config", "--host", "x"}, {}},
        Case{{"-m", "exec", "exec", "-m", "dev", "ls", "-m"},
             {"-m", "exec", "exec", "-m", "dev"},
             {"ls", "-m"}},
        Case{{"--machine", "dev", "ssh", "ls"}, {"--machine", "dev", "ssh"}, {"ls"}},
        Case{{"exec", "--user=me", "id"}, {"exec", "--user=me"}, {"id"}},
        Case{{"exec", "--env", "A=1", "--env", "B=2", "--cwd", "/", "env", "-i"},
             {"exec", "--env", "A=1", "--env", "B=2", "--cwd", "/"},
             {"env", "-i"}},
        Case{{"-c", "exec", "exec", "exec"}, {"-c", "exec", "exec"}, {"exec"}},
        Case{{"-cfile.toml", "exec", "ls"}, {"-cfile.toml", "exec"}, {"ls"}},
        Case{{"-qc", "file.toml", "exec", "ls"}, {"-qc", "file.toml", "exec"}, {"ls"}},
        Case{{"exec", "-c", "file.toml", "ls"}, {"exec", "-c", "file.toml"}, {"ls"}},
        Case{{"--color", "never", "-q", "exec", "-v", "sh", "-c", "exit 3"},
             {"--color", "never", "-q", "exec", "-v"},
             {"sh", "-c", "exit 3"}},
        Case{{"exec", "", "x"}, {"exec"}, {"", "x"}},
        Case{{"exec", "-", "x"}, {"exec"}, {"-", "x"}}));

INSTANTIATE_TEST_SUITE_P(
    NothingToCut, CutCommandTest,
    testing::Values(Case{{}, {}, {}}, Case{{"exec"}, {"exec"}, {}},
                    Case{{"exec", "--"}, {"exec"}, {}},
                    Case{{"exec", "--help"}, {"exec", "--help"}, {}},
                    Case{{"exec", "--user"}, {"exec", "--user"}, {}},
                    Case{{"-c", "f", "status"}, {"-c", "f", "status"}, {}},
                    Case{{"check", "exec", "x"}, {"check", "exec", "x"}, {}},
                    Case{{"explain", "--", "exec"}, {"explain", "--", "exec"}, {}}));

}  // namespace
}  // namespace rum
