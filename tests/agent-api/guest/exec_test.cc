#include "agent-api/guest/exec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

using testing::EndsWith;

using testing::StartsWith;

// One command, with the test as its host.
class Command {
 public:
  explicit Command(const std::vector<std::string>& argv) { Begin(argv, {}); }
  Command(const std::vector<std::string>& argv, agent::ExecStart start) {
    Begin(argv, std::move(start));
  }
  ~Command() {
    HangUp();
    thread_.join();
  }

  void Send(agent::ExecInput input) {
    const std::lock_guard<std::mutex> guard(mutex_);
    inputs_.push_back(std::move(input));
    changed_.notify_all();
  }
  void Type(const std::string& bytes) {
    agent::ExecInput input;
    input.set_standard_input(bytes);
    Send(std::move(input));
  }
  void CloseInput() {
    agent::ExecInput input;
    input.set_close_input(true);
    Send(std::move(input));
  }
  void Signal(int number) {
    agent::ExecInput input;
    input.set_signal(number);
    Send(std::move(input));
  }
  // No more messages from the host, which is still there.
  void NoMore() {
    const std::lock_guard<std::mutex> guard(mutex_);
    no_more_ = true;
    changed_.notify_all();
  }
  // Waits until the agent knows.
  bool HasNoMore() {
    std::unique_lock<std::mutex> guard(mutex_);
    return changed_.wait_for(guard, std::chrono::seconds(20), [&] { return told_; });
  }
  void HangUp() {
    cancelled_ = true;
    NoMore();
  }
  // Waits until the output holds `text`.
  bool Shows(const std::string& text) {
    std::unique_lock<std::mutex> guard(mutex_);
    return changed_.wait_for(guard, std::chrono::seconds(20), [&] {
      return out_.find(text) != std::string::npos || err_.find(text) != std::string::npos;
    });
  }
  // Waits for the exit message.
  bool Ends() {
    std::unique_lock<std::mutex> guard(mutex_);
    return changed_.wait_for(guard, std::chrono::seconds(20), [&] { return ended_; });
  }
  // Waits until Exec has returned.
  bool Returns() {
    std::unique_lock<std::mutex> guard(mutex_);
    return changed_.wait_for(guard, std::chrono::seconds(20), [&] { return returned_; });
  }
  // Waits until so many bytes of input are said to be taken.
  bool Takes(uint64_t bytes) {
    std::unique_lock<std::mutex> guard(mutex_);
    return changed_.wait_for(guard, std::chrono::seconds(20), [&] { return taken_ >= bytes; });
  }
  uint64_t taken() { return Locked(taken_); }
  std::string out() { return Locked(out_); }
  std::string err() { return Locked(err_); }
  int exit_status() { return Locked(exit_status_); }
  int signal() { return Locked(signal_); }

 private:
  void Begin(const std::vector<std::string>& argv, agent::ExecStart start) {
    for (const std::string& word : argv) start.add_argv(word);
    ::signal(SIGPIPE, SIG_IGN);  // as the agent does
    agent::ExecInput first;
    *first.mutable_start() = std::move(start);
    inputs_.push_back(std::move(first));
    thread_ = std::thread([this] {
      EXPECT_TRUE(Exec([this](agent::ExecInput* input) { return Next(input); },
                       [this](const agent::ExecOutput& output) { return Take(output); },
                       [this] { return cancelled_.load(); })
                      .ok());
      const std::lock_guard<std::mutex> guard(mutex_);
      returned_ = true;
      changed_.notify_all();
    });
  }

  template <typename T>
  T Locked(const T& value) {
    const std::lock_guard<std::mutex> guard(mutex_);
    return value;
  }

  bool Next(agent::ExecInput* input) {
    std::unique_lock<std::mutex> guard(mutex_);
    changed_.wait(guard, [this] { return no_more_ || !inputs_.empty(); });
    if (inputs_.empty()) {
      told_ = true;
      changed_.notify_all();
      return false;
    }
    *input = std::move(inputs_.front());
    inputs_.pop_front();
    return true;
  }

