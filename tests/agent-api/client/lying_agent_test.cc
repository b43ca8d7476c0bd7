// What a guest that lies costs the host, over the real channel and the real client:
// docs/security.md has the numbers.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/agent.grpc.pb.h"
#include "agent-api/budget.h"
#include "agent-api/channel/frame.h"
#include "agent-api/channel/guest_link.h"
#include "agent-api/channel/socket_io.h"
#include "agent-api/client/checked_reply.h"
#include "agent-api/client/guest_agent.h"
#include "agent-api/protocol.h"
#include "controller/run_store.h"
#include "tests/agent-api/guest/folder.h"

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

struct Lies {
  std::function<void(agent::Observation*)> greeting;     // to a host that does not know it yet
  std::function<void(agent::Observation*)> observation;  // and to one that does
  std::function<grpc::Status()> error;                   // in place of an observation
  bool breaks = false;                                   // each session, as soon as it began
  bool notices = false;                                  // without end
};

class LyingService final : public agent::Agent::Service {
 public:
  explicit LyingService(const Lies& lies) : lies_(lies) {}

  grpc::Status Observe(grpc::ServerContext*, const agent::ObserveRequest* request,
                       agent::Observation* reply) override {
    reply->set_agent_version(kAgentVersion);
    reply->set_protocol(kProtocol);
    reply->set_boot_id("boot");
    const bool greets = request->user().empty();
    if (!greets && lies_.error) return lies_.error();
    if (greets && lies_.greeting) lies_.greeting(reply);
    if (!greets && lies_.observation) lies_.observation(reply);
    return grpc::Status::OK;
  }
  grpc::Status Watch(grpc::ServerContext* context, const agent::WatchRequest*,
                     grpc::ServerWriter<agent::Changed>* writer) override {
    agent::Changed change;
    change.add_what("hostname");
    while (lies_.notices && !context->IsCancelled() && writer->Write(change)) ++notices;
    return grpc::Status::OK;
  }
  // As much as goes in a second, each piece far from the one before.
  grpc::Status RunScript(grpc::ServerContext* context, const agent::RunScriptRequest* request,
                         grpc::ServerWriter<agent::RunScriptEvent>* writer) override {
    const auto end = std::chrono::steady_clock::now() + 1s;
    agent::RunScriptEvent event;
    event.set_standard_output(std::string(kMostEventBytes, 'x'));
    for (uint64_t at = 0; std::chrono::steady_clock::now() < end; at += 1 << 30) {
      event.set_offset(at);
      if (context->IsCancelled() || !writer->Write(event)) break;
    }
    event.mutable_ended()->set_run_id("another");
    event.mutable_ended()->set_kind(request->kind());
    writer->Write(event);
    return grpc::Status::OK;
  }

  std::atomic<int> notices = 0;

 private:
  const Lies lies_;
};

class LyingAgent {
 public:
  explicit LyingAgent(const Lies& lies)
      : lies_(lies), service_(lies), wake_(eventfd(0, EFD_CLOEXEC)) {
    signal(SIGPIPE, SIG_IGN);  // as the controller does
    // As in the controller, where gRPC never ends: its own end would be waited for, each time.
    static const bool kept = (grpc_init(), true);
    EXPECT_TRUE(kept);
    EXPECT_TRUE(SocketPair(&port_, &channel_));
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.SetMaxSendMessageSize(-1);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::CQ_TIMEOUT_MSEC, 100);
    server_ = builder.BuildAndStart();
  }
  ~LyingAgent() {
    eventfd_write(wake_, 1);
    if (link_.joinable()) link_.join();
    server_->Shutdown(std::chrono::system_clock::now());
    for (const int fd : {port_, channel_, wake_}) close(fd);
  }

  void Serve() {
    link_ = std::thread([this] {
      ServeGuestLink(port_, wake_, [this](int socket) {
        ++sessions;
        if (lies_.breaks) {
          close(socket);
        } else {
          grpc::AddInsecureChannelFromFd(server_.get(), socket);
        }
      });
    });
  }
  // In place of that: sends `bytes` as fast as they are taken, and reads nothing.
  void Flood(const std::string& bytes) {
    link_ = std::thread([this, bytes] {
      pollfd fds[2] = {{port_, POLLOUT, 0}, {wake_, POLLIN, 0}};
      while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
        if (write(port_, bytes.data(), bytes.size()) > 0) ++floods;
      }
    });
  }
  ChannelOpener opener() {
    return [this]() -> absl::StatusOr<int> { return fcntl(channel_, F_DUPFD_CLOEXEC, 0); };
  }

  // Or: says `begin` in each session, and then `more` without end.
  void ServeBytes(const std::string& begin, const std::string& more) {
    link_ = std::thread([this, begin, more] {
      std::vector<std::thread> writers;
      ServeGuestLink(port_, wake_, [&](int socket) {
        ++sessions;
        writers.emplace_back([this, socket, begin, more] {
          fcntl(socket, F_SETFL, 0);
          for (bool open = SendAll(socket, begin); open; open = SendAll(socket, more)) ++floods;
          close(socket);
        });
      });
      for (std::thread& writer : writers) writer.join();
    });
  }

  std::atomic<int> sessions = 0;
  std::atomic<int> floods = 0;
  LyingService& service() { return service_; }

 private:
  const Lies lies_;
  LyingService service_;
  const int wake_;
  int port_ = -1;
  int channel_ = -1;
  std::unique_ptr<grpc::Server> server_;
  std::thread link_;
};

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
  const auto host = ConnectGuestAgent(agent.opener(), nullptr);
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
  const auto host = ConnectGuestAgent(agent.opener(), nullptr);
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
    const auto host = ConnectGuestAgent(agent.opener(), nullptr);
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
  const auto host = ConnectGuestAgent(agent.opener(), nullptr);
  const size_t heap = Heap();
  agent.Flood(resets);
  EXPECT_FALSE(host->WaitConnected(absl::Seconds(1)).ok());
  EXPECT_LT(Grown(heap, Heap()), 2 * kMegabyte);
  EXPECT_LT(agent.floods, 1000) << "what is not read is not sent";
}

std::string Http2Frame(unsigned type, unsigned flags, unsigned stream, const std::string& payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame + payload;
}

TEST(LyingAgentTest, HeadersWithoutEndAndQuestionsWithoutEndCostNoMemory) {
  const std::string settings = Http2Frame(4, 0, 0, "");
  // A literal of 100 MB that is never whole.
  const std::string header = Http2Frame(1, 0, 1, std::string("\0\1a\x7f\x81\xc1\xd7\x2f", 8));
  const std::string more = Http2Frame(9, 0, 1, std::string(16 * 1024, 'x'));
  std::string pings;
  for (int i = 0; i < 1000; ++i) pings += Http2Frame(6, 0, 0, "12345678");
  for (const auto& [begin, without_end] :
       {std::pair(settings + header, more), std::pair(settings, pings)}) {
    LyingAgent agent({});
    const auto host = ConnectGuestAgent(agent.opener(), nullptr);
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
  const auto host = ConnectGuestAgent(agent.opener(), nullptr);
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
  auto host = ConnectGuestAgent(agent.opener(), [&] { ++looks; });
  ASSERT_TRUE(host->WaitConnected(absl::Seconds(20)).ok());
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(1s);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LE(looks, 12 + 5 * took.count());
  EXPECT_GT(agent.service().notices, 100) << "it did tell more";
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
  const auto host = ConnectGuestAgent(agent.opener(), nullptr);
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
