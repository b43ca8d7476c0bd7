// A guest's process that was taken over: it may say anything to the controller. What it says here
// is its machine's name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "agent-api/budget.h"
#include "agent-api/client/checked_reply.h"
#include "controller/guests/call_stream.h"
#include "controller/guests/frames.h"
#include "controller/guests/guest_process.h"
#include "controller/guests/guests.pb.h"
#include "controller/guests/no_process.h"
#include "controller/guests/zygote.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using guests::FromProcess;
using guests::ToProcess;
using testing::HasSubstr;

constexpr std::chrono::seconds kSeconds{60};

void Say(int socket, const FromProcess& message, Fd fd = Fd()) {
  FrameWriter writer;
  writer.Add(message, std::move(fd));
  if (writer.Flush(socket) == FrameWriter::Outcome::kBroken) _exit(1);
}

void SayConnected(int socket) {
  FromProcess message;
  message.mutable_state()->set_connected(true);
  message.mutable_state()->set_protocol(4);
  Say(socket, message);
}

// Answers each call by `answer`, after it has said that there is an agent.
void AnswerAll(int socket, const std::function<void(uint64_t number)>& answer) {
  SayConnected(socket);
  FrameReader reader(kMostFrameBytesToProcess, true);
  while (reader.Read(socket, [&](const std::string& bytes, const Fd&) {
    ToProcess message;
    if (message.ParseFromString(bytes) && message.has_call()) answer(message.call().number());
    return true;
  }) == FrameReader::Outcome::kMore) {
  }
}

void Answer(int socket, uint64_t number, const std::string& reply, int code = 0,
            const std::string& text = "") {
  FromProcess message;
  message.mutable_answer()->set_number(number);
  message.mutable_answer()->set_reply(reply);
  message.mutable_answer()->set_code(code);
  message.mutable_answer()->set_text(text);
  Say(socket, message);
}

void SendRaw(int socket, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t sent = send(socket, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) _exit(1);
    at += static_cast<size_t>(sent);
  }
}

void Without(int socket, const std::function<void(FromProcess*)>& fill) {
  FromProcess message;
  fill(&message);
  for (;;) Say(socket, message);
}