  bool Take(const agent::ExecOutput& output) {
    const std::lock_guard<std::mutex> guard(mutex_);
    EXPECT_FALSE(ended_) << "output after the end";
    out_ += output.standard_output();
    err_ += output.standard_error();
    if (output.has_exit_status()) exit_status_ = output.exit_status(), ended_ = true;
    if (output.has_signal()) signal_ = output.signal(), ended_ = true;
    if (output.has_input_taken()) taken_ = output.input_taken();
    if (ended_) no_more_ = true;  // as the host does
    changed_.notify_all();
    return !cancelled_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<agent::ExecInput> inputs_;
  std::string out_;
  std::string err_;
  int exit_status_ = -1;
  int signal_ = -1;
  uint64_t taken_ = 0;
  bool no_more_ = false;
  bool told_ = false;
  bool ended_ = false;
  bool returned_ = false;
  std::atomic<bool> cancelled_ = false;
  std::thread thread_;
};

std::vector<std::string> Shell(const std::string& script) { return {"sh", "-c", script}; }

agent::ExecStart Terminal() {
  agent::ExecStart start;
  start.set_pty(true);
  start.set_rows(30);
  start.set_columns(100);
  return start;
}

TEST(Exec, KeepsTheStreamsApartAndTellsTheStatus) {
  Command command(Shell("echo out; echo err >&2; exit 7"));
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "out\n");
  EXPECT_EQ(command.err(), "err\n");
  EXPECT_EQ(command.exit_status(), 7);
  EXPECT_EQ(command.signal(), -1);
}

TEST(Exec, TellsTheSignalThatEndedIt) {
  Command command(Shell("kill -TERM $$"));
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.signal(), SIGTERM);
  EXPECT_EQ(command.exit_status(), -1);
}

TEST(Exec, AnyBytesGoThroughAndTheEndOfInputIsSeen) {
  std::string data(3 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 11);
  Command command({"cat"});
  for (size_t at = 0; at < data.size(); at += 100000) command.Type(data.substr(at, 100000));
  command.CloseInput();
  ASSERT_TRUE(command.Ends());
  EXPECT_TRUE(command.out() == data);
  EXPECT_EQ(command.exit_status(), 0);
}

TEST(Exec, TheEndOfTheHostsMessagesIsTheEndOfInput) {
  Command command(Shell("cat; echo done"));
  command.Type("in ");
  command.NoMore();
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "in done\n");
}

TEST(Exec, WithoutInputTheEndIsThereFromTheStart) {
  agent::ExecStart start;
  start.set_no_input(true);
  Command command({"sh", "-c", "cat; echo end"}, start);
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "end\n");
  EXPECT_EQ(command.exit_status(), 0);
}

// Its host is listened to a moment later, whether it is silent or never pauses.
TEST(Exec, ACommandWithoutInputHearsSignalsAndTheEndOfItsHost) {
  agent::ExecStart start;
  start.set_no_input(true);
  for (const char* line : {"echo up; exec sleep 60", "while :; do echo up; done"}) {
    for (const bool hangs_up : {false, true}) {
      Command command({"sh", "-c", line}, start);
      EXPECT_TRUE(command.Shows("up"));
      hangs_up ? command.HangUp() : command.Signal(SIGTERM);
      EXPECT_TRUE(command.Ends()) << line;
      EXPECT_EQ(command.signal(), hangs_up ? SIGKILL : SIGTERM);
    }
  }
}

TEST(Exec, ACommandThatDoesNotReadIsNotWaitedFor) {
  Command command(Shell("exec <&-; echo deaf; exit 5"));
  command.Type(std::string(4 << 20, 'x'));
  ASSERT_TRUE(command.Ends());
  EXPECT_TRUE(command.Returns());
  EXPECT_EQ(command.exit_status(), 5);
}

TEST(Exec, AProcessLeftBehindHoldsNothingUp) {
  Command command(Shell("sleep 1000 <&0 & echo $!"));  // with all three streams
  command.Type(std::string(4 << 20, 'x'));
  ASSERT_TRUE(command.Ends());
  EXPECT_TRUE(command.Returns());
  EXPECT_EQ(kill(std::stoi(command.out()), SIGKILL), 0);
}

TEST(Exec, AProcessLeftBehindThatGoesOnWritingHoldsNothingUp) {
  Command command(Shell("yes & exit 3"));
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.exit_status(), 3);
}

TEST(Exec, ASignalReachesTheWholeGroup) {
  Command command(Shell("trap 'echo caught; exit 9' INT; sleep 1000 & echo ready; wait; wait"));
  ASSERT_TRUE(command.Shows("ready"));
  command.Signal(SIGINT);
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "ready\ncaught\n");
  EXPECT_EQ(command.exit_status(), 9);
}

TEST(Exec, ASignalThatIsNoneIsIgnored) {
  Command command(Shell("read line; echo $line"));
  command.Signal(12345);
  command.Signal(-9);
  command.Type("alive\n");
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "alive\n");
}

