#include "controller/fleet/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/metric_family.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <future>
#include <thread>

#include "tests/controller/fake_world.h"
#include "tests/eventually.h"
#include "tests/idle.h"

namespace rum {
namespace {

using namespace std::chrono_literals;

// The loop works on threads of its own: what it brings about is waited for.
class FleetTest : public testing::Test {
 protected:
  std::string Hostname() {
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    return world_.guest->hostname;
  }
  size_t OpenPorts() {
    std::lock_guard<std::mutex> lock(world_.host->mutex);
    return world_.host->open.size();
  }
  void Type(const std::string& hostname) {
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    world_.guest->hostname = hostname;
  }
  // The guest pushes.
  void TypeAndTell(const std::string& hostname) {
    std::function<void()> tell;
    {
      std::lock_guard<std::mutex> lock(world_.guest->mutex);
      world_.guest->hostname = hostname;
      tell = world_.guest->on_change;
    }
    tell();
  }
  Item HostnameItem() {
    const absl::StatusOr<MachineStatus> status = controller_->Status(path_);
    for (const Item& item : status->items()) {
      if (item.field() == "network.hostname") return item;
    }
    return Item();
  }
  // By the loop, however they ended.
  double Reconciles() {
    double all = 0;
    for (const prometheus::MetricFamily& family : controller_->CollectMetrics()) {
      if (family.name != "rum_reconciles_total") continue;
      for (const prometheus::ClientMetric& metric : family.metric) all += metric.counter.value;
    }
    return all;
  }
  void StartController() {
    controller_ = std::make_unique<Controller>(world_.Parts());
    ASSERT_TRUE(controller_->Start().ok());
  }

