// The agent does not grow with what goes through it. On the real agent, in a hostname and an /etc
// of its own.
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "agent-api/client/guest_agent.h"
#include "agent-api/protocol.h"
#include "tests/agent-api/client/agent_process.h"
#include "tests/agent-api/guest/folder.h"
#include "tests/agent-api/guest/private_etc.h"
#include "tests/controller/guests/by_process.h"

namespace rum {
namespace {

struct Output {
  uint64_t heard = 0;    // bytes
  uint64_t missing = 0;  // that were not kept
  uint64_t written = 0;
};

Output RunScript(GuestAgent* agent, const std::string& script) {
  Output output;
  uint64_t at = 0;
  agent::RunScriptRequest request;
  request.set_kind("boot");
  request.set_run_id("one");
  request.set_script(script);
  const auto run = agent->RunScript(request, [&](const agent::RunScriptEvent& event) {
    const size_t size = event.standard_output().size() + event.standard_error().size();
    if (size == 0) return;
    output.missing += event.offset() - at;
    output.heard += size;
    at = event.offset() + size;
  });
  EXPECT_TRUE(run.ok()) << run.status();
  if (run.ok()) {
    output.missing += run->output_bytes() - at;
    output.written = run->output_bytes();
  }
  return output;
}

class AgentMemory : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    EnterPrivateEtc();
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // what a guest's init does
  }
  void SetUp() override { ASSERT_TRUE(agent_->WaitConnected(absl::Seconds(60)).ok()); }

  const Folder folder_;
  AgentProcess process_{folder_.path()};
  const std::unique_ptr<GuestAgent> agent_ = ConnectByProcess(process_.opener(), nullptr);
};

// What the agent may take for a command, by what it holds at the most: a window of input that the
// command has not read (see kWindowBytes), as much again in the pieces that it comes and is put
// together in, as much for what goes back; and what was never used before of program and heap.
constexpr long kMostKb = 3 * kWindowBytes / 1024 + 12 * 1024;

// 100 MB there and back while nobody keeps more than buffers of it.
TEST_F(AgentMemory, AHundredMegabytesThroughACommand) {
  constexpr size_t kPiece = 64 * 1024;
  constexpr size_t kPieces = 1600;
  std::string piece(kPiece, '\0');
  for (size_t i = 0; i < kPiece; ++i) piece[i] = static_cast<char>(i * 2654435761u >> 11);
  const long before = process_.PeakKb();
  size_t sent = 0;
  size_t got = 0;
  bool right = true;
  const absl::Status status = agent_->Exec(
      [&](agent::ExecInput* input) {
        if (sent > kPieces) return false;
        if (sent == 0) input->mutable_start()->add_argv("cat");
        if (sent > 0) input->set_standard_input(piece);
        ++sent;
        return true;
      },
      [&](const agent::ExecOutput& output) {
        const std::string& bytes = output.standard_output();
        for (size_t at = 0; right && at < bytes.size();) {
          const size_t in_piece = (got + at) % kPiece;
          const size_t n = std::min(bytes.size() - at, kPiece - in_piece);
          right = bytes.compare(at, n, piece, in_piece, n) == 0;
          at += n;
        }
        got += bytes.size();
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(got, kPiece * kPieces);
  EXPECT_TRUE(right);
  EXPECT_LT(process_.PeakKb() - before, kMostKb);
}

// What is not the newest is cut, and that shows.
TEST_F(AgentMemory, FiftyMegabytesOfAScriptsOutput) {
  const Output live = RunScript(agent_.get(), "head -c 50000000 /dev/zero | tr '\\0' x");
  EXPECT_EQ(live.written, 50000000u);
  EXPECT_EQ(live.heard + live.missing, 50000000u);
  const Output later = RunScript(agent_.get(), "");  // the same run again
  EXPECT_EQ(later.heard + later.missing, 50000000u);
  EXPECT_GE(later.heard, 15u << 20);
  EXPECT_LT(later.heard, 17u << 20);
  std::fprintf(stderr, "agent: at most %ld kB resident; %lu bytes seen live, %lu kept\n",
               process_.PeakKb(), static_cast<unsigned long>(live.heard),
               static_cast<unsigned long>(later.heard));
  EXPECT_LT(process_.PeakKb(), 64 * 1024);
}

}  // namespace
}  // namespace rum