TEST(Exec, ACommandWhoseHostIsGoneIsEndedWithItsGroup) {
  Command command(Shell("sleep 1000 & echo $! ; wait"));
  ASSERT_TRUE(command.Shows("\n"));
  pollfd left{static_cast<int>(syscall(SYS_pidfd_open, std::stoi(command.out()), 0)), POLLIN, 0};
  ASSERT_GE(left.fd, 0);
  command.HangUp();
  EXPECT_TRUE(command.Returns());
  EXPECT_EQ(poll(&left, 1, 20000), 1);
  close(left.fd);
}

// The host had no more to say long before it went away.
TEST(Exec, ASilentCommandDoesNotOutliveItsHost) {
  Command command({"sleep", "1000"});
  command.NoMore();
  ASSERT_TRUE(command.HasNoMore());
  command.HangUp();
  EXPECT_TRUE(command.Returns());
}

TEST(Exec, WhatCannotStartEndsAsAShellSaysIt) {
  Command missing({"no-such-program"});
  ASSERT_TRUE(missing.Ends());
  EXPECT_EQ(missing.exit_status(), 127);
  EXPECT_EQ(missing.err(), "no-such-program: No such file or directory\n");
  Command denied({"/etc/passwd"});
  ASSERT_TRUE(denied.Ends());
  EXPECT_EQ(denied.exit_status(), 126);
  EXPECT_EQ(denied.err(), "/etc/passwd: Permission denied\n");
  Command nothing(std::vector<std::string>{});
  ASSERT_TRUE(nothing.Ends());
  EXPECT_EQ(nothing.exit_status(), 126);
  agent::ExecStart ghost;
  ghost.set_user("ghost");
  Command nobody({"true"}, ghost);
  ASSERT_TRUE(nobody.Ends());
  EXPECT_EQ(nobody.err(), "the guest has no user ghost\n");
  agent::ExecStart nowhere;
  nowhere.set_cwd("/no/folder");
  Command lost({"true"}, nowhere);
  ASSERT_TRUE(lost.Ends());
  EXPECT_EQ(lost.err(), "/no/folder: No such file or directory\n");
}

TEST(Exec, UserFolderAndEnvironmentAreAsAsked) {
  agent::ExecStart start;
  start.set_user("nobody");
  start.set_cwd("/usr");
  (*start.mutable_env())["GREETING"] = "a = b";
  (*start.mutable_env())["LANG"] = "C";
  Command command(Shell("id -un; pwd; echo $USER $LOGNAME $HOME $GREETING $LANG"), start);
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "nobody\n/usr\nnobody nobody /nonexistent a = b C\n");
}

TEST(Exec, RootIsTheDefault) {
  Command command(Shell("id -un; pwd; echo $USER $HOME"));
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "root\n/\nroot /root\n");
}

TEST(Exec, WordsFolderAndValuesAreBytes) {
  const Folder folder;
  const std::string odd = "\xFF\xFE '\"\n$x";
  ASSERT_EQ(mkdir((folder / odd).c_str(), 0755), 0);
  agent::ExecStart start;
  start.set_cwd(folder / odd);
  (*start.mutable_env())["ODD"] = odd;
  Command command({"sh", "-c", "printf '%s|' \"$1\" \"$ODD\" \"${PWD##*/}\"", "sh", odd}, start);
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), odd + "|" + odd + "|" + odd + "|");
}

// Pipes of root are not for another user to open, and a socket is for nobody.
TEST(Exec, TheStreamsMayBeOpenedByName) {
  agent::ExecStart start;
  start.set_user("nobody");
  Command command(Shell("cat /dev/stdin >/dev/stdout; echo err >/dev/stderr"), start);
  command.Type("in");
  command.CloseInput();
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "in");
  EXPECT_EQ(command.err(), "err\n");
}

TEST(Exec, ASignalIsNotBehindInputThatNobodyReads) {
  constexpr uint32_t kWindow = 256 * 1024;
  agent::ExecStart start;
  start.set_input_window(kWindow);
  Command command({"sleep", "1000"}, start);
  command.Type(std::string(kWindow, 'x'));
  command.Signal(SIGTERM);
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.signal(), SIGTERM);
}

