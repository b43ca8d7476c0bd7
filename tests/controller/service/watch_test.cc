// What a client that watches hears.
#include <gmock/gmock.h>

#include <thread>

#include "tests/controller/service/service_world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

using testing::Contains;

const Condition* Find(const MachineStatus& status, const std::string& type) {
  for (const Condition& condition : status.conditions()) {
    if (condition.type() == type) return &condition;
  }
  return nullptr;
}

class WatchTest : public ServiceTest {
 protected:
  // Listens until `enough` says so; then the call is cancelled. Everything it heard.
  std::vector<control::WatchEvent> Hear(
      const std::function<bool(const control::WatchEvent&)>& enough, bool events = false) {
    control::WatchRequest request;
    request.set_config_path(world_.identity.config_path);
    request.set_status(!events);
    request.set_events(events);
    request.set_history(1000);
    request.set_follow(true);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto reader = client_->Watch(&context, request);
    std::vector<control::WatchEvent> heard;
    control::WatchEvent event;
    while (reader->Read(&event)) {
      heard.push_back(event);
      if (enough(event)) break;
    }
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED) << "it did not come";
    return heard;
  }
  void Type(const std::string& hostname) {
    {
      std::lock_guard<std::mutex> lock(world_.guest->mutex);
      world_.guest->hostname = hostname;
    }
    world_.on_event(world_.identity.domain_name());
  }
};

TEST_F(WatchTest, HearsOfADriftWithItsAuthorAndThenThatItIsPutRight) {
  Apply(UpRequest());
  int stage = 0;
  Hear([&](const control::WatchEvent& event) {
    const Condition* synced = Find(event.status(), "Synced");
    const bool in_sync = synced != nullptr && synced->status() == Condition::TRUE;
    if (stage == 0 && in_sync) Type("typed"), ++stage;
    for (const Item& item : event.status().items()) {
      if (item.field() != "network.hostname" || item.state() == Item::HOLDS) continue;
      EXPECT_EQ(item.state(), Item::DRIFTED);
      EXPECT_EQ(item.moved_by(), Item::GUEST);
      EXPECT_GT(item.first_seen_ms(), 0);
      if (stage == 1) ++stage;
    }
    return stage == 2 && in_sync;
  });
  EXPECT_EQ(stage, 2);
}

TEST_F(WatchTest, NeverHearsSyncedOfAGenerationThatIsNotApplied) {
  Apply(UpRequest());
  int saved = 0;
  Hear([&](const control::WatchEvent& event) {
    const Condition* synced = Find(event.status(), "Synced");
    if (synced == nullptr || synced->status() != Condition::TRUE) return false;
    EXPECT_EQ(synced->observed_generation(), event.status().generation());
    EXPECT_EQ(event.status().applied_generation(), event.status().generation());
    if (event.status().generation() <= saved) return false;  // told before the last save
    std::lock_guard<std::mutex> lock(world_.guest->mutex);
    EXPECT_EQ(world_.guest->hostname, world_.file.hostname);
    if (saved == 3) return true;
    world_.file.hostname = "dev" + std::to_string(++saved);
    world_.Save();
    return false;
  });
  EXPECT_EQ(saved, 3);
}

TEST_F(WatchTest, HearsTheHistoryAndThenWhatComesEachOnce) {
  Apply(UpRequest());
  std::vector<int64_t> numbers;
  Hear(
      [&](const control::WatchEvent& event) {
        numbers.push_back(event.happened().number());
        if (event.happened().why() == "Set hostname localhost → dev") Type("typed");
        return event.happened().before() == "typed" && event.happened().by() == "guest";
      },
      true);
  for (size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(numbers[i], static_cast<int64_t>(i) + 1);
  EXPECT_TRUE(Eventually([&] { return world_.Record().last_event() == numbers.back(); }));
}

TEST_F(WatchTest, HearsOfAMachineThatIsOffToo) {
  std::thread up;
  Hear([&](const control::WatchEvent& event) {
    if (event.status().phase() == MachineStatus::NOT_DEFINED && !up.joinable()) {
      up = std::thread([this] {
        grpc::ClientContext context;
        HearAll(NewClient()->Apply(&context, UpRequest()).get());
      });
    }
    return event.status().phase() == MachineStatus::RUNNING;
  });
  up.join();
}

TEST_F(WatchTest, HearsTheEndOfAnUpThatHadBegunBefore) {
  world_.guest->SetConnected(false);
  std::thread up([this] {
    grpc::ClientContext context;
    HearAll(NewClient()->Apply(&context, UpRequest()).get());
  });
  ASSERT_TRUE(Eventually([&] { return world_.Record().want_running(); }));
  Hear([&](const control::WatchEvent& event) {
    world_.guest->SetConnected(true);
    const Condition* synced = Find(event.status(), "Synced");
    return synced != nullptr && synced->status() == Condition::TRUE;
  });
  up.join();
}

TEST_F(WatchTest, EndsWithTheController) {
  Apply(UpRequest());
  control::WatchRequest request;
  request.set_config_path(world_.identity.config_path);
  request.set_status(true);
  request.set_follow(true);
  grpc::ClientContext context;
  const auto reader = client_->Watch(&context, request);
  control::WatchEvent event;
  ASSERT_TRUE(reader->Read(&event));
  controller_->Stop();
  while (reader->Read(&event)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
}

}  // namespace
}  // namespace rum
