#include "agent-api/guest/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

struct Outcome : Exit {
  std::string output;
};

Outcome RunToEnd(SpawnRequest request) {
  int out[2];
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  request.stdout_fd = request.stderr_fd = out[1];
  if (request.environment.empty()) request.environment = {"PATH=/usr/bin:/bin"};
  const auto child = Spawn(request);
  close(out[1]);
  Outcome outcome;
  if (!child.ok()) {
    ADD_FAILURE() << child.status();
    return outcome;
  }
  char buffer[4096];
  for (ssize_t n = 0; (n = read(out[0], buffer, sizeof buffer)) > 0;) {
    outcome.output.append(buffer, static_cast<size_t>(n));
  }
  close(out[0]);
  pollfd ended{child->pidfd, POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 20000), 1);
  static_cast<Exit&>(outcome) = Reap(*child);
  return outcome;
}

// As in the agent, before the first spawn.
const auto kBefore = signal(SIGPIPE, SIG_IGN);

SpawnRequest Shell(const std::string& script) {
  SpawnRequest request;
  request.argv = {"sh", "-c", script};
  return request;
}

TEST(Spawn, PassesWordsAsTheyAre) {
  SpawnRequest request;
  request.argv = {"printf", "%s|", "a b", "", "$HOME", "'\"\\\n"};
  EXPECT_EQ(RunToEnd(request).output, "a b||$HOME|'\"\\\n|");
}

TEST(Spawn, TellsExitStatusAndSignal) {
  EXPECT_EQ(RunToEnd(Shell("exit 42")).exit_status, 42);
  const Outcome killed = RunToEnd(Shell("kill -9 $$"));
  EXPECT_EQ(killed.exit_status, 0);
  EXPECT_EQ(killed.signal, SIGKILL);
}

TEST(Spawn, LeadsASessionAndAGroupOfItsOwn) {
  // pid, parent, group, session
  const std::string out = RunToEnd(Shell("set -- $(cat /proc/$$/stat); echo $1 $5 $6 $$")).output;
  const std::string pid = out.substr(0, out.find(' '));
  EXPECT_EQ(out, pid + " " + pid + " " + pid + " " + pid + "\n");
}

TEST(Spawn, HasNoSignalsBlockedOrIgnored) {
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
  SpawnRequest request;
  request.argv = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"};
  unsigned long long blocked = 1;
  unsigned long long ignored = 1;
  const std::string output = RunToEnd(request).output;
  ASSERT_EQ(std::sscanf(output.c_str(), "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
  EXPECT_EQ(blocked, 0u);
  EXPECT_EQ(ignored & ~0x180000000ull, 0u);  // but for the C library's own, 32 and 33
  pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr);
}

TEST(Spawn, HasOnlyTheThreeStreams) {
  const int ours = open("/dev/null", O_RDONLY | O_CLOEXEC);
  // What the test's own parent left open is not Spawn's.
  ASSERT_EQ(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC), 0);
  EXPECT_EQ(RunToEnd(Shell("for fd in $(seq 0 200); do [ -e /proc/$$/fd/$fd ] && printf $fd; done"))
                .output,
            "012");
  close(ours);
}

TEST(Spawn, UsesFolderAndEnvironment) {
  SpawnRequest request = Shell("pwd; env | grep -v -e ^PWD -e ^SHLVL -e ^_ | sort");
  request.cwd = "/usr";
  request.environment = {"PATH=/usr/bin:/bin", "A=b c"};
  EXPECT_EQ(RunToEnd(request).output, "/usr\nA=b c\nPATH=/usr/bin:/bin\n");
}

TEST(Spawn, BecomesTheUser) {
  SpawnRequest request = Shell("id -u; id -g; id -G; umask 022; cat /etc/shadow; echo $?");
  request.user = "nobody";
  EXPECT_EQ(RunToEnd(request).output.substr(0, 18), "65534\n65534\n65534\n");
  EXPECT_NE(RunToEnd(request).output.find("denied"), std::string::npos);
}

TEST(Spawn, SaysWhyItCannotStart) {
  const Folder folder;
  Spill(folder / "no-interpreter", "#!/no/such\n");
  ASSERT_EQ(chmod((folder / "no-interpreter").c_str(), 0755), 0);
  const auto code = [](const std::string& program, const std::string& user = "") {
    SpawnRequest request;
    request.argv = {program};
    request.environment = {"PATH=/usr/bin:/bin"};
    request.user = user;
    return Spawn(request).status().code();
  };
  EXPECT_EQ(code("no-such-program"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("/no/such/program"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(folder / "no-interpreter"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("/etc/passwd"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code("/usr"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code(""), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("true", "no-such-user"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Spawn(SpawnRequest()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "what could not be started was not reaped";
}

}  // namespace
}  // namespace rum::guest
