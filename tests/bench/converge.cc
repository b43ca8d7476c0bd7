// How soon what was saved or typed is as the file says: from the save of rum.toml to its effect on
// the host, and from a change in the guest until it is taken back, by the guest's own clock. One
// emulated guest, whose one CPU is busy all the time.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/bench/guest_side.h"
#include "tests/bench/table.h"
#include "tests/e2e/world.h"

namespace rum::bench {
namespace {

constexpr uint16_t kServer = 7000;
constexpr uint16_t kNobody = 9;  // where the guest refuses
constexpr absl::Duration kPatience = absl::Minutes(1);

struct Flags {
  int rounds = 50;
  bool json = false;
};

struct Line {
  std::string what;
  Series series;
};

// What a client of the host's `port` meets.
enum class Met { kRefused, kReset, kEcho };

Met Meet(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Met met = Met::kRefused;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    char back = 0;
    const bool echo = send(fd, "Ex", 2, MSG_NOSIGNAL) == 2 && recv(fd, &back, 1, 0) == 1;
    met = echo ? Met::kEcho : Met::kReset;
  }
  close(fd);
  return met;
}

class Measurement {
 public:
  explicit Measurement(const Flags& flags) : flags_(flags), world_("qemu:///system") {}

  absl::Status Run() {
    world_.file.ports = {{kept_, kServer}};
    world_.file.auto_reconcile = true;
    world_.Save();
    if (world_.Rum({"up", "-d"}).exit_status != 0) return absl::InternalError("rum up failed");
    absl::Status served = PutInGuest(world_);
    if (served.ok()) served = StartTrafficServer(world_, kServer);
    if (!served.ok()) return served;
    if (!Await([&] { return Meet(kept_) == Met::kEcho; }))
      return absl::DeadlineExceededError("the guest's server does not answer");
    // Whoever shares the CPU with the agent gets half of it.
    world_.Guest("setsid sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 &");
    for (int i = 0; i < 20; ++i) {
      const absl::Time begin = absl::Now();
      world_.Guest("true");
      Add("`rum exec true`, for comparison", begin);
    }
    for (int round = 0; round < flags_.rounds; ++round) {
      std::fprintf(stderr, "\rsave %d of %d", round + 1, flags_.rounds);
      const bool held =
          Saved("port added", {{kept_, kServer}, {other_, kServer}}, Met::kEcho) &&
          Saved("port retargeted", {{kept_, kServer}, {other_, kNobody}}, Met::kReset) &&
          Saved("port removed", {{kept_, kServer}}, Met::kRefused);
      if (!held) return absl::DeadlineExceededError("a save has no effect");
    }
    std::fprintf(stderr, "\n");
    for (int round = 0; round < std::max(1, flags_.rounds / 5); ++round) {
      world_.Rum({"apply"});  // or rum takes it for a fight, and gives up
      Healed("hostname typed in the guest", "hostname typed", "[ \"$(hostname)\" = typed ]");
      Healed("user taken from a group", "gpasswd -d rum docker >/dev/null",
             "! grep -q '^docker:.*[:,]rum' /etc/group");
    }
    return absl::OkStatus();
  }

  const std::vector<Line>& lines() const { return lines_; }

 private:
  static bool Await(const std::function<bool()>& holds) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (!holds()) {
      if (absl::Now() > deadline) return false;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return true;
  }

  void AddMs(const std::string& what, double ms) {
    for (Line& line : lines_) {
      if (line.what == what) return line.series.ms.push_back(ms);
    }
    lines_.push_back({what, {{ms}}});
  }
  void Add(const std::string& what, absl::Time begin) {
    AddMs(what, absl::ToDoubleMilliseconds(absl::Now() - begin));
  }

  bool Saved(const std::string& what, std::vector<e2e::PortSpec> ports, Met wanted) {
    world_.file.ports = std::move(ports);
    const absl::Time begin = absl::Now();
    world_.Save();
    if (!Await([&] { return Meet(other_) == wanted; })) return false;
    Add(what, begin);
    return true;
  }

  void Healed(const std::string& what, const std::string& move, const std::string& moved) {
    AddMs(what, std::atof(world_
                              .Guest(move + "; begin=$(date +%s%N); while " + moved +
                                     "; do sleep 0.01; done; end=$(date +%s%N); "
                                     "echo $(((end - begin) / 1000000))")
                              .c_str()));
  }

  const Flags& flags_;
  e2e::World world_;
  const uint16_t kept_ = e2e::FreePort();
  const uint16_t other_ = e2e::FreePort();
  std::vector<Line> lines_;
};

void Print(const Flags& flags, const std::vector<Line>& lines) {
  utsname names{};
  uname(&names);
  const std::string machine =
      absl::StrCat(std::thread::hardware_concurrency(), " cores, ", names.sysname, " ",
                   names.release, ", guest emulated in software with one CPU, which is busy");
  if (!flags.json) {
    std::printf("%s\n\n| until it is so, ms | median | p90 | of |\n|---|---|---|---|\n",
                machine.c_str());
  } else {
    std::printf("{\"machine\": \"%s\", \"rows\": [", machine.c_str());
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    const Series& series = lines[i].series;
    std::printf(flags.json ? "%s\n  {\"what\": \"%s\", \"median_ms\": %.1f, \"p90_ms\": %.1f, "
                             "\"samples\": %zu}"
                           : "%s| %s | %.0f | %.0f | %zu |\n",
                flags.json && i > 0 ? "," : "", lines[i].what.c_str(), series.Median(),
                series.Quantile(0.9), series.ms.size());
  }
  if (flags.json) std::printf("\n]}\n");
}

}  // namespace
}  // namespace rum::bench

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  rum::bench::Flags flags;
  CLI::App app("How soon what was saved or typed is as the file says; see docs/benchmarks.md.");
  app.add_option("--rounds", flags.rounds, "saves of each kind")->capture_default_str();
  app.add_flag("--json", flags.json, "one object");
  CLI11_PARSE(app, argc, argv);
  rum::bench::Measurement measurement(flags);
  const absl::Status status = measurement.Run();
  rum::bench::Print(flags, measurement.lines());
  if (status.ok() && !testing::Test::HasFailure()) return 0;
  std::fprintf(stderr, "converge: could not measure all: %s\n", status.ToString().c_str());
  return 1;
}
