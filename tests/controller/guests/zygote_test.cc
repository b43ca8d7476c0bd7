// Who makes guests' processes where the system has none to give.
#include "controller/guests/zygote.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <new>
#include <string>

#include "controller/guests/frames.h"
#include "controller/guests/guest_process.h"
#include "controller/guests/guests.pb.h"
#include "controller/guests/no_process.h"
#include "tests/eventually.h"

namespace {

// How many more forks fail; the zygote's as well, which has this memory.
std::atomic<int>* failing = nullptr;

}  // namespace

// In place of libc's.
extern "C" pid_t fork() {
  int left = failing == nullptr ? 0 : failing->load();
  while (left > 0 && !failing->compare_exchange_weak(left, left - 1)) {
  }
  if (left > 0) return errno = EAGAIN, -1;
  return reinterpret_cast<pid_t (*)()>(dlsym(RTLD_NEXT, "fork"))();
}

namespace rum {
namespace {

using testing::HasSubstr;

constexpr std::chrono::seconds kSeconds{60};

// Says that there is an agent, and goes when it is let go.
void BeIdle(int socket) {
  guests::FromProcess message;
  message.mutable_state()->set_connected(true);
  message.mutable_state()->set_protocol(4);
  FrameWriter writer;
  writer.Add(message);
  writer.Flush(socket);
  char byte = 0;
  while (read(socket, &byte, 1) > 0) {
  }
}

class ZygoteTest : public testing::Test {
 protected:
  // One is made before any is to fail: the zygote has forked for itself by then.
  static void SetUpTestSuite() {
    int pair[2] = {-1, -1};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    close(pair[0]);
    ASSERT_TRUE(SpawnGuestProcess("first", Fd(pair[1])).ok());
  }
};

TEST_F(ZygoteTest, AForkThatFailsIsToldAndTheNextOneServes) {
  Fd ends[2];
  const auto spawn = [&] {
    int pair[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ends[0] = Fd(pair[0]);
    return SpawnGuestProcess("m", Fd(pair[1]));
  };
  *failing = 1;
  const absl::StatusOr<Leashed> none = spawn();
  EXPECT_TRUE(absl::IsUnavailable(none.status())) << none.status();
  EXPECT_THAT(std::string(none.status().message()),
              HasSubstr("fork: Resource temporarily unavailable; this user may have no more "));
  char byte = 0;
  EXPECT_EQ(read(ends[0].get(), &byte, 1), 0) << "nobody holds the other end";
  absl::StatusOr<Leashed> one = spawn();
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_GT(one->pid(), 0);
  EXPECT_GT(read(ends[0].get(), &byte, 1), 0);
  ends[0] = Fd();
  EXPECT_EQ(one->End(60'000), "exit status 0");
}

TEST_F(ZygoteTest, AMachineThatGotNoProcessSaysWhyAndGetsOneLater) {
  *failing = 1'000'000;
  GuestProcess process(
      "m", []() -> absl::StatusOr<int> { return absl::UnavailableError("no channel"); }, nullptr,
      "");
  EXPECT_TRUE(
      Eventually([&] { return absl::IsResourceExhausted(process.SetHostname("x")); }, kSeconds))
      << process.SetHostname("x");
  EXPECT_THAT(std::string(process.SetHostname("x").message()),
              testing::StartsWith(absl::StrCat(kNoProcess, "fork: Resource temporarily")));
  EXPECT_EQ(process.pid(), -1);
  *failing = 0;
  EXPECT_TRUE(process.WaitConnected(absl::Seconds(60)).ok());
  EXPECT_GT(process.pid(), 0);
}

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  void* const shared =
      mmap(nullptr, sizeof *failing, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  failing = new (shared) std::atomic<int>(0);
  if (!rum::StartZygote(argc, argv, rum::BeIdle).ok()) return 1;
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
