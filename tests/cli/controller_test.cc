// The life of the controller process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/cli/sandbox.h"
#include "tests/eventually.h"
#include "tests/idle.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;  // NOLINT: units
using testing::HasSubstr;

class ControllerTest : public testing::Test {
 protected:
  ControllerTest() { rum_.Write("dev.rum.toml", GoodToml()); }

  Result Status() { return rum_.Rum({"-c", "dev.rum.toml", "status"}); }
  pid_t StartOne() {
    EXPECT_EQ(Status().exit_status, 0);
    return rum_.ControllerPid();
  }
  // Waits until rum, started in the foreground, answers.
  pid_t StartInForeground(Running* running) {
    *running = rum_.Start({"controller", "run"});
    pid_t pid = 0;
    while (pid == 0 && !IsGone(running->pid, 10ms)) pid = rum_.ControllerPid();
    return pid;
  }
  // How many controllers have come up so far.
  size_t Starts() const {
    std::ifstream log(rum_.state() + "/controller.log");
    size_t count = 0;
    for (std::string line; std::getline(log, line);) {
      count += line.find("controller started") != std::string::npos ? 1 : 0;
    }
    return count;
  }
  static mode_t ModeOf(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }

  Sandbox rum_;
};

TEST_F(ControllerTest, NobodyIsStartedToBeAskedWhetherHeRuns) {
  const Result status = rum_.Rum({"controller", "status"});
  EXPECT_EQ(status.exit_status, 1);
  EXPECT_EQ(status.err, "rum: no controller runs\n");
  const Result stop = rum_.Rum({"controller", "stop"});
  EXPECT_EQ(stop.exit_status, 0);
  EXPECT_EQ(stop.out, "no controller runs\n");
  EXPECT_TRUE(rum_.Controllers().empty());
}

TEST_F(ControllerTest, StartsByItselfAndStaysForTheNextCommand) {
  const pid_t pid = StartOne();
  EXPECT_EQ(rum_.Controllers(), std::vector<pid_t>{pid});
  EXPECT_EQ(Status().exit_status, 0);
  EXPECT_EQ(rum_.ControllerPid(), pid);
  const Result json = rum_.Rum({"controller", "status", "-o", "json"});
  EXPECT_THAT(json.out, HasSubstr("\"pid\": " + std::to_string(pid)));
  EXPECT_THAT(json.out, HasSubstr("\"machines\": 0"));
}

TEST_F(ControllerTest, ItsSocketIsForItsUserAlone) {
  umask(0);
  StartOne();
  umask(022);
  EXPECT_EQ(ModeOf(rum_.runtime() + "/controller.sock"), 0600u);
  EXPECT_EQ(ModeOf(rum_.runtime()), 0700u);
  EXPECT_EQ(ModeOf(rum_.state()), 0700u);
}

TEST_F(ControllerTest, MakesItsOwnFolderPrivateButNoSharedOne) {
  fs::create_directory(rum_.runtime());
  fs::permissions(rum_.runtime(), fs::perms(0755));
  StartOne();
  EXPECT_EQ(ModeOf(rum_.runtime()), 0700u);
  EXPECT_EQ(rum_.Rum({"controller", "stop"}).exit_status, 0);
  const std::string shared = rum_.project() + "/tmp";
  fs::create_directory(shared);
  fs::permissions(shared, fs::perms(01777));
  rum_.env["RUM_RUNTIME_DIR"] = shared;
  const Result status = Status();
  EXPECT_EQ(status.exit_status, 1);
  EXPECT_THAT(status.err, HasSubstr("is shared with other users"));
  EXPECT_EQ(ModeOf(shared), 01777u);
}

TEST_F(ControllerTest, TwoNeverRun) {
  const pid_t pid = StartOne();
  const Result second = rum_.Rum({"controller", "run"});
  EXPECT_EQ(second.exit_status, 1);
  EXPECT_THAT(second.err, HasSubstr("a controller runs already"));
  EXPECT_EQ(rum_.ControllerPid(), pid);
  EXPECT_EQ(Status().exit_status, 0);
}

TEST_F(ControllerTest, ASecondRuntimeFolderMakesNoSecondControllerOfTheSameMachines) {
  const pid_t pid = StartOne();
  rum_.env["XDG_RUNTIME_DIR"] = rum_.runtime() + "/other";
  const Result status = Status();
  EXPECT_EQ(status.exit_status, 1);
  // The second one has said why, and is about to end.
  EXPECT_TRUE(Eventually([&] { return rum_.Controllers() == std::vector<pid_t>{pid}; },
                         std::chrono::seconds(60)));
}

