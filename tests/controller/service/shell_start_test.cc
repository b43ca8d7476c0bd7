// Where `rum shell` begins and what it starts: by a real shell.
#include "controller/service/shell_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ShellStart : public testing::Test {
 protected:
  ShellStart() {
    std::string folder = std::string(std::getenv("TEST_TMPDIR")) + "/shell.XXXXXX";
    folder_ = fs::canonical(mkdtemp(folder.data()));
    for (const char* sub : {"/home", "/work/a b", "/mnt"}) fs::create_directories(folder_ + sub);
  }
  static Mount MountOf(const std::string& source, const std::string& target) {
    Mount mount;
    mount.set_source(source);
    mount.set_target(target);
    return mount;
  }
  // What it writes when it is run as the agent runs it; `shell`: the user's.
  std::string Run(const std::vector<std::string>& folders, const std::vector<std::string>& command,
                  const std::string& shell = "/bin/sh", int* exit_status = nullptr) {
    agent::ExecStart start;
    for (const std::string& word : command) start.add_argv(word);
    MakeShell(folders, &start);
    EXPECT_EQ(start.cwd(), "/");
    int out[2];
    EXPECT_EQ(pipe(out), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      dup2(out[1], 1);
      dup2(out[1], 2);
      close(out[0]);
      setenv("HOME", (folder_ + "/home").c_str(), 1);
      setenv("SHELL", shell.c_str(), 1);
      std::vector<char*> argv;
      for (std::string& word : *start.mutable_argv()) argv.push_back(word.data());
      argv.push_back(nullptr);
      if (chdir("/") == 0) execv(argv[0], argv.data());
      _exit(127);
    }
    close(out[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = read(out[0], buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<size_t>(n));
    close(out[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    if (exit_status != nullptr) *exit_status = WEXITSTATUS(status);
    return text;
  }
  // A user's shell that says where it is and what it was given.
  std::string Teller(const std::string& name) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << "#!/bin/sh\npwd\nprintf '<%s>' \"$@\"\n";
    fs::permissions(path, fs::perms(0755));
    return path;
  }
  std::string folder_;
};

TEST_F(ShellStart, TheGuestHasAFolderByTheInnermostMountThatItIsIn) {
  const std::vector<Mount> mounts = {MountOf(folder_, "/work"), MountOf(folder_ + "/mnt", "/deep/"),
                                     MountOf("", "/never")};
  EXPECT_EQ(GuestFolderOf(folder_, mounts), "/work");
  EXPECT_EQ(GuestFolderOf(folder_ + "/work/a b", mounts), "/work/work/a b");
  EXPECT_EQ(GuestFolderOf(folder_ + "/mnt", mounts), "/deep/");
  EXPECT_EQ(GuestFolderOf(folder_ + "x", mounts), "") << "a name that only begins alike";
  EXPECT_EQ(GuestFolderOf("/", mounts), "");
  EXPECT_EQ(GuestFolderOf("", mounts), "");
  EXPECT_EQ(GuestFolderOf("work", mounts), "");
  EXPECT_EQ(GuestFolderOf("/etc", {MountOf("/", "/host")}), "/host/etc");
}

TEST_F(ShellStart, LinksOnTheHostAreFollowed) {
  fs::create_directory_symlink(folder_ + "/work", folder_ + "/link");
  EXPECT_EQ(GuestFolderOf(folder_ + "/work/a b", {MountOf(folder_ + "/link", "/w")}), "/w/a b");
  EXPECT_EQ(GuestFolderOf(folder_ + "/link/a b", {MountOf(folder_ + "/work", "/w")}), "/w/a b");
}

TEST_F(ShellStart, BeginsInTheFirstFolderThatIsThereElseAtHome) {
  const std::string shell = Teller("mysh");
  EXPECT_EQ(Run({folder_ + "/work/a b", folder_}, {}, shell), folder_ + "/work/a b\n<-l>");
  EXPECT_EQ(Run({"", folder_ + "/gone", folder_ + "/mnt"}, {}, shell), folder_ + "/mnt\n<-l>");
  EXPECT_EQ(Run({"", ""}, {}, shell), folder_ + "/home\n<-l>");
  EXPECT_EQ(Run({}, {}, shell), folder_ + "/home\n<-l>");
  fs::remove(folder_ + "/home");
  EXPECT_EQ(Run({folder_ + "/gone"}, {}, shell), "/\n<-l>");
}

TEST_F(ShellStart, ACommandRunsInALoginShellWordForWord) {
  std::ofstream(folder_ + "/home/.profile") << "FROM_PROFILE=yes; export FROM_PROFILE\n";
  for (const char* shell : {"/bin/sh", "/bin/bash"}) {
    int exit_status = 0;
    EXPECT_EQ(Run({folder_ + "/mnt"},
                  {"sh", "-c", "pwd; printf '<%s>' \"$@\" \"$FROM_PROFILE\"; exit 7", "x", "a b",
                   "", "$HOME", "'; reboot"},
                  shell, &exit_status),
              folder_ + "/mnt\n<a b><><$HOME><'; reboot><yes>");
    EXPECT_EQ(exit_status, 7);
  }
}

// fish and csh read words in their own ways.
TEST_F(ShellStart, ACommandIsNotGivenToAShellOfAnotherLanguage) {
  EXPECT_EQ(Run({}, {"printf", "<%s>", "$x (a)"}, Teller("fish")), "<$x (a)>");
}

TEST_F(ShellStart, AUserWhoHasNoShellGetsWhatThatSays) {
  int exit_status = 0;
  Run({}, {}, "/bin/false", &exit_status);
  EXPECT_EQ(exit_status, 1);
  EXPECT_THAT(Run({}, {"no-such-program"}, "/bin/sh", &exit_status), HasSubstr("not found"));
  EXPECT_EQ(exit_status, 127);
}

}  // namespace
}  // namespace rum
