// A system that gives this user no thread any more. Each test is a process of its own, which is
// nobody's in the end: root has no such limit.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "agent-api/client/guest_agent.h"
#include "agent-api/threads.h"
#include "controller/fleet/run_loop.h"
#include "controller/listeners/forward_path.h"
#include "controller/service/call_status.h"
#include "tests/controller/service/another_user.h"
#include "tests/controller/service/service_world.h"
#include "tests/eventually.h"
#include "tests/fakes/guest/lying_agent.h"
#include "tests/idle.h"

namespace rum {
namespace {

using testing::HasSubstr;

constexpr char kNoThread[] = "no thread";

// While one lives, no thread can be started.
class NoThreads {
 public:
  NoThreads() {
    getrlimit(RLIMIT_NPROC, &before_);
    rlimit none = before_;
    none.rlim_cur = 1;
    EXPECT_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
  }
  ~NoThreads() { EXPECT_EQ(setrlimit(RLIMIT_NPROC, &before_), 0); }

 private:
  rlimit before_{};
};

// Runs `body` in a child, with what it expects.
void InAProcessOfNobodys(const std::function<void()>& prepare, const std::function<void()>& body) {
  ASSERT_EQ(getuid(), 0u) << "only root can be somebody else";
  const pid_t child = fork();
  if (child == 0) {
    prepare();
    // All threads change, those of gRPC too.
    if (setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0) {
      _exit(99);
    }
    body();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "it died by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ThreadLimit, AThreadThatCannotBeStartedIsAStatusWithARemedy) {
  InAProcessOfNobodys([] {},
                      [] {
                        {
                          const NoThreads none;
                          const absl::StatusOr<std::thread> thread = StartThread([] {});
                          EXPECT_TRUE(absl::IsUnavailable(thread.status()));
                          EXPECT_THAT(std::string(thread.status().message()),
                                      HasSubstr("ulimit -u"));
                        }
                        absl::StatusOr<std::thread> thread = StartThread([] {});
                        ASSERT_TRUE(thread.ok()) << thread.status();
                        thread->join();
                      });
}

TEST(ThreadLimit, AnAgentIsConnectedToAsSoonAsThereAreThreads) {
  std::unique_ptr<LyingAgent> guest;
  InAProcessOfNobodys(
      [&] {
        guest = std::make_unique<LyingAgent>(Lies());
        guest->Serve();
      },
      [&] {
        std::unique_ptr<GuestAgent> host;
        {
          const NoThreads none;
          host = ConnectGuestAgent(guest->opener(), nullptr);
          EXPECT_THAT(std::string(host->WaitConnected(absl::Milliseconds(10)).message()),
                      HasSubstr(kNoThread));
          EXPECT_THAT(std::string(host->SetHostname("x").message()), HasSubstr(kNoThread));
        }
        EXPECT_TRUE(host->WaitConnected(absl::Seconds(60)).ok());
        {
          const NoThreads none;
          absl::Status dialed;
          host->Dial(80, [&](absl::StatusOr<int> socket) { dialed = socket.status(); });
          EXPECT_THAT(std::string(dialed.message()), HasSubstr(kNoThread));
          const absl::Status ran =
              host->Exec([](agent::ExecInput*) { return false; }, [](const agent::ExecOutput&) {});
          EXPECT_THAT(std::string(ran.message()), HasSubstr(kNoThread));
          const ForwardPath path([]() -> absl::StatusOr<int> { return absl::NotFoundError(""); });
          EXPECT_THAT(std::string(path.status().message()), HasSubstr(kNoThread));
        }
        EXPECT_TRUE(host->SetHostname("x").ok()) << "the session goes on";
        host.reset();
      });
}

TEST(ThreadLimit, ALoopGetsItsWorkersWhenThereAreThreads) {
  InAProcessOfNobodys(
      [] {},
      [] {
        std::atomic<int> runs = 0;
        RunLoopOptions options;
        options.workers = 1;
        options.stuck_after = absl::Milliseconds(1);
        absl::Notification leave;
        RunLoop loop(
            [&](const std::string& key) {
              ++runs;
              if (key == "stuck") leave.WaitForNotification();
              return absl::OkStatus();
            },
            options);
        loop.Wake("stuck");
        EXPECT_TRUE(Eventually([&] { return runs == 1; }));
        {
          const NoThreads none;
          loop.Wake("other");
          EXPECT_TRUE(OtherThreads().FallIdle());
          EXPECT_EQ(runs, 1);
        }
        EXPECT_TRUE(Eventually([&] { return runs == 2; }, std::chrono::seconds(60)));
        leave.Notify();
      });
}

struct World : ServiceTest {
  void TestBody() override {}
  using ServiceTest::Apply;
  using ServiceTest::client_;
  using ServiceTest::ThisMachine;
  using ServiceTest::UpRequest;
  absl::Status List() {
    for (const auto& one : controller_->List(false, absl::Seconds(60))) {
      if (!one.unknown.empty()) return absl::UnknownError(one.unknown);
    }
    return absl::OkStatus();
  }
};

TEST(ThreadLimit, AControllerFailsAtWhatNeedsOneAndLives) {
  std::unique_ptr<World> world;
  InAProcessOfNobodys(
      [&] {
        world = std::make_unique<World>();
        ASSERT_TRUE(world->Apply(world->UpRequest()).status.ok());
      },
      [&] {
        {
          const NoThreads none;
          EXPECT_THAT(std::string(world->List().message()), HasSubstr(kNoThread));
          // gRPC may have a thread to spare for the call itself.
          for (int i = 0; i < 5; ++i) {
            const Heard heard = world->Apply(world->UpRequest());
            EXPECT_THAT(WhyItFailed(heard.status), HasSubstr(kNoThread));
          }
        }
        // The file is root's, and so no more to be read; the call is answered.
        EXPECT_TRUE(Eventually([&] {
          const Heard heard = world->Apply(world->UpRequest());
          return heard.status.ok() && heard.outcomes.size() == 1;
        }));
        EXPECT_TRUE(world->List().ok()) << world->List();
      });
}

}  // namespace
}  // namespace rum