TEST_F(ControllerTest, ClientsThatStartAtOnceShareOne) {
  for (int round = 0; round < 3; ++round) {
    std::vector<Running> clients;
    for (int i = 0; i < 8; ++i) clients.push_back(rum_.Start({"-c", "dev.rum.toml", "status"}));
    for (const Running& client : clients) {
      const Result result = rum_.Finish(client);
      EXPECT_EQ(result.exit_status, 0) << result.err;
    }
    EXPECT_EQ(rum_.Controllers().size(), 1u);
    EXPECT_EQ(rum_.Rum({"controller", "stop"}).exit_status, 0);
  }
}

TEST_F(ControllerTest, AClientFindsANewOneWhileTheOldOneEnds) {
  for (int round = 0; round < 3; ++round) {
    StartOne();
    const Running stop = rum_.Start({"controller", "stop"});
    const Result status = Status();
    EXPECT_EQ(status.exit_status, 0) << status.err;
    EXPECT_EQ(rum_.Finish(stop).exit_status, 0);
  }
}

// What is not waited for takes minutes.
constexpr auto kAtOnce = 60s;

TEST_F(ControllerTest, StopsAtOnce) {
  const pid_t pid = StartOne();
  const auto begin = std::chrono::steady_clock::now();
  const Result stop = rum_.Rum({"controller", "stop"});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kAtOnce);
  EXPECT_EQ(stop.exit_status, 0);
  EXPECT_EQ(stop.out, "controller stopped; machines go on running\n");
  EXPECT_TRUE(IsGone(pid, 0ms));
  EXPECT_FALSE(fs::exists(rum_.runtime() + "/controller.sock"));
  EXPECT_EQ(rum_.Rum({"controller", "status"}).exit_status, 1);
}

TEST_F(ControllerTest, StopsAtOnceWhileAMachineBoots) {
  const Running up = rum_.Start({"-c", "dev.rum.toml", "up", "-d"});
  while (Status().out.find("starting") == std::string::npos) {
    ASSERT_FALSE(IsGone(up.pid, 10ms));
  }
  const pid_t pid = rum_.ControllerPid();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(rum_.Rum({"controller", "stop"}).exit_status, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kAtOnce);
  EXPECT_TRUE(IsGone(pid, 0ms));
  const Result result = rum_.Finish(up);
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("rum: "));
}

TEST_F(ControllerTest, AKilledOneIsReplacedAndItsSocketToo) {
  const pid_t pid = StartOne();
  kill(pid, SIGKILL);
  ASSERT_TRUE(IsGone(pid, 10s));
  ASSERT_TRUE(fs::exists(rum_.runtime() + "/controller.sock"));
  EXPECT_EQ(rum_.Rum({"controller", "status"}).err, "rum: no controller runs\n");
  EXPECT_EQ(Status().exit_status, 0);
  const pid_t next = rum_.ControllerPid();
  EXPECT_NE(next, 0);
  EXPECT_NE(next, pid);
}

TEST_F(ControllerTest, OneWhoseProgramWasReplacedOnTheDiskIsReplacedByTheNextCommand) {
  rum_.Install();
  const pid_t pid = StartOne();
  EXPECT_EQ(StartOne(), pid);
  rum_.Install();
  EXPECT_THAT(rum_.Rum({"controller", "status"}).out, HasSubstr(" (outdated)  "));
  EXPECT_EQ(rum_.ControllerPid(), pid) << "a question about it is no reason";
  const pid_t next = StartOne();
  EXPECT_NE(next, pid);
  EXPECT_TRUE(IsGone(pid, 10s));
  EXPECT_EQ(StartOne(), next);
  // Whoever comes at once is served, by the old one or a new one, of which there is one.
  rum_.Install();
  const size_t before = Starts();
  std::vector<Running> all(6);
  for (Running& one : all) one = rum_.Start({"-c", "dev.rum.toml", "status"});
  for (const Running& one : all) {
    const Result result = rum_.Finish(one);
    EXPECT_EQ(result.exit_status, 0) << result.err;
  }
  const pid_t last = StartOne();
  EXPECT_EQ(Starts(), before + 1);
  for (const pid_t one : rum_.Controllers()) {
    EXPECT_TRUE(one == last || IsGone(one, 10s));
  }
  // Where there is no other one, as in the middle of a build, it goes on.
  fs::remove(fs::path(rum_.program).parent_path() / "rum-controller");
  EXPECT_EQ(StartOne(), last);
}