  FakeWorld world_;
  std::unique_ptr<Controller> controller_;
  const std::string path_ = world_.identity.config_path;
};

TEST_F(FleetTest, LooksAfterAMachineFromItsUpOn) {
  StartController();
  EXPECT_EQ(controller_->machines(), 0);
  EXPECT_FALSE(controller_->Apply(path_, Up(), {}).failed);
  EXPECT_EQ(controller_->machines(), 1);
  world_.ExpectConverged();
  Type("typed");
  world_.on_event(world_.identity.domain_name());
  EXPECT_TRUE(Eventually([&] { return Hostname() == "dev"; }));
}

TEST_F(FleetTest, StopsCorrectingAFieldThatSomebodySetsBackEachTime) {
  StartController();
  controller_->Apply(path_, Up(), {});
  for (int round = 0; round < 5; ++round) {
    TypeAndTell("typed");
    EXPECT_TRUE(Eventually([&] { return Hostname() == "dev"; })) << round;
  }
  TypeAndTell("typed");
  EXPECT_TRUE(Eventually([&] {
    const MachineRecord record = world_.Record();
    return record.events_size() > 0 && record.events().rbegin()->kind() == Event::GAVE_UP;
  }));
  EXPECT_EQ(Hostname(), "typed");
  EXPECT_TRUE(HostnameItem().given_up());
  controller_.reset();
  StartController();  // which remembers
  EXPECT_TRUE(Eventually([&] { return OpenPorts() == 2; }));
  EXPECT_TRUE(HostnameItem().given_up());
  EXPECT_EQ(Hostname(), "typed");
  controller_->Apply(path_, {}, {});
  EXPECT_EQ(Hostname(), "dev");
  TypeAndTell("typed");
  EXPECT_TRUE(Eventually([&] { return Hostname() == "dev"; })) << "peace was made";
}

TEST_F(FleetTest, OnlyReportsWhenToldToAndRemembersSinceWhen) {
  StartController();
  world_.file.auto_reconcile = false;
  world_.Save();
  controller_->Apply(path_, Up(), {});
  EXPECT_EQ(HostnameItem().state(), Item::HOLDS);
  TypeAndTell("typed");
  EXPECT_TRUE(Eventually([&] { return world_.Record().drifts_size() == 1; }));
  Item item;
  EXPECT_TRUE(Eventually([&] {  // a record is on disk a moment before a status tells of it
    item = HostnameItem();
    return item.first_seen_ms() == world_.Record().drifts(0).first_seen_ms();
  }));
  EXPECT_EQ(item.state(), Item::DRIFTED);
  EXPECT_EQ(item.moved_by(), Item::GUEST);
  EXPECT_EQ(Hostname(), "typed");
  controller_.reset();
  StartController();
  EXPECT_EQ(HostnameItem().first_seen_ms(), item.first_seen_ms());
  EXPECT_EQ(HostnameItem().moved_by(), Item::GUEST);
  TypeAndTell("dev");
  EXPECT_TRUE(Eventually([&] { return world_.Record().drifts_size() == 0; }));
}

// Whatever wakes the machine meanwhile: the half without its ports is a valid file as well.
TEST_F(FleetTest, TheHalfOfAFileThatIsBeingWrittenIsNotApplied) {
  StartController();
  ASSERT_FALSE(controller_->Apply(path_, Up(), {}).failed);
  const int opened = world_.host->opened;
  const std::string text = world_.file.Toml();
  const size_t half = text.find("[[ports]]");
  std::ofstream file(path_);
  file << text.substr(0, half) << std::flush;
  for (int i = 0; i < 3; ++i) {
    const double before = Reconciles();
    world_.on_event(world_.identity.domain_name());
    EXPECT_TRUE(Eventually([&] { return Reconciles() > before; }));
    EXPECT_EQ(OpenPorts(), 2u);
  }
  std::atomic<pid_t> asks = 0;
  std::future<ApplyOutcome> asked = std::async(std::launch::async, [&] {
    asks = gettid();
    return controller_->Apply(path_, {}, {});
  });
  Type("typed");
  const auto answered = [&] { return asked.wait_for(0s) == std::future_status::ready; };
  // It looks again and again whether the file is whole.
  EXPECT_TRUE(
      Eventually([&] { return answered() || (asks != 0 && LookAtThread(asks).sleeps_begun > 5); }));
  EXPECT_FALSE(answered());
  file << text.substr(half);
  file.close();
  EXPECT_FALSE(asked.get().failed) << "who asks in the middle is answered at the end";
  EXPECT_TRUE(Eventually([&] { return Hostname() == "dev"; }));
  EXPECT_EQ(OpenPorts(), 2u);
  EXPECT_EQ(world_.host->opened, opened) << "none was closed and opened again";
}

// A record of a build that took such a URI, and the file that has it still.
TEST_F(FleetTest, AUriThatAFileMayNotHaveIsNotFollowedFromTheRecordEither) {
  world_.file.more = "[advanced]\nlibvirt_uri = \"test:///other\"\n";
  world_.Save();
  StartController();
  ASSERT_FALSE(controller_->Apply(path_, Up(), {}).failed);
  controller_.reset();
  MachineRecord record = world_.Record();
  const std::string uri = "qemu+ext:///session?command=./build.sh";
  record.mutable_applied()->mutable_advanced()->set_libvirt_uri(uri);
  record.mutable_desired()->mutable_advanced()->set_libvirt_uri(uri);
  record.clear_libvirt_uri();  // as builds before kept it
  world_.disk->records[record.id()] = record;
  world_.file.more = "[advanced]\nlibvirt_uri = \"" + uri + "\"\n";
  world_.Save();
  std::atomic<int> connected = 0;
  ControllerParts parts = world_.Parts();
  parts.hypervisor =
      [&](const std::string& to,
          std::function<void(const std::string&)>) -> absl::StatusOr<std::unique_ptr<Hypervisor>> {
    connected += to == uri ? 1 : 0;
    return absl::UnavailableError("it was asked");
  };
  controller_ = std::make_unique<Controller>(std::move(parts));
  ASSERT_TRUE(controller_->Start().ok());
  const absl::StatusOr<MachineStatus> status = controller_->Status(path_);
  EXPECT_THAT(status->error(), testing::HasSubstr("libvirt's own configuration"));
  EXPECT_THAT(status->config_error(), testing::HasSubstr("advanced.libvirt_uri must be"));
  EXPECT_TRUE(controller_->Apply(path_, {}, {}).failed);
  EXPECT_TRUE(controller_->Down(path_, {}).failed);
  controller_.reset();
  EXPECT_EQ(connected, 0);
}

TEST_F(FleetTest, SaysOfWhatFailsTheErrorAndTheNextTry) {
  StartController();
  {
    std::lock_guard<std::mutex> lock(world_.host->mutex);
    world_.host->taken.insert(8080);
  }
  controller_->Apply(path_, Up(), {});
  const auto failing = [&] {
    const absl::StatusOr<MachineStatus> status = controller_->Status(path_);
    for (const Item& item : status->items()) {
      if (item.state() == Item::FAILING && item.next_try_ms() > 0)
        return item.moved_by() == Item::HOST;
    }
    return false;
  };
  EXPECT_TRUE(Eventually(failing));
  {
    std::lock_guard<std::mutex> lock(world_.host->mutex);
    world_.host->taken.clear();
  }
  EXPECT_TRUE(Eventually([&] { return OpenPorts() == 2 && !failing(); }));
}

TEST_F(FleetTest, AppliesASavedFileByItself) {
  StartController();
  controller_->Apply(path_, Up(), {});
  world_.file.hostname = "devbox";
  world_.file.ports = {{8080, 80}};
  world_.Save();
  EXPECT_TRUE(Eventually([&] { return Hostname() == "devbox" && OpenPorts() == 1; }));
}

TEST_F(FleetTest, LooksAtItsMachinesWhenLibvirtWentOrCameBack) {
  StartController();
  controller_->Apply(path_, Up(), {});
  Type("typed");
  world_.on_event("");
  EXPECT_TRUE(Eventually([&] { return Hostname() == "dev"; }));
}

TEST_F(FleetTest, ABrokenFileLeavesTheLastGoodOneInForce) {
  StartController();
  controller_->Apply(path_, Up(), {});
  world_.SaveText("[resources\n");
  Type("typed");
  EXPECT_TRUE(Eventually([&] { return Hostname() == "dev"; }));
  EXPECT_NE(controller_->Status(path_)->config_error(), "");
}

TEST_F(FleetTest, ANewControllerTakesUpWhatWasWanted) {
  StartController();
  controller_->Apply(path_, Up(), {});
  controller_.reset();
  EXPECT_EQ(OpenPorts(), 0u);
  StartController();
  EXPECT_TRUE(Eventually([&] { return OpenPorts() == 2; }));
  EXPECT_EQ(controller_->machines(), 1);
  EXPECT_EQ(world_.guest->TimesRun("boot 1"), 1);
}

TEST_F(FleetTest, WhatIsDownStaysDown) {
  StartController();
  controller_->Apply(path_, Up(), {});
  EXPECT_FALSE(controller_->Down(path_, {}).failed);
  controller_.reset();
  StartController();
  EXPECT_EQ(controller_->machines(), 0);
  EXPECT_EQ(controller_->Status(path_)->phase(), MachineStatus::STOPPED);
  EXPECT_FALSE((*controller_->FindMade(path_))->access().Guest().ok());
}

TEST_F(FleetTest, GivesTheAgentOfARunningMachine) {
  StartController();
  controller_->Apply(path_, Up(), {});
  EXPECT_TRUE((*controller_->FindMade(path_))->access().Guest().ok());
  EXPECT_FALSE(controller_->Destroy(path_, {}).failed);
  EXPECT_EQ(controller_->machines(), 0);
  EXPECT_EQ(controller_->Status(path_)->phase(), MachineStatus::NOT_DEFINED);
}

TEST_F(FleetTest, AStatusDoesNotWaitForAnUp) {
  StartController();
  world_.guest->SetConnected(false);
  std::thread up([&] { controller_->Apply(path_, Up(), {}); });
  EXPECT_TRUE(Eventually([&] {
    absl::StatusOr<MachineStatus> status = controller_->Status(path_);
    return status.ok() && status->phase() == MachineStatus::STARTING;
  }));
  world_.guest->SetConnected(true);
  up.join();
  EXPECT_EQ(controller_->Status(path_)->phase(), MachineStatus::RUNNING);
}

TEST_F(FleetTest, StopEndsAWaitForTheAgent) {
  StartController();
  world_.guest->SetConnected(false);
  std::thread up([&] { EXPECT_TRUE(controller_->Apply(path_, Up(), {}).failed); });
  EXPECT_TRUE(Eventually([&] { return OpenPorts() == 2; }));
  const absl::Time begin = absl::Now();
  controller_->Stop();
  up.join();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(60)) << "the agent is waited for 300 s";
}

TEST_F(FleetTest, OfTwoUpsAtOnceOneWaitsAndSaysSo) {
  StartController();
  world_.guest->SetConnected(false);
  std::thread first([&] { EXPECT_FALSE(controller_->Apply(path_, Up(), {}).failed); });
  EXPECT_TRUE(Eventually([&] { return OpenPorts() == 2; }));
  std::promise<std::string> said;
  EventSink sink;
  sink.progress = [&](const std::string& text) { said.set_value(text); };
  std::thread second([&] {
    const ApplyOutcome outcome = controller_->Apply(path_, Up(), sink);
    EXPECT_FALSE(outcome.failed);
    EXPECT_EQ(outcome.actions, 0);
  });
  EXPECT_EQ(said.get_future().get(), "waiting for what else changes this machine to end");
  world_.guest->SetConnected(true);
  first.join();
  second.join();
  EXPECT_EQ(world_.guest->TimesRun("system 1"), 1);
  EXPECT_EQ(world_.hypervisor->DisksMade(world_.identity), 1);
}

TEST_F(FleetTest, DownEndsAnUpThatStillWaitsForTheAgent) {
  StartController();
  world_.guest->SetConnected(false);
  ApplyOutcome up;
  std::thread first([&] { up = controller_->Apply(path_, Up(), {}); });
  EXPECT_TRUE(Eventually([&] { return OpenPorts() == 2; }));
  const ApplyOutcome down = controller_->Down(path_, {});
  EXPECT_FALSE(down.failed) << down.error;
  EXPECT_TRUE(down.already_running);
  first.join();
  EXPECT_TRUE(up.failed);
  EXPECT_EQ(up.error, "interrupted: the machine is being stopped");
  EXPECT_EQ(controller_->Status(path_)->phase(), MachineStatus::STOPPED);
  EXPECT_EQ(OpenPorts(), 0u);
  world_.guest->SetConnected(true);
  EXPECT_FALSE(controller_->Apply(path_, Up(), {}).failed) << "the next one completes it";
  world_.ExpectConverged();
}

TEST_F(FleetTest, DownEndsAnUpThatStillDownloadsTheImage) {
  StartController();
  std::atomic<bool> downloading = false;
  world_.hypervisor->SetFetch([&](const Onlooker& onlooker) {
    downloading = true;
    const bool gave_up = Eventually([&] { return onlooker.gave_up(); });
    return gave_up ? absl::CancelledError("interrupted") : absl::OkStatus();
  });
  ApplyOutcome up;
  std::thread first([&] { up = controller_->Apply(path_, Up(), {}); });
  EXPECT_TRUE(Eventually([&] { return downloading.load(); }));
  EXPECT_FALSE(controller_->Down(path_, {}).failed);
  first.join();
  EXPECT_TRUE(up.failed);
  EXPECT_EQ(up.error, "interrupted: the machine is being stopped");
  EXPECT_EQ(world_.hypervisor->DisksMade(world_.identity), 0);
  world_.hypervisor->SetFetch(nullptr);
  EXPECT_FALSE(controller_->Apply(path_, Up(), {}).failed) << "the next one completes it";
  world_.ExpectConverged();
}

TEST_F(FleetTest, DownStopsAMachineWhoseScriptNeverEnds) {
  StartController();
  std::atomic<bool> running = false;
  const auto off = [&] {
    const auto state = world_.hypervisor->Inspect(world_.identity);
    return state.ok() && !state->running;
  };
  EventSink sink;
  sink.script_output = [&](const std::string&, bool) {
    running = true;
    EXPECT_TRUE(Eventually(off)) << "what ends the script is that its machine goes";
  };
  std::thread first([&] { controller_->Apply(path_, Up(), sink); });
  EXPECT_TRUE(Eventually([&] { return running.load(); }));
  EXPECT_FALSE(controller_->Down(path_, {}).failed);
  first.join();
  EXPECT_TRUE(off());
}

TEST_F(FleetTest, TwoAppliesAtOnceAreOneAfterTheOther) {
  StartController();
  controller_->Apply(path_, Up(), {});
  world_.file.boot = "boot 2";
  world_.Save();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { EXPECT_FALSE(controller_->Apply(path_, {}, {}).failed); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(world_.guest->TimesRun("boot 2"), 1);
}

}  // namespace
}  // namespace rum
