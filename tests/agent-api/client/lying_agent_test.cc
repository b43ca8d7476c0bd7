// What a guest that lies costs the host, over the real channel and the real client:
// docs/security.md has the numbers.
#include "tests/fakes/guest/lying_agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/channel/frame.h"
#include "agent-api/client/checked_reply.h"
#include "agent-api/client/guest_agent.h"
#include "controller/aspects/run_store.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/controller/guests/by_process.h"
#include "tests/eventually.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr size_t kMegabyte = 1 << 20;

size_t Entries(const std::string& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}
size_t Descriptors() { return Entries("/proc/self/fd"); }
size_t Threads() { return Entries("/proc/self/task"); }
size_t Heap() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}
size_t Grown(size_t before, size_t now) { return now > before ? now - before : 0; }

agent::ObserveRequest AboutDev() {
  agent::ObserveRequest request;
  request.set_user("dev");
  return request;
}

TEST(LyingAgentTest, WhatNoAgentSaysIsAStatusAndTheSessionGoesOn) {
  std::atomic<int> lie = 0;
  Lies lies;
  lies.observation = [&](agent::Observation* seen) {
    if (lie == 0) {
      for (int i = 0; i < 200; ++i) {
        seen->add_runs()->set_kind("kind-" + std::to_string(i));
        seen->mutable_runs(i)->set_run_id("run-" + std::to_string(i));
      }
    }
    if (lie == 1) seen->set_hostname(std::string(300'000, 'h'));
    if (lie == 2) seen->set_hostname(std::string(3 * kMegabyte, 'h'));
  };
  LyingAgent agent(lies);
  agent.Serve();
  const auto host = ConnectByProcess(agent.opener(), nullptr);
  ASSERT_TRUE(host->WaitConnected(absl::Seconds(20)).ok());
  for (lie = 0; lie < 3; ++lie) {
    const absl::Status status = host->Observe(AboutDev()).status();
    EXPECT_TRUE(SaysWhatNoAgentSays(status)) << lie << ": " << status;
  }
  EXPECT_TRUE(host->Observe(AboutDev()).ok());
  EXPECT_EQ(agent.sessions, 1);
}

TEST(LyingAgentTest, LongReasonsAreNone) {
  std::atomic<size_t> size = 0;
  Lies lies;
  lies.error = [&] { return grpc::Status(grpc::StatusCode::INTERNAL, std::string(size, 'e')); };
  LyingAgent agent(lies);
  agent.Serve();
  const auto host = ConnectByProcess(agent.opener(), nullptr);
  ASSERT_TRUE(host->WaitConnected(absl::Seconds(20)).ok());
  size = 6'000;
  EXPECT_TRUE(SaysWhatNoAgentSays(host->Observe(AboutDev()).status()));
  size = 40'000;  // which gRPC's own limit meets
  const absl::Status status = host->Observe(AboutDev()).status();
  EXPECT_FALSE(status.ok());
  EXPECT_LT(status.message().size(), 300u) << status;
}

TEST(LyingAgentTest, ABuildIdOfMegabytesIsNotKeptAndNotAskedForAgain) {
  for (const size_t size : {kMegabyte / 2, 4 * kMegabyte}) {
    std::atomic<int> asked = 0;
    Lies lies;
    lies.greeting = [&](agent::Observation* seen) {
      ++asked;
      seen->set_build_id(std::string(size, 'f'));
    };
    LyingAgent agent(lies);
    agent.Serve();
    const auto host = ConnectByProcess(agent.opener(), nullptr);
    const absl::Status status = host->WaitConnected(absl::Seconds(1));
    EXPECT_THAT(std::string(status.message()), HasSubstr(kNoAgent));
    EXPECT_LT(status.message().size(), 300u);
    EXPECT_EQ(asked, 1);
  }
}

TEST(LyingAgentTest, AFloodOfResetsCostsNoMemory) {
  LyingAgent agent({});
  std::string resets;
  for (int i = 0; i < 1000; ++i) resets += EncodeControl(FrameKind::kReset, NewNonce());
  const auto host = ConnectByProcess(agent.opener(), nullptr);
  const size_t heap = Heap();
  agent.Flood(resets);
  EXPECT_FALSE(host->WaitConnected(absl::Seconds(1)).ok());
  EXPECT_LT(Grown(heap, Heap()), 2 * kMegabyte);
  EXPECT_LT(agent.floods, 1000) << "what is not read is not sent";
}

TEST(LyingAgentTest, HeadersWithoutEndAndQuestionsWithoutEndCostNoMemory) {
  const std::string settings = Http2Frame(4, 0, 0, "");
  // A literal of 100 MB that is never whole.
  const std::string header = Http2Frame(1, 0, 1, std::string("\0\1a\x7f\x81\xc1\xd7\x2f", 8));
  const std::string more = Http2Frame(9, 0, 1, std::string(16 * 1024, 'x'));
  const std::string pings = ManyOf(Http2Frame(6, 0, 0, "12345678"));
  for (const auto& [begin, without_end] :
       {std::pair(settings + header, more), std::pair(settings, pings)}) {
    LyingAgent agent({});
    const auto host = ConnectByProcess(agent.opener(), nullptr);
    const size_t heap = Heap();
    agent.ServeBytes(begin, without_end);
    EXPECT_FALSE(host->WaitConnected(absl::Seconds(1)).ok());
    EXPECT_LT(Grown(heap, Heap()), 4 * kMegabyte);
    EXPECT_LE(agent.sessions, 20);
  }
}

TEST(LyingAgentTest, SessionsThatBreakAtOnceAreFew) {
  Lies lies;
  lies.breaks = true;
  LyingAgent agent(lies);
  const auto host = ConnectByProcess(agent.opener(), nullptr);
  const size_t descriptors = Descriptors();
  const size_t threads = Threads();
  agent.Serve();
  EXPECT_FALSE(host->WaitConnected(absl::Seconds(1)).ok());
  EXPECT_LE(agent.sessions, 20);
  EXPECT_LE(Grown(descriptors, Descriptors()), 8u);
  EXPECT_LE(Grown(threads, Threads()), 4u);
}

TEST(LyingAgentTest, AFloodOfNoticesMakesFewLooks) {
  Lies lies;
  lies.notices = true;
  LyingAgent agent(lies);
  agent.Serve();
  std::atomic<int> looks = 0;
  const size_t heap = Heap();
  const auto begin = std::chrono::steady_clock::now();
  auto host = ConnectByProcess(agent.opener(), [&] { ++looks; });
  ASSERT_TRUE(host->WaitConnected(absl::Seconds(20)).ok());
  // More than may come at once: by then it is the pace alone that lets looks through.
  EXPECT_TRUE(Eventually([&] { return looks > 12 && agent.service().notices > 100; }, 60s));
  const int made = looks;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LE(made, 12 + 5 * took.count());
  EXPECT_LT(Grown(heap, Heap()), 8 * kMegabyte) << "the stream's window";
  const auto end = std::chrono::steady_clock::now();
  host.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - end, 60s)
      << "a controller that stops waits for none";
}

TEST(LyingAgentTest, OutputAtInventedPlacesTakesUpLittleAndTheEndOfAnotherRunIsNone) {
  const Folder folder;
  RunStore store(folder / "runs");
  LyingAgent agent({});
  agent.Serve();
  const auto host = ConnectByProcess(agent.opener(), nullptr);
  ASSERT_TRUE(host->WaitConnected(absl::Seconds(20)).ok());
  const size_t descriptors = Descriptors();
  agent::RunScriptRequest request;
  request.set_kind("boot");
  request.set_run_id("one");
  uint64_t heard = 0;
  const auto run = host->RunScript(request, [&](const agent::RunScriptEvent& event) {
    heard += event.standard_output().size();
    store.Take("m", "one", event);
  });
  EXPECT_TRUE(SaysWhatNoAgentSays(run.status())) << run.status();
  uint64_t kept = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
    if (entry.is_regular_file()) kept += entry.file_size();
  }
  EXPECT_GT(heard, kept);
  EXPECT_LE(kept, 17 * kMegabyte);
  EXPECT_LE(Grown(descriptors, Descriptors()), 2u);
}

}  // namespace
}  // namespace rum
