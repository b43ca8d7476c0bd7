// `rum shell` and `rum console` through a pseudo-terminal: the real rum, a controller of this
// process behind its socket, and the real agent in an /etc of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "agent-api/client/guest_agent.h"
#include "controller/service/server.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/cli/sandbox.h"
#include "tests/controller/fake_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::Not;

constexpr std::chrono::seconds kPatience{60};

// rum on a terminal, as a person has it.
class Terminal {
 public:
  Terminal(const Sandbox& rum, const std::string& folder, const std::vector<std::string>& words) {
    winsize size{};
    size.ws_row = 33, size.ws_col = 101;
    if (openpty(&person_, &program_, nullptr, nullptr, &size) != 0) return;
    tcgetattr(program_, &before_);
    std::vector<std::string> argv = words, lines;
    argv.insert(argv.begin(), rum.program);
    for (const auto& [name, value] : rum.env) lines.push_back(name + "=" + value);
    std::vector<char*> argv_pointers, env_pointers;
    for (std::string& word : argv) argv_pointers.push_back(word.data());
    for (std::string& line : lines) env_pointers.push_back(line.data());
    argv_pointers.push_back(nullptr);
    env_pointers.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    setsid();
    ioctl(program_, TIOCSCTTY, 0);
    for (const int fd : {0, 1, 2}) dup2(program_, fd);
    close(person_);
    if (chdir(folder.c_str()) == 0)
      execve(argv_pointers[0], argv_pointers.data(), env_pointers.data());
    _exit(127);
  }
  ~Terminal() {
    if (pid_ > 0) kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
    close(person_);
    close(program_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void Type(const std::string& keys) {
    EXPECT_EQ(write(person_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  void Resize(unsigned short rows, unsigned short columns) {
    winsize size{};
    size.ws_row = rows, size.ws_col = columns;
    ioctl(person_, TIOCSWINSZ, &size);
  }
  // All that came so far, until `part` is in it.
  const std::string& Await(const std::string& part) {
    const auto deadline = steady_clock::now() + kPatience;
    while (seen_.find(part) == std::string::npos && steady_clock::now() < deadline) ReadSome(100);
    EXPECT_THAT(seen_, HasSubstr(part));
    return seen_;
  }
  int ExitStatus() {
    const auto deadline = steady_clock::now() + kPatience;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      ReadSome(20);
      if (steady_clock::now() < deadline) continue;
      ADD_FAILURE() << "rum did not end:\n" << seen_;
      return -1;
    }
    pid_ = -1;
    ReadSome(0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  bool IsRaw() const {
    termios now{};
    return tcgetattr(program_, &now) == 0 && (now.c_lflag & (ICANON | ECHO)) == 0;
  }
  bool IsAsBefore() const {
    termios now{};
    return tcgetattr(program_, &now) == 0 && now.c_lflag == before_.c_lflag &&
           now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag;
  }
  pid_t pid() const { return pid_; }
  std::string Seen() const { return seen_; }

 private:
  void ReadSome(int patience_ms) {
    pollfd one{person_, POLLIN, 0};
    char buffer[4096];
    if (poll(&one, 1, patience_ms) != 1 || (one.revents & POLLIN) == 0) return;
    const ssize_t n = read(person_, buffer, sizeof buffer);
    if (n > 0) seen_.append(buffer, static_cast<size_t>(n));
  }
  int person_ = -1;
  int program_ = -1;  // kept open: what was set outlives the program
  pid_t pid_ = -1;
  termios before_{};
  std::string seen_;
};

class TerminalTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  TerminalTest() {
    fs::create_directories("/home/dev");
    EXPECT_EQ(chown("/home/dev", 1000, 1000), 0);
    fs::create_directory(rum_.runtime());
    fs::permissions(rum_.runtime(), fs::perms(0700));
    std::ofstream("/etc/passwd", std::ios::app) << "rum:x:1001:1001::/home/rum:/bin/sh\n";
    world_.file.system = world_.file.boot = "true";
    world_.file.more = "[ssh]\nuser = \"dev\"\n";
    world_.Save();
    world_.agent = [this](std::function<void()> on_change) {
      return ConnectGuestAgent(agent_.opener(), std::move(on_change));
    };
    ControllerParts parts = world_.Parts();
    controller_ = std::make_unique<Controller>(std::move(parts));
    EXPECT_TRUE(controller_->Start().ok());
    auto server =
        ControlServer::Listen(rum_.runtime() + "/controller.sock", controller_.get(), [] {});
    EXPECT_TRUE(server.ok()) << server.status();
    if (server.ok()) server_ = *std::move(server);
    ApplyOptions up;
    up.up = true;
    controller_->Apply(world_.identity.config_path, up, EventSink());
  }
  ~TerminalTest() override {
    controller_->Stop();
    server_.reset();
    controller_.reset();
  }
  std::unique_ptr<Terminal> Rum(std::vector<std::string> words) {
    words.insert(words.begin(), {"-c", world_.identity.config_path});
    return std::make_unique<Terminal>(rum_, world_.folder(), words);
  }
  // With no terminal.
  Result Pipe(std::vector<std::string> words) {
    words.insert(words.begin(), {"-c", world_.identity.config_path});
    return rum_.Rum(words);
  }

  Sandbox rum_;
  FakeWorld world_;
  AgentProcess agent_{world_.folder() + "/agent"};
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(TerminalTest, AShellIsTheUsersWithTheSizeOfTheTerminalAndItsStatusIsOurs) {
  const auto shell = Rum({"shell"});
  shell->Type("stty size; echo $((6 * 7)) $(id -un) $(pwd)\r");
  shell->Await("33 101\r\n");
  shell->Await("42 dev /home/dev\r\n");
  EXPECT_TRUE(shell->IsRaw());
  shell->Resize(20, 60);
  shell->Type("until stty size | grep -q '^20 60'; do sleep 0.1; done; echo resi\"\"zed\r");
  shell->Await("resized\r\n");
  shell->Type("echo sle\"\"eping; sleep 1000\r");
  shell->Await("sleeping\r\n");
  shell->Type("\x03");  // goes to the guest, not to rum
  shell->Type("echo aw\"\"ake\r");
  shell->Await("awake\r\n");
  shell->Type("exit 7\r");
  EXPECT_EQ(shell->ExitStatus(), 7);
  EXPECT_TRUE(shell->IsAsBefore());
}

TEST_F(TerminalTest, TheTerminalIsPutBackWhateverEndsTheShell) {
  {
    const auto shell = Rum({"shell"});
    shell->Type("echo $((6 * 7))\r");
    shell->Await("42\r\n");
    shell->Type("kill -KILL $$\r");
    EXPECT_EQ(shell->ExitStatus(), 128 + SIGKILL);
    EXPECT_TRUE(shell->IsAsBefore());
  }
  const auto shell = Rum({"shell"});
  shell->Type("echo $((6 * 7))\r");
  shell->Await("42\r\n");
  agent_.Kill();
  EXPECT_EQ(shell->ExitStatus(), 255) << "the guest was lost";
  EXPECT_TRUE(shell->IsAsBefore());
  agent_.Start();
}

TEST_F(TerminalTest, ACommandInAShellIsGivenWordForWordAndItsOutputIsItsOwn) {
  const Result result = Pipe({"shell", "--", "printf", "<%s>\\n", "a b", "$HOME"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(result.out, "<a b>\n<$HOME>\n") << "no terminal's line ends in a pipe";
  EXPECT_EQ(Pipe({"shell", "sh", "-c", "exit 9"}).exit_status, 9);
  EXPECT_EQ(Pipe({"shell", "--user", "root", "--cwd", "/tmp", "--", "pwd"}).out, "/tmp\n");
  const Result nobody = Pipe({"shell", "--user", "ghost"});
  EXPECT_EQ(nobody.exit_status, 126);
  EXPECT_THAT(nobody.err, HasSubstr("ghost"));
}

TEST_F(TerminalTest, AConsolePassesKeysOnAndItsKeyLeaves) {
  const auto console = Rum({"console"});
  console->Await("serial console of dev: Enter shows its prompt, Ctrl+] leaves");
  const int guest = world_.hypervisor->GuestEndOfConsole(world_.identity);
  ASSERT_GE(guest, 0);
  ASSERT_TRUE(Eventually([&] { return console->IsRaw(); }));
  ASSERT_EQ(send(guest, "login: ", 7, 0), 7);
  console->Await("login: ");
  console->Type(
      "ro\x03\x1D"
      "never");
  char typed[3];
  ASSERT_EQ(recv(guest, typed, 3, MSG_WAITALL), 3);
  EXPECT_EQ(std::string(typed, 3), "ro\x03");
  EXPECT_EQ(console->ExitStatus(), 0);
  EXPECT_TRUE(console->IsAsBefore());
  char rest[8];
  EXPECT_EQ(recv(guest, rest, sizeof rest, 0), 0) << "what is typed after it stays here";
}

TEST_F(TerminalTest, ASecondOneIsToldHowToTakeTheConsoleAndTheFirstThatItWent) {
  const auto first = Rum({"console"});
  ASSERT_TRUE(Eventually([&] { return first->IsRaw(); }));
  const Result second = Pipe({"console"});
  EXPECT_EQ(second.exit_status, 1);
  EXPECT_THAT(second.err, HasSubstr("somebody is at the console already; `rum console --force`"));
  const auto third = Rum({"console", "--force"});
  ASSERT_TRUE(Eventually([&] { return third->IsRaw(); }));
  EXPECT_EQ(first->ExitStatus(), 1);
  EXPECT_THAT(first->Seen(), HasSubstr("the console ended: dev went off, or somebody"));
  EXPECT_TRUE(first->IsAsBefore());
  kill(third->pid(), SIGTERM);
  EXPECT_EQ(third->ExitStatus(), 128 + SIGTERM);
  EXPECT_TRUE(third->IsAsBefore());
}

TEST_F(TerminalTest, AMachineThatIsOffHasNeither) {
  controller_->Down(world_.identity.config_path, EventSink(), false);
  for (const char* command : {"shell", "console", "open"}) {
    const Result result = Pipe({command});
    EXPECT_EQ(result.exit_status, 1) << command;
    EXPECT_THAT(result.err, HasSubstr("`rum up` starts it")) << command;
    EXPECT_EQ(result.out, "") << command;
  }
  const Result diff = Pipe({"diff"});
  EXPECT_EQ(diff.exit_status, 0) << diff.out;
  EXPECT_THAT(diff.err, HasSubstr("dev is off"));
}

TEST_F(TerminalTest, AnUpEndsWithWhatToTypeNextWhereItStartedTheMachine) {
  EXPECT_THAT(Pipe({"up", "-d"}).out, Not(HasSubstr("Next: "))) << "it ran before";
  controller_->Down(world_.identity.config_path, EventSink(), false);
  const Result up = Pipe({"up", "-d"});
  EXPECT_EQ(up.exit_status, 0) << up.out << up.err;
  EXPECT_THAT(up.out, testing::ContainsRegex("\nNext: `rum -c [^ ]*dev.rum.toml shell` is a shell "
                                             "in it; `rum -c [^ ]* status` says .*\n$"));
}

TEST_F(TerminalTest, ADiffHasTheStatusesOfDiff) {
  Result diff = Pipe({"diff"});
  EXPECT_EQ(diff.exit_status, 0) << diff.out << diff.err;
  EXPECT_EQ(diff.out, "");
  world_.file.memory_mb = 2048;
  world_.Save();
  diff = Pipe({"diff"});
  EXPECT_EQ(diff.exit_status, 1);
  EXPECT_THAT(diff.out, HasSubstr("~ resources.memory_mb: 1024 → 2048  (needs a restart: "));
  EXPECT_THAT(diff.out, Not(HasSubstr("\033")));
  EXPECT_THAT(diff.err, testing::EndsWith(" apply --restart`\n"));
  diff = Pipe({"diff", "-o", "json"});
  EXPECT_EQ(diff.exit_status, 1);
  EXPECT_EQ(diff.err, "");
  EXPECT_THAT(diff.out, HasSubstr("\"effect\": \"restart\""));
  world_.SaveText("nonsense");
  diff = Pipe({"diff"});
  EXPECT_EQ(diff.exit_status, 2);
  EXPECT_EQ(diff.out, "");
  EXPECT_THAT(diff.err, HasSubstr(":1:"));
}

TEST_F(TerminalTest, OpenPrintsTheUrlOfTheForwardThatIsMeant) {
  Result open = Pipe({"open", "80"});
  EXPECT_EQ(open.exit_status, 0) << open.err;
  EXPECT_EQ(open.out, "http://127.0.0.1:8080/\n");
  EXPECT_THAT(open.err, HasSubstr("no browser here"));
  rum_.env["BROWSER"] = "/bin/echo opened";
  EXPECT_EQ(Pipe({"open", "8080"}).out, "http://127.0.0.1:8080/\nopened http://127.0.0.1:8080/\n");
  EXPECT_EQ(Pipe({"open", "8080", "--print"}).out, "http://127.0.0.1:8080/\n");
  EXPECT_THAT(Pipe({"open", "8080", "-o", "json"}).out,
              HasSubstr("\"url\": \"http://127.0.0.1:8080/\""));
  open = Pipe({"open"});
  EXPECT_EQ(open.exit_status, 1);
  EXPECT_THAT(open.err, HasSubstr("which one? Say the port: "));
}

TEST_F(TerminalTest, StatsAreInUnitsAndAWatchHasRates) {
  Usage usage;
  usage.cpus = 2;
  usage.memory = 1 << 30;
  world_.hypervisor->SetUsage(world_.identity, usage);
  const Result stats = rum_.Rum({"stats"});
  EXPECT_EQ(stats.exit_status, 0) << stats.err;
  EXPECT_THAT(stats.out, HasSubstr("- of 1.0 GiB"));
  rum_.env["NO_COLOR"] = "1";
  const auto watch = Rum({"stats", "--watch"});
  watch->Await("% of 2");
  kill(watch->pid(), SIGINT);
  EXPECT_EQ(watch->ExitStatus(), 128 + SIGINT);
}

TEST_F(TerminalTest, AStatusIsWaitedForOfSeveralMachines) {
  const Result both = rum_.Rum(
      {"status", "--wait", "Ready", "--timeout", "50", "dev", world_.identity.id, "-o", "json"});
  EXPECT_EQ(both.exit_status, 0) << both.err;
  EXPECT_THAT(both.out, HasSubstr("\"machines\": [\n"));
  const Result unknown = rum_.Rum({"status", "--wait", "Ready", "dve"});
  EXPECT_EQ(unknown.exit_status, 1);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean `dev`?"));
}

}  // namespace
}  // namespace rum