using Lie = std::function<void(int socket)>;
// Each ends its process, whoever asks.
const std::map<std::string, Lie>& EndingLies() {
  static const auto* const lies = new std::map<std::string, Lie>{
      {"noise",
       [](int socket) {
         SendRaw(socket, std::string(1 << 20, '\xff'));
         pause();
       }},
      {"huge",
       [](int socket) {
         SendRaw(socket, std::string("\0\0\0\x7f\0", 5));
         pause();
       }},
      {"unread",
       [](int socket) {
         SendRaw(socket, std::string("\3\0\0\0\0\xff\xff\xff", 8));
         pause();
       }},
      {"nothing", [](int socket) { Without(socket, [](FromProcess*) {}); }},
      {"changes",
       [](int socket) { Without(socket, [](FromProcess* m) { m->set_changed(true); }); }},
      {"states", [](int socket) { Without(socket, [](FromProcess* m) { m->mutable_state(); }); }},
      {"wishes",
       [](int socket) { Without(socket, [](FromProcess* m) { m->set_wanted(guests::AGENT); }); }},
      {"strange",
       [](int socket) {
         Without(socket, [](FromProcess* m) { m->set_wanted(static_cast<guests::Channel>(7)); });
       }},
      {"why",
       [](int socket) {
         Without(socket,
                 [](FromProcess* m) { m->mutable_state()->set_why(std::string(100'000, 'w')); });
       }},
      {"secret",
       [](int socket) {
         Without(socket, [](FromProcess* m) { m->mutable_state()->set_stream_secret("s"); });
       }},
      {"answers",
       [](int socket) {
         Without(socket,
                 [](FromProcess* m) { m->mutable_answer()->set_number(uint64_t{1} << 40); });
       }},
      {"pieces",
       [](int socket) {
         Without(socket, [](FromProcess* m) { m->mutable_piece()->set_number(uint64_t{1} << 40); });
       }},
      {"overs",
       [](int socket) {
         Without(socket, [](FromProcess* m) { m->mutable_over()->set_number(uint64_t{1} << 40); });
       }},
      {"fds",
       [](int socket) {
         FromProcess message;
         message.set_changed(true);
         for (;;) Say(socket, message, Fd(dup(socket)));
       }},
  };
  return *lies;
}

// And these lie in what they answer.
const std::map<std::string, Lie>& AnsweringLies() {
  static const auto* const lies = new std::map<std::string, Lie>{
      {"hostname",
       [](int socket) {
         agent::Observation seen;
         seen.set_hostname(std::string(1000, 'h'));
         AnswerAll(socket, [&](uint64_t n) { Answer(socket, n, seen.SerializeAsString()); });
       }},
      {"runs",
       [](int socket) {
         agent::Observation seen;
         for (int i = 0; i < 300; ++i) seen.add_runs()->set_kind("x");
         AnswerAll(socket, [&](uint64_t n) { Answer(socket, n, seen.SerializeAsString()); });
       }},
      {"large",
       [](int socket) {
         agent::Observation seen;
         for (int i = 0; i < 10'000; ++i) seen.add_groups(std::string(64, 'g'));
         AnswerAll(socket, [&](uint64_t n) { Answer(socket, n, seen.SerializeAsString()); });
       }},
      {"replaced",
       [](int socket) {
         agent::Observation seen;
         seen.set_not_replaced(std::string(100'000, 'r'));
         AnswerAll(socket, [&](uint64_t n) { Answer(socket, n, seen.SerializeAsString()); });
       }},
      {"unreadable",
       [](int socket) {
         AnswerAll(socket, [&](uint64_t n) { Answer(socket, n, std::string(100, '\xff')); });
       }},
      {"code",
       [](int socket) { AnswerAll(socket, [&](uint64_t n) { Answer(socket, n, "", 99, "?"); }); }},
      {"text",
       [](int socket) {
         AnswerAll(socket,
                   [&](uint64_t n) { Answer(socket, n, "", 13, std::string(100'000, 't')); });
       }},
      {"stream",
       [](int socket) {
         FromProcess message;
         message.mutable_piece()->set_message(std::string(100'000, 'p'));
         AnswerAll(socket, [&](uint64_t n) {
           message.mutable_piece()->set_number(n);
           for (int i = 0; i < 1000; ++i) Say(socket, message);
         });
       }},
  };
  return *lies;
}

void BeHostile(int socket) {
  char name[16] = {};
  prctl(PR_GET_NAME, name);
  const std::string lie = name + std::strlen("rum: ");
  if (const auto found = EndingLies().find(lie); found != EndingLies().end()) {
    found->second(socket);
  }
  if (const auto found = AnsweringLies().find(lie); found != AnsweringLies().end()) {
    found->second(socket);
  }
  if (lie == "unfit") {
    FromProcess message;
    message.set_unfit("it cannot be confined: no seccomp");
    Say(socket, message);
    _exit(1);
  }
  // Else it has no word for anybody, takes nothing, and does not go.
  SayConnected(socket);
  for (;;) pause();
}

size_t Heap() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}
size_t Descriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                           std::filesystem::directory_iterator()));
}

std::unique_ptr<GuestProcess> Connect(const std::string& lie, std::atomic<int>* changes = nullptr) {
  return std::make_unique<GuestProcess>(
      lie, []() -> absl::StatusOr<int> { return absl::UnavailableError("no channel"); },
      [changes] {
        if (changes != nullptr) ++*changes;
      },
      "");
}

TEST(HostileProcessTest, WhatNoProcessSaysEndsItAndCostsLittle) {
  for (const auto& [lie, does] : EndingLies()) {
    SCOPED_TRACE(lie);
    const size_t heap = Heap();
    const size_t descriptors = Descriptors();
    std::atomic<int> changes = 0;
    const auto process = Connect(lie, &changes);
    EXPECT_TRUE(Eventually(
        [&] {
          return process->SetHostname("x").message().find("says what none says") !=
                 std::string::npos;
        },
        kSeconds))
        << process->SetHostname("x");
    EXPECT_LT(Heap(), heap + (8 << 20));
    EXPECT_LE(Descriptors(), descriptors + 12);
    EXPECT_LE(changes, 100);
  }
}

TEST(HostileProcessTest, WhatNoAgentSaysEndsItToo) {
  for (const auto& [lie, does] : AnsweringLies()) {
    SCOPED_TRACE(lie);
    const size_t heap = Heap();
    const auto process = Connect(lie);
    ASSERT_TRUE(process->WaitConnected(absl::Seconds(60)).ok());
    const pid_t pid = process->pid();
    const absl::Status status = process->Observe(agent::ObserveRequest()).status();
    EXPECT_FALSE(status.ok());
    EXPECT_LT(status.message().size(), 400u);
    if (lie != "code" && lie != "text" && lie != "stream") {
      EXPECT_TRUE(SaysWhatNoAgentSays(status)) << status;
    }
    EXPECT_TRUE(Eventually([&] { return process->pid() != pid; }, kSeconds));
    EXPECT_LT(Heap(), heap + (8 << 20));
  }
}

TEST(HostileProcessTest, OneThatTakesNothingHoldsUpNobodyAndIsEnded) {
  const auto process = Connect("deaf");
  ASSERT_TRUE(process->WaitConnected(absl::Seconds(60)).ok());
  const pid_t pid = process->pid();
  const size_t heap = Heap();
  // A command whose input nobody takes waits, and takes up no more than a window: what fits, and
  // the one that waits.
  constexpr size_t kInput = 64 << 10;
  constexpr size_t kMostInputs = CallStream::kWindow / kInput + 1;
  std::atomic<size_t> inputs = 0;
  std::thread command([&] {
    process
        ->Exec(
            [&](agent::ExecInput* input) {
              input->set_standard_input(std::string(kInput, 'x'));
              return ++inputs <= 10 * kMostInputs;
            },
            [](const agent::ExecOutput&) {})
        .IgnoreError();
  });
  EXPECT_TRUE(Eventually([&] { return inputs >= kMostInputs; }, kSeconds));
  EXPECT_LT(Heap(), heap + (8 << 20));
  // Scripts that nobody takes are more than it may leave.
  agent::SetBootScriptRequest request;
  request.set_script(std::string(16 << 20, 's'));
  std::vector<std::thread> calls;
  for (int i = 0; i < 6; ++i) {
    calls.emplace_back([&] { process->SetBootScript(request).IgnoreError(); });
  }
  for (std::thread& call : calls) call.join();
  command.join();
  EXPECT_EQ(inputs, kMostInputs);
  EXPECT_TRUE(Eventually([&] { return process->pid() != pid; }, kSeconds));
}

TEST(HostileProcessTest, WhyOneCannotDoItsWorkIsTold) {
  const auto process = Connect("unfit");
  const absl::Status why =
      absl::ResourceExhaustedError(absl::StrCat(kNoProcess, "it cannot be confined: no seccomp"));
  EXPECT_TRUE(Eventually([&] { return process->SetHostname("x") == why; }, kSeconds))
      << process->SetHostname("x");
}

TEST(HostileProcessTest, OneThatDoesNotGoIsEnded) {
  auto process = Connect("stays");
  ASSERT_TRUE(process->WaitConnected(absl::Seconds(60)).ok());
  const pid_t pid = process->pid();
  process.reset();
  EXPECT_TRUE(Eventually([&] { return kill(pid, 0) != 0; }, kSeconds));
}

pid_t ParentOf(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    pid_t parent = -1;
    if (word == "PPid:" && status >> parent) return parent;
  }
  return -1;
}

TEST(HostileProcessTest, WhoMakesThemMayBeKilledAndAnotherOneMakesThem) {
  const auto process = Connect("deaf");
  for (int times = 0; times < 2; ++times) {
    ASSERT_TRUE(process->WaitConnected(absl::Seconds(60)).ok());
    const pid_t pid = process->pid();
    const pid_t zygote = ParentOf(pid);
    ASSERT_EQ(kill(zygote, SIGKILL), 0);
    EXPECT_TRUE(Eventually([&] { return process->pid() > 0 && process->pid() != pid; }, kSeconds));
    EXPECT_TRUE(Eventually([&] { return kill(pid, 0) != 0; }, kSeconds))
        << "it ended with the one that made it";
    EXPECT_NE(ParentOf(process->pid()), zygote);
  }
}

// The last one: nobody makes processes after it.
TEST(HostileProcessTest, WithoutWhoMakesThemMachinesSayWhatToDo) {
  const auto process = Connect("deaf");
  ASSERT_TRUE(process->WaitConnected(absl::Seconds(60)).ok());
  const pid_t pid = process->pid();
  const pid_t zygote = ParentOf(pid);
  const pid_t keeper = ParentOf(zygote);
  ASSERT_EQ(ParentOf(keeper), getpid());
  ASSERT_EQ(kill(keeper, SIGKILL), 0);
  ASSERT_EQ(kill(zygote, SIGKILL), 0);
  EXPECT_TRUE(Eventually(
      [&] {
        const std::string why(process->SetHostname("x").message());
        return why.find("`rum controller stop`") != std::string::npos;
      },
      kSeconds))
      << process->SetHostname("x");
  EXPECT_TRUE(absl::IsResourceExhausted(process->SetHostname("x")));
  EXPECT_TRUE(Eventually([&] { return kill(pid, 0) != 0; }, kSeconds))
      << "it ended with the one that made it";
}

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  if (!rum::StartZygote(argc, argv, rum::BeHostile).ok()) return 1;
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
