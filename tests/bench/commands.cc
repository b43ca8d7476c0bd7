// What the commands of every minute cost: tools/isolated-libvirtd bazel run //tests/bench:commands.
// In two worlds:
//
// * the real `rum` and rum-controller with the real libvirtd of a session, which has a hundred
//   machines that are off;
// * the real `rum`, which asks a controller in this process over its socket; libvirt, guest and
//   host are fakes, so that what is measured is rum alone. A hundred machines, one of which is up.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "controller/service/server.h"
#include "state/identity.h"
#include "tests/bench/table.h"
#include "tests/cli/sandbox.h"
#include "tests/controller/fake_world.h"

namespace rum::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kMachines = 100;
constexpr int kRounds = 41;

double InMs(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
}

double CpuMs(int who) {
  rusage used{};
  getrusage(who, &used);
  return InMs(used.ru_utime) + InMs(used.ru_stime);
}

// Of processes that go on, and of what they started; by whether their name has `part`.
double CpuMsOfRunning(const std::string& part) {
  double ticks = 0;
  for (const auto& process : fs::directory_iterator("/proc")) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(process.path().filename().string()[0])))
      continue;
    std::ifstream file(process.path() / "stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const size_t name_end = text.rfind(')');
    if (name_end == std::string::npos || text.find(part) > name_end) continue;
    const std::vector<std::string> fields = absl::StrSplit(text.substr(name_end + 2), ' ');
    for (size_t i = 11; i < 15; ++i) ticks += std::stod(fields[i]);
  }
  return ticks * 1e3 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void PrintHead(const std::string& world) {
  std::printf(
      "| %s | ms | p90 | CPU ms of the client | of the controller | of libvirtd |\n"
      "|---|---|---|---|---|---|\n",
      world.c_str());
}

class Commands : public testing::Test {
 protected:
  Commands() {
    fs::create_directory(rum_.runtime());
    fs::permissions(rum_.runtime(), fs::perms(0700));
    for (int i = 1; i < kMachines; ++i) {
      MachineRecord record;
      record.set_config_path(absl::StrFormat("%s/machine-%d/rum.toml", world_.folder(), i));
      record.set_id(NewMachineId(record.config_path()));
      record.set_name(absl::StrFormat("machine-%d", i));
      record.set_generation(1);
      world_.disk->records[record.id()] = record;
    }
    controller_ = std::make_unique<Controller>(world_.Parts());
    EXPECT_TRUE(controller_->Start().ok());
    auto server =
        ControlServer::Listen(rum_.runtime() + "/controller.sock", controller_.get(), [] {});
    EXPECT_TRUE(server.ok()) << server.status();
    if (server.ok()) server_ = *std::move(server);
    ApplyOptions up;
    up.up = true;
    controller_->Apply(world_.identity.config_path, up, EventSink());
  }
  ~Commands() override {
    controller_->Stop();
    server_.reset();
    controller_.reset();
  }
  void Measure(const std::string& name, std::vector<std::string> words) {
    words.insert(words.begin(), {"-c", world_.identity.config_path});
    Series wall;
    const double self = CpuMs(RUSAGE_SELF);
    const double clients = CpuMs(RUSAGE_CHILDREN);
    for (int round = 0; round < kRounds; ++round) {
      const absl::Time begin = absl::Now();
      const Result result = rum_.Rum(words);
      wall.ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - begin));
      ASSERT_EQ(result.exit_status, 0) << result.out << result.err;
    }
    std::printf("| %s | %.1f | %.1f | %.1f | %.1f (with what starts the clients) | - |\n",
                name.c_str(), wall.Median(), wall.Quantile(0.9),
                (CpuMs(RUSAGE_CHILDREN) - clients) / kRounds,
                (CpuMs(RUSAGE_SELF) - self) / kRounds);
  }

  Sandbox rum_;
  FakeWorld world_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(Commands, OfEveryMinute) {
  PrintHead(absl::StrFormat("fakes, %d machines, one up", kMachines));
  Measure("rum list", {"list"});
  Measure("rum status", {"status"});
  Measure("rum apply, nothing to do", {"apply"});
}

// A machine is off that could not be started: this host has not so much memory.
class RealCommands : public testing::Test {
 protected:
  RealCommands() {
    rum_.env["LIBVIRT_DEFAULT_URI"] = "qemu:///session";
    rum_.patience *= 10;
    std::string disk(1 << 20, '\0');
    disk[510] = '\x55';
    disk[511] = '\xaa';
    rum_.Write("disk.img", disk);
    for (int i = 0; i < kMachines; ++i) {
      const std::string file = absl::StrFormat("machine-%d.rum.toml", i);
      rum_.Write(file,
                 "[image]\nbase = \"disk.img\"\n[resources]\ncpus = 1\nmemory_mb = 16000000\n"
                 "[reconcile]\nrestart = \"never\"\n");
      EXPECT_EQ(rum_.Rum({"-q", "-c", file, "up", "-d", "--trust"}).exit_status, 1);
      const Result down = rum_.Rum({"-q", "-c", file, "down"});
      EXPECT_EQ(down.exit_status, 0) << down.err;
    }
  }
  void Measure(const std::string& name, const std::vector<std::string>& words) {
    Series wall;
    const double clients = CpuMs(RUSAGE_CHILDREN);
    const double controller = CpuMsOfRunning("rum-controller");
    const double libvirtd = CpuMsOfRunning("libvirtd");
    for (int round = 0; round < kRounds; ++round) {
      const absl::Time begin = absl::Now();
      const Result result = rum_.Rum(words);
      wall.ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - begin));
      ASSERT_EQ(result.exit_status, 0) << result.out << result.err;
    }
    std::printf("| %s | %.1f | %.1f | %.1f | %.1f | %.1f |\n", name.c_str(), wall.Median(),
                wall.Quantile(0.9), (CpuMs(RUSAGE_CHILDREN) - clients) / kRounds,
                (CpuMsOfRunning("rum-controller") - controller) / kRounds,
                (CpuMsOfRunning("libvirtd") - libvirtd) / kRounds);
  }

  Sandbox rum_;
};

TEST_F(RealCommands, OfAHundredMachines) {
  ASSERT_EQ(rum_.Rum({"-q", "list"}).out.size(), size_t{13} * kMachines)
      << "an id and a line's end";
  PrintHead(absl::StrFormat("qemu:///session, %d machines that are off", kMachines));
  Measure("rum list", {"list"});
  Measure("rum status", {"-c", "machine-7.rum.toml", "status"});
  Measure("rum apply, nothing to do", {"-c", "machine-7.rum.toml", "apply"});
}

}  // namespace
}  // namespace rum::bench
