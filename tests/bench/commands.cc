// What the commands of every minute cost: bazel run //tests/bench:commands. The real `rum` asks a
// real controller over its socket; libvirt, guest and host are fakes, so that what is measured is
// rum alone. A hundred machines, one of which is up.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
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

// CPU time of this process, which has the controller, and of the clients that ended.
double CpuMs() {
  double ms = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    getrusage(who, &used);
    for (const timeval& time : {used.ru_utime, used.ru_stime})
      ms += static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
  }
  return ms;
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
    Series wall, cpu;
    for (int round = 0; round < kRounds; ++round) {
      const double before = CpuMs();
      const absl::Time begin = absl::Now();
      const Result result = rum_.Rum(words);
      wall.ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - begin));
      cpu.ms.push_back(CpuMs() - before);
      ASSERT_EQ(result.exit_status, 0) << result.out << result.err;
    }
    std::printf("| %s | %.1f | %.1f | %.1f | %.1f |\n", name.c_str(), wall.Median(),
                wall.Quantile(0.9), cpu.Median(), cpu.Quantile(0.9));
  }

  Sandbox rum_;
  FakeWorld world_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(Commands, OfEveryMinute) {
  std::printf("| %d machines | ms | p90 | CPU ms | p90 |\n|---|---|---|---|---|\n", kMachines);
  Measure("rum list", {"list"});
  Measure("rum status", {"status"});
  Measure("rum apply, nothing to do", {"apply"});
}

}  // namespace
}  // namespace rum::bench