TEST(Exec, WhatTheCommandTookIsToldOnlyWithAWindow) {
  constexpr uint32_t kWindow = 256 * 1024;
  for (const uint32_t window : {kWindow, 0u}) {
    agent::ExecStart start;
    start.set_input_window(window);
    Command command(Shell("head -c 1048576 >/dev/null; read line"), start);
    for (int i = 0; i < 16; ++i) command.Type(std::string(65536, 'x'));
    command.Type("\n");
    ASSERT_TRUE(command.Ends());
    EXPECT_GE(command.taken(), window == 0 ? 0 : 1048576 - window / 4);
    EXPECT_LE(command.taken(), window == 0 ? 0u : 1048577u);
  }
}

TEST(Exec, InputThatNobodyWillReadCountsAsTaken) {
  agent::ExecStart start;
  start.set_input_window(4096);
  Command command(Shell("exec <&-; echo deaf; exec sleep 1000"), start);
  ASSERT_TRUE(command.Shows("deaf"));
  command.Type(std::string(200000, 'x'));
  EXPECT_TRUE(command.Takes(190000));
  command.Signal(SIGKILL);
  ASSERT_TRUE(command.Ends());
}

TEST(Exec, ItsTimeIsLimited) {
  agent::ExecStart start;
  start.set_timeout_ms(200);
  Command command(Shell("sleep 1000 & echo $!; wait"), start);
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.exit_status(), 124);
  EXPECT_EQ(command.err(), "rum: ended after 200ms\n");
  pollfd left{static_cast<int>(syscall(SYS_pidfd_open, std::stoi(command.out()), 0)), POLLIN, 0};
  if (left.fd < 0) return;  // gone already
  EXPECT_EQ(poll(&left, 1, 20000), 1) << "the whole group is ended";
  close(left.fd);
}

TEST(Exec, AQuickCommandDoesNotNoticeItsTimeLimit) {
  agent::ExecStart start;
  start.set_timeout_ms(600000);
  Command command(Shell("exit 3"), start);
  ASSERT_TRUE(command.Ends());
  EXPECT_TRUE(command.Returns());
  EXPECT_EQ(command.exit_status(), 3);
}

TEST(ExecPty, TheTerminalBelongsToItsUser) {
  agent::ExecStart start = Terminal();
  start.set_user("nobody");
  Command command(Shell("stat -c '%U %a' $(tty); echo by name >$(tty)"), start);
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "nobody 620\r\nby name\r\n");
}

TEST(ExecPty, IsATerminalOfTheSizeAskedFor) {
  Command command(Shell("test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM"),
                  Terminal());
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.out(), "30 100\r\nxterm-256color\r\n");
  EXPECT_EQ(command.err(), "");
  EXPECT_EQ(command.exit_status(), 0);
}

TEST(ExecPty, FollowsTheWindow) {
  Command command(Shell("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"),
                  Terminal());
  ASSERT_TRUE(command.Shows("ready"));
  agent::ExecInput window;
  window.mutable_start()->set_rows(50);
  window.mutable_start()->set_columns(132);
  command.Send(window);
  ASSERT_TRUE(command.Ends());
  EXPECT_THAT(command.out(), EndsWith("50 132\r\n"));
}

TEST(ExecPty, ControlCIsASignal) {
  Command command(Shell("echo ready; exec sleep 1000"), Terminal());
  ASSERT_TRUE(command.Shows("ready"));
  command.Type("\x03");
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.signal(), SIGINT);
}

TEST(ExecPty, LinesGoInAndTheEndOfInputEndsIt) {
  Command command({"cat"}, Terminal());
  command.Type("line\n");
  ASSERT_TRUE(command.Shows("line\r\nline\r\n"));  // its echo, and the answer
  command.CloseInput();
  ASSERT_TRUE(command.Ends());
  EXPECT_EQ(command.exit_status(), 0);
}

TEST(ExecPty, TheLastOutputIsNotLost) {
  for (int i = 0; i < 20; ++i) {
    Command command(Shell("seq 1 2000; echo the end"), Terminal());
    ASSERT_TRUE(command.Ends());
    EXPECT_THAT(command.out(), StartsWith("1\r\n2\r\n"));
    EXPECT_THAT(command.out(), EndsWith("2000\r\nthe end\r\n"));
  }
}

TEST(Exec, TheFirstMessageMustStartIt) {
  bool asked = false;
  const absl::Status status = Exec(
      [&](agent::ExecInput* input) {
        input->set_standard_input("x");
        return !std::exchange(asked, true);
      },
      [](const agent::ExecOutput&) { return true; }, [] { return false; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rum::guest