TEST_F(ControllerTest, AClientWhoseControllerIsKilledSaysSo) {
  const Running up = rum_.Start({"-c", "dev.rum.toml", "up", "-d"});
  while (Status().out.find("starting") == std::string::npos) {
    ASSERT_FALSE(IsGone(up.pid, 10ms));
  }
  kill(rum_.ControllerPid(), SIGKILL);
  const Result result = rum_.Finish(up);
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("the controller went away"));
  EXPECT_THAT(result.out, HasSubstr("✓ Started the machine"));
}

TEST_F(ControllerTest, EndsByItselfWhenThereIsNothingToDo) {
  rum_.env["RUM_CONTROLLER_IDLE_S"] = "0.3";
  Status();
  const std::vector<pid_t> pids = rum_.Controllers();
  for (const pid_t pid : pids) EXPECT_TRUE(IsGone(pid, 10s));
  EXPECT_TRUE(rum_.Controllers().empty());
  EXPECT_EQ(Status().exit_status, 0);
}

TEST_F(ControllerTest, OneThatGoesAwayJustNowIsNoOnesProblem) {
  rum_.env["RUM_CONTROLLER_IDLE_S"] = "0.02";
  for (int i = 0; i < 20; ++i) {
    const Result status = Status();
    EXPECT_EQ(status.exit_status, 0) << status.err;
  }
}

TEST_F(ControllerTest, OneInTheForegroundStaysAndEndsBySignal) {
  rum_.env["RUM_CONTROLLER_IDLE_S"] = "0.02";
  for (const int signal : {SIGTERM, SIGINT}) {
    Running running;
    ASSERT_EQ(StartInForeground(&running), running.pid);
    // One that counts how long nobody needs it looks at a clock every few milliseconds.
    EXPECT_TRUE(OtherThreads(std::to_string(running.pid)).FallIdle());
    EXPECT_FALSE(IsGone(running.pid, 0ms));
    kill(running.pid, signal);
    const Result result = rum_.Finish(running);
    EXPECT_EQ(result.exit_status, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_FALSE(fs::exists(rum_.runtime() + "/controller.sock"));
  }
}

// Session machines and libvirt's daemon are children of it: what bounds the unit would bound them,
// and without new privileges QEMU's bridge helper, newuidmap and whatever else is setuid fail
// there.
TEST_F(ControllerTest, ItsUnitLeavesTheMachinesInItAlone) {
  const std::string unit = rum_.Rum({"controller", "unit"}).out;
  EXPECT_THAT(unit, HasSubstr("\nKillMode=process\n"));
  EXPECT_THAT(unit, HasSubstr("\nOOMPolicy=continue\n")) << "the default ends all with one";
  for (const char* bound : {"MemoryHigh", "MemoryMax", "TasksMax", "LimitNOFILE", "CPUQuota"}) {
    EXPECT_THAT(unit, testing::Not(HasSubstr(bound)));
  }
  // In a user's instance all that seccomp does brings the first of these with it: systemd.exec(5).
  for (const char* option : {"NoNewPrivileges", "SystemCall", "Restrict", "MemoryDeny",
                             "LockPersonality", "Private", "Protect"}) {
    EXPECT_THAT(unit, testing::Not(HasSubstr(option)));
  }
}

TEST_F(ControllerTest, SaysWhyItCannotStart) {
  rum_.env["RUM_RUNTIME_DIR"] = rum_.runtime() + "/" + std::string(100, 'x');
  Result status = Status();
  EXPECT_EQ(status.exit_status, 1);
  EXPECT_THAT(status.err, HasSubstr("the controller did not start: "));
  EXPECT_THAT(status.err, HasSubstr("set RUM_RUNTIME_DIR to a shorter folder"));
  rum_.env.erase("RUM_RUNTIME_DIR");
  rum_.env["RUM_STATE_DIR"] = rum_.Write("file", "");
  status = Status();
  EXPECT_EQ(status.exit_status, 1);
  EXPECT_THAT(status.err, HasSubstr("/file is not a folder"));
  EXPECT_TRUE(rum_.Controllers().empty());
}

}  // namespace
}  // namespace rum
