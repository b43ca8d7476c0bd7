// `rum controller enable` and `disable` with a systemd of the test's own, in namespaces where all
// is gone with the shell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A user's systemd, as logind would start it, in a cgroup of its own; it ends with the shell.
constexpr char kSystemd[] = R"sh(
groups=/sys/fs/cgroup
[ ! -d $groups/systemd ] || groups=$groups/systemd
mkdir $groups/$GROUP
echo $$ >$groups/$GROUP/cgroup.procs
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
/lib/systemd/systemd --user >systemd.log 2>&1 &
until systemctl --user is-system-running >answer 2>&1; do
  grep -q degraded answer && break
  kill -0 $! 2>/dev/null || { cat systemd.log; exit 99; }
  sleep 0.05
done
)sh";
// What the cases share.
constexpr char kWords[] = R"sh(
rum() { "$RUM" "$@"; }
pid() { rum controller status | sed 's/.*pid \([0-9]*\) .*/\1/'; }
main_pid() { systemctl --user show --property=MainPID --value rum.service; }
unit() { systemctl --user is-active rum.service || true; }
fail() { echo "failed: $*"; journal=$XDG_STATE_HOME/rum/controller.log; tail -n 20 $journal systemd.log; exit 98; }
)sh";

class UserServiceTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(getuid(), 0u) << "only root can make these namespaces"; }
  void TearDown() override {
    // systemd has made groups below, and all that was in them is gone.
    for (const std::string root : {"/sys/fs/cgroup/systemd/", "/sys/fs/cgroup/"})
      RemoveGroups(root + Group());
  }
  static std::string Group() { return "rum-test-" + std::to_string(getpid()); }
  static void RemoveGroups(const std::string& folder) {
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
      if (entry->is_directory()) RemoveGroups(entry->path());
    }
    rmdir(folder.c_str());
  }

  Result Shell(const std::string& script) {
    rum_.env["RUM"] = rum_.program;
    rum_.env["GROUP"] = Group();
    rum_.env["USER"] = "root";
    const std::string rum = std::exchange(rum_.program, "/usr/bin/unshare");
    Result result = rum_.Rum({"--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc",
                              "--propagation", "private", "/bin/sh", "-ec", kWords + script});
    rum_.program = rum;
    return result;
  }

  Sandbox rum_;
};

TEST_F(UserServiceTest, TakesThePlaceOfTheControllerThatRunsAndIsAskedForFromThenOn) {
  const Result result = Shell(std::string(kSystemd) + R"sh(
rum -q list
before=$(pid)
[ "$(unit)" = inactive ] || fail "a service before it was asked for"
rum controller enable
[ "$(unit)" = active ] || fail "not active"
[ "$(systemctl --user is-enabled rum.service rum.socket | sort -u)" = enabled ] || fail "not enabled"
[ "$(pid)" = "$(main_pid)" ] || fail "another one answers"
[ ! -d /proc/$before ] || fail "the old one lives"
systemd-analyze --user --man=no verify $HOME/.config/systemd/user/rum.service $HOME/.config/systemd/user/rum.socket

before=$(pid)
rum -q controller restart
[ "$(pid)" != $before ] && [ "$(pid)" = "$(main_pid)" ] || fail "restarted beside systemd"

rum -q controller stop
[ "$(unit)" = inactive ] || fail "goes on"
rum -q list
[ "$(unit)" = active ] && [ "$(pid)" = "$(main_pid)" ] || fail "started beside systemd"

rum controller enable
rum controller disable
[ "$(unit)" = inactive ] || fail "goes on"
ls $HOME/.config/systemd/user/*.service $HOME/.config/systemd/user/*.socket 2>/dev/null && fail "units are left"
rum -q list
[ -n "$(pid)" ] && [ "$(unit)" = inactive ] || fail "no controller without the service"
)sh");
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  EXPECT_EQ(result.err, "");
  const std::string units = rum_.env["HOME"] + "/.config/systemd/user/";
  EXPECT_THAT(
      result.out,
      AllOf(HasSubstr("Wrote " + units + "rum.service\n"),
            HasSubstr("Wrote " + units + "rum.socket\n"),
            HasSubstr("Enabled and started rum.service; machines went on running\n"),
            HasSubstr("`loginctl enable-linger`"), HasSubstr("Disabled and stopped rum.service"),
            HasSubstr("Removed " + units + "rum.service\n")));
}

TEST_F(UserServiceTest, AnUpgradeOfTheProgramIsASystemdRestart) {
  rum_.Install();
  const std::string program = rum_.program;
  const Result result = Shell(std::string(kSystemd) + R"sh(
rum -q controller enable
before=$(pid)
for name in rum rum-controller; do  # as dpkg does it
  cp ${RUM%/rum}/$name ${RUM%/rum}/$name.dpkg-new
  mv ${RUM%/rum}/$name.dpkg-new ${RUM%/rum}/$name
done
rum controller status
rum -q list
[ "$(pid)" != $before ] || fail "the old program goes on"
[ "$(pid)" = "$(main_pid)" ] || fail "the new one is beside systemd"
)sh");
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("(outdated)"));
}

TEST_F(UserServiceTest, WhatIsNotRumsStays) {
  const Result result = Shell(std::string(kSystemd) + R"sh(
mkdir -p $HOME/.config/systemd/user
printf '[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=default.target\n' >$HOME/.config/systemd/user/rum.service
systemctl --user daemon-reload
rum controller enable
rum controller disable
cat $HOME/.config/systemd/user/rum.service
)sh");
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("Kept " + rum_.env["HOME"] + "/.config/systemd/user/rum.service"),
                    HasSubstr("ExecStart=/bin/sleep 1000\n")));
}

TEST_F(UserServiceTest, WithoutSystemdNothingIsDone) {
  for (const char* word : {"enable", "disable"}) {
    const Result result = Shell(std::string("rum controller ") + word);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err,
                AllOf(HasSubstr("this user has no systemd that answers, and nothing was changed"),
                      HasSubstr("commands start a controller by themselves")));
  }
  EXPECT_FALSE(fs::exists(rum_.env["HOME"] + "/.config"));
}

}  // namespace
}  // namespace rum
