// A guest's process that dies: what its own machine sees of that, and another one.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "controller/listeners/io_thread.h"
#include "tests/controller/guests/by_process.h"
#include "tests/eventually.h"
#include "tests/fakes/guest/lying_agent.h"

namespace rum {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr std::chrono::seconds kSeconds{60};

agent::ObserveRequest AnyRequest() {
  agent::ObserveRequest request;
  request.set_user("dev");
  return request;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A guest and its process.
struct Machine {
  explicit Machine(const Lies& lies = {}) : agent(lies) {
    agent.Serve();
    process = ConnectByProcess(agent.opener(), [this] { ++changes; });
    EXPECT_TRUE(process->WaitConnected(kPatience).ok());
  }
  bool Answers() const { return process->Observe(AnyRequest()).ok(); }

  LyingAgent agent;
  std::atomic<int> changes = 0;
  std::unique_ptr<GuestProcess> process;
};

TEST(GuestProcessTest, IsOneForEachGuestAndSaysWhoseItIs) {
  const Machine one;
  const Machine other;
  EXPECT_GT(one.process->pid(), 0);
  EXPECT_NE(one.process->pid(), other.process->pid());
  EXPECT_NE(one.process->pid(), getpid());
  const std::string proc = "/proc/" + std::to_string(one.process->pid());
  EXPECT_EQ(std::string(ReadFile(proc + "/cmdline").c_str()), "rum-controller: guest test");
  EXPECT_EQ(ReadFile(proc + "/comm"), "rum: test\n");
  // Nothing of this process's but its socket and its error output.
  const std::string ours = "/proc/self/fd";
  for (const auto& entry : std::filesystem::directory_iterator(proc + "/fd")) {
    if (std::stoi(entry.path().filename()) <= 3) continue;
    const std::string what = std::filesystem::read_symlink(entry.path());
    EXPECT_EQ(what.find('/'), std::string::npos) << what;
  }
}

TEST(GuestProcessTest, ThatDiesIsMadeAgainAndAnotherMachinesGoesOn) {
  Machine victim;
  const Machine other;
  const pid_t others = other.process->pid();
  for (const int how : {SIGKILL, SIGSEGV, SIGABRT, 0}) {
    const pid_t before = victim.process->pid();
    const int changes = victim.changes;
    if (how == 0) {  // it has no memory any more, and needs some for what it is asked
      const rlimit little{1 << 20, 1 << 20};
      ASSERT_EQ(prlimit(before, RLIMIT_AS, &little, nullptr), 0);
      agent::SetAuthorizedKeysRequest large;
      large.add_add(std::string(8 << 20, 'k'));
      EXPECT_FALSE(victim.process->SetAuthorizedKeys(large).ok());
    } else {
      ASSERT_EQ(kill(before, how), 0);
    }
    EXPECT_TRUE(Eventually(
        [&] { return victim.process->pid() > 0 && victim.process->pid() != before; }, kSeconds));
    ASSERT_TRUE(victim.process->WaitConnected(kPatience).ok());
    EXPECT_TRUE(victim.Answers());
    EXPECT_TRUE(Eventually([&] { return victim.changes > changes; }, kSeconds))
        << "looked at again";
    EXPECT_TRUE(other.Answers());
    EXPECT_EQ(other.process->pid(), others);
  }
}

TEST(GuestProcessTest, ACallThatItWasMakingIsLostInWordsForPeople) {
  Lies lies;
  lies.silent = true;
  Machine machine(lies);
  std::thread killer([&] {
    EXPECT_TRUE(Eventually([&] { return machine.agent.service().questions > 0; }, kSeconds));
    kill(machine.process->pid(), SIGKILL);
  });
  const absl::Status status = machine.process->Observe(AnyRequest()).status();
  killer.join();
  EXPECT_EQ(status, absl::UnavailableError("the connection to the agent in the guest was lost"));
}

TEST(GuestProcessTest, AQuestionIsUnderWayBeforeAnybodyWaitsAndOneThatIsDroppedIsGivenUp) {
  Machine machine;
  auto answer = machine.process->BeginObserve(AnyRequest());
  EXPECT_TRUE(Eventually([&] { return machine.agent.service().questions > 0; }, kSeconds));
  EXPECT_TRUE(answer().ok());
  Lies lies;
  lies.silent = true;
  Machine silent(lies);
  answer = silent.process->BeginObserve(AnyRequest());
  EXPECT_TRUE(Eventually([&] { return silent.agent.service().questions > 0; }, kSeconds));
  answer = nullptr;
  EXPECT_TRUE(Eventually([&] { return silent.agent.service().given_up > 0; }, kSeconds));
  EXPECT_TRUE(silent.process->SetHostname("x").ok()) << "the session is as it was";
  EXPECT_EQ(silent.agent.sessions, 1);
}

TEST(GuestProcessTest, WhyThereIsNoSessionIsTold) {
  std::atomic<bool> may = true;
  LyingAgent agent({});
  agent.Serve();
  const ChannelOpener open = agent.opener();
  const auto process = ConnectByProcess([&]() -> absl::StatusOr<int> {
    if (!may) return absl::UnavailableError("libvirt has gone to lunch");
    return open();
  });
  ASSERT_TRUE(process->WaitConnected(kPatience).ok());
  may = false;
  kill(process->pid(), SIGKILL);
  EXPECT_TRUE(Eventually(
      [&] {
        const absl::Status status = process->SetHostname("x");
        return status.message() == "the agent is not connected: libvirt has gone to lunch";
      },
      kSeconds))
      << process->SetHostname("x");
  may = true;
  EXPECT_TRUE(process->WaitConnected(kPatience).ok());
}

TEST(GuestProcessTest, ThatDiesAgainAndAgainIsMadeLaterEachTime) {
  const Machine machine;
  std::set<pid_t> killed;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < until) {
    const pid_t pid = machine.process->pid();
    if (pid > 0 && kill(pid, SIGKILL) == 0) killed.insert(pid);
    std::this_thread::yield();
  }
  // At once, after 50 ms, 150, 350 and 750.
  EXPECT_LE(killed.size(), 6u);
  EXPECT_TRUE(machine.process->WaitConnected(kPatience).ok());
}

TEST(GuestProcessTest, EndsWithItsMachine) {
  auto machine = std::make_unique<Machine>();
  const pid_t pid = machine->process->pid();
  machine.reset();
  EXPECT_EQ(kill(pid, 0), -1);
}

// What a client on a host's port has.
class Client {
 public:
  Client() {
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(bind(listening, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(listening, 1), 0);
    getsockname(listening, reinterpret_cast<sockaddr*>(&at), &size);
    client_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client_.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
    accepted_ = Fd(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    close(listening);
  }
  Fd* accepted() { return &accepted_; }
  // What a read says where nothing was sent: 0 the end, else an errno.
  int Read() {
    const timeval limit{60, 0};
    setsockopt(client_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char byte = 0;
    const ssize_t got = recv(client_.get(), &byte, 1, 0);
    return got < 0 ? errno : static_cast<int>(got);
  }

 private:
  Fd client_, accepted_;
};

TEST(GuestProcessTest, ClientsOfOneThatDiesAreResetAndNotTakenForServed) {
  const Machine machine;
  const auto carrier = machine.process->Forwards(
      []() -> absl::StatusOr<int> { return absl::UnavailableError("not yet"); }, nullptr);
  Client client;
  std::atomic<bool> over = false;
  std::string why;
  CarryEvents events;
  events.on_over = [&](const std::string& reason) { why = reason, over = true; };
  const uint64_t number = OnIoThread([&] {
    return carrier->Carry(client.accepted(), 80, std::chrono::seconds(60), std::move(events));
  });
  ASSERT_NE(number, 0u);
  EXPECT_FALSE(client.accepted()->ok()) << "it is the process's now";
  kill(machine.process->pid(), SIGKILL);
  EXPECT_EQ(client.Read(), ECONNRESET);
  EXPECT_TRUE(Eventually([&] { return over.load(); }, kSeconds));
  EXPECT_THAT(why, HasSubstr("killed by signal 9"));
  carrier->Close();
}

}  // namespace
}  // namespace rum
