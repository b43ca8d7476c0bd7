// A forward by the guest's process, as the controller has it, and by this process, as it was
// before, in turn: bazel run //tests/bench:guest_forwards [-- ROUNDS]. The real agent, without a
// VM.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "controller/guests/guest_process.h"
#include "controller/guests/guest_side.h"
#include "controller/guests/zygote.h"
#include "controller/listeners/forward_path.h"
#include "controller/listeners/listener_set.h"
#include "tests/bench/real_agent.h"
#include "tests/controller/listeners/sockets.h"

namespace rum {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kBulk = 64 << 20;
constexpr int kEchoes = 300;

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// An agent, and a forward to `guest_port` of it.
class Forwarded {
 public:
  Forwarded(bool by_process, uint16_t guest_port, const std::string& state) : agent_(state) {
    GuestRoute route;
    route.dial = [](uint16_t, auto done) { done(absl::UnavailableError("not this way")); };
    if (by_process) {
      process_ = std::make_unique<GuestProcess>(
          "bench", agent_.channel(), [] {}, "");
      if (!process_->WaitConnected(absl::Seconds(60)).ok()) std::abort();
      carrier_ = process_->Forwards(agent_.forward(), nullptr);
      route.carrier = [this] { return carrier_; };
    } else {
      path_ = std::make_unique<ForwardPath>(agent_.forward());
      route.carrier = [this] { return path_->carrier(); };
    }
    set_ = MakeListenerSet(std::move(route));
    if (!set_->Apply({{"127.0.0.1", port_, guest_port}})[0].bound.ok()) std::abort();
  }
  ~Forwarded() {
    set_.reset();
    path_.reset();
    if (carrier_ != nullptr) carrier_->Close();
    process_.reset();
  }
  Fd Client() const { return Connect("127.0.0.1", port_); }

 private:
  const uint16_t port_ = FreePort();
  const RealAgent agent_;
  std::unique_ptr<GuestProcess> process_;
  std::shared_ptr<ProcessCarrier> carrier_;
  std::unique_ptr<ForwardPath> path_;
  std::unique_ptr<ListenerSet> set_;
};

// MB/s there and back, and ms of an echo and of a connection with its first one.
struct Figures {
  std::vector<double> bulk, echo, connect;
};

void Measure(const Forwarded& forward, Figures* figures) {
  {
    const Fd client = forward.Client();
    std::string line;
    const auto begin = Clock::now();
    std::thread writer([&] {
      const std::string piece(1 << 20, 'x');
      for (size_t sent = 0; sent < kBulk; sent += piece.size()) WriteAll(client.get(), piece);
    });
    for (size_t got = 0; got < kBulk; got += 1 << 20) {
      if (ReadExactly(client.get(), 1 << 20).size() != 1 << 20) std::abort();
    }
    writer.join();
    figures->bulk.push_back(static_cast<double>(kBulk) / 1e6 / Since(begin));
  }
  const Fd client = forward.Client();
  for (int i = 0; i < kEchoes; ++i) {
    auto begin = Clock::now();
    Echo(client.get(), "sixty-four bytes or so, as somebody types them into a terminal\n");
    figures->echo.push_back(1e3 * Since(begin));
    begin = Clock::now();
    Echo(forward.Client().get(), "x\n");
    figures->connect.push_back(1e3 * Since(begin));
  }
}

double Median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

void Compare(int rounds) {
  const EchoServer server;
  const std::string state = "/tmp/rum-bench-" + std::to_string(getpid());
  Figures here;
  Figures there;
  for (int round = 0; round < rounds; ++round) {
    for (const bool by_process : {round % 2 == 0, round % 2 != 0}) {
      const Forwarded forward(by_process, server.port(), state);
      Measure(forward, by_process ? &there : &here);
    }
  }
  const auto line = [](const char* what, const Figures& f) {
    std::printf("%-20s %6.1f MB/s each way, echo %.3f ms, connect and echo %.3f ms\n", what,
                Median(f.bulk), Median(f.echo), Median(f.connect));
  };
  line("in this process:", here);
  line("by the guest's:", there);
  std::fflush(stdout);
}

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  if (!rum::StartZygote(argc, argv, rum::BeGuestProcess).ok()) return 1;
  signal(SIGPIPE, SIG_IGN);
  rum::Compare(argc > 1 ? std::atoi(argv[1]) : 6);
  _exit(0);
}
