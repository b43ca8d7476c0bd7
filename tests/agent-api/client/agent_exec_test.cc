// Commands through the real client and agent; their finer points are in guest/exec_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent-api/client/guest_agent.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"

namespace rum {
namespace {

using testing::HasSubstr;

// What a person does while a command runs: messages, and more of them when its output says so.
struct Talk {
  std::deque<agent::ExecInput> inputs;
  std::function<void(const std::string& all_output, Talk*)> on_output = [](auto&, auto*) {};

  void Type(const std::string& bytes) { inputs.emplace_back().set_standard_input(bytes); }
  void CloseInput() { inputs.emplace_back().set_close_input(true); }
  void Signal(int number) { inputs.emplace_back().set_signal(number); }
};

struct Outcome {
  absl::Status status;
  std::string out;
  std::string err;
  int exit_status = -1;
  int signal = -1;
};

class AgentExec : public testing::Test {
 protected:
  static void SetUpTestSuite() { EnterPrivateEtc(); }
  void SetUp() override { ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(20)).ok()); }

  Outcome Run(const std::vector<std::string>& argv, Talk talk = {}, agent::ExecStart start = {}) {
    for (const std::string& word : argv) start.add_argv(word);
    agent::ExecInput first;
    *first.mutable_start() = start;
    talk.inputs.push_front(first);
    Outcome o;
    std::mutex mutex;
    std::condition_variable changed;
    bool ended = false;
    o.status = agent_->Exec(
        [&](agent::ExecInput* input) {
          std::unique_lock<std::mutex> guard(mutex);
          changed.wait(guard, [&] { return ended || !talk.inputs.empty(); });
          if (talk.inputs.empty()) return false;
          *input = std::move(talk.inputs.front());
          talk.inputs.pop_front();
          return true;
        },
        [&](const agent::ExecOutput& output) {
          const std::lock_guard<std::mutex> guard(mutex);
          o.out += output.standard_output();
          o.err += output.standard_error();
          if (output.has_exit_status()) o.exit_status = output.exit_status(), ended = true;
          if (output.has_signal()) o.signal = output.signal(), ended = true;
          talk.on_output(o.out, &talk);
          changed.notify_all();
        });
    return o;
  }

  const Folder folder_;
  AgentProcess process_{folder_ / "state"};
  std::unique_ptr<GuestAgent> agent_ = ConnectByProcess(process_.opener(), nullptr);
};

TEST_F(AgentExec, WordsStreamsAndStatus) {
  const Outcome o = Run({"sh", "-c", "printf '%s|' \"$@\"; echo err >&2; exit 7", "x", "a b", ""});
  EXPECT_TRUE(o.status.ok()) << o.status;
  EXPECT_EQ(o.out, "a b||");
  EXPECT_EQ(o.err, "err\n");
  EXPECT_EQ(o.exit_status, 7);
}

TEST_F(AgentExec, MuchInputAndItsEnd) {
  std::string data(2 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 9);
  Talk talk;
  for (size_t at = 0; at < data.size(); at += 65536) talk.Type(data.substr(at, 65536));
  talk.CloseInput();
  const Outcome o = Run({"cat"}, std::move(talk));
  EXPECT_TRUE(o.out == data);
  EXPECT_EQ(o.exit_status, 0);
}

TEST_F(AgentExec, SignalsBothWays) {
  EXPECT_EQ(Run({"sh", "-c", "kill -9 $$"}).signal, SIGKILL);
  Talk talk;
  talk.on_output = [](const std::string& out, Talk* t) {
    if (out == "ready\n") t->Signal(SIGTERM);
  };
  const Outcome o = Run({"sh", "-c", "echo ready; exec sleep 1000"}, std::move(talk));
  EXPECT_EQ(o.signal, SIGTERM);
  EXPECT_EQ(o.exit_status, -1);
}

TEST_F(AgentExec, ATerminal) {
  agent::ExecStart terminal;
  terminal.set_pty(true);
  terminal.set_rows(33);
  terminal.set_columns(101);
  Talk talk;
  talk.on_output = [](const std::string& out, Talk* t) {
    if (out == "33 101\r\n") t->Type("\x03");
  };
  const Outcome o = Run({"sh", "-c", "stty size; exec sleep 1000"}, std::move(talk), terminal);
  EXPECT_THAT(o.out, HasSubstr("33 101\r\n"));
  EXPECT_EQ(o.signal, SIGINT);
}

TEST_F(AgentExec, AnotherUserOfThisGuest) {
  agent::ExecStart start;
  start.set_user("dev");
  EXPECT_EQ(Run({"sh", "-c", "id -un; id -Gn; echo $HOME"}, {}, start).out,
            "dev\ndev adm\n/home/dev\n");
}

TEST_F(AgentExec, WhatCannotStart) {
  const Outcome o = Run({"no-such-program"});
  EXPECT_TRUE(o.status.ok()) << o.status;
  EXPECT_EQ(o.exit_status, 127);
  EXPECT_EQ(o.err, "no-such-program: No such file or directory\n");
}

TEST_F(AgentExec, NothingOfTheAgentsIsOpenInIt) {
  const Outcome o = Run({"sh", "-c",
                         "for f in $(seq 0 99); do [ -e /proc/$$/fd/$f ] && printf $f; "
                         "done"});
  EXPECT_EQ(o.out, "012");
}

TEST_F(AgentExec, OneCommandAfterAnother) {
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Run({"sh", "-c", "exit " + std::to_string(i)}).exit_status, i);
  }
}

}  // namespace
}  // namespace rum
