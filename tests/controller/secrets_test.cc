// What opens the URL of an image, and where it is not shown or stored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kUrl[] = "https://ada:s3cret@example.org/a.qcow2?version=1&token=s3cret";
constexpr char kShown[] = "https://example.org/a.qcow2?version=1&token=***";

TEST(SecretsTest, NothingThatIsShownOfAMachineOpensItsImage) {
  FakeWorld world;
  world.file.image = kUrl;
  world.Save();
  const std::unique_ptr<Machine> machine = world.NewMachine();
  EXPECT_FALSE(Apply(*machine, Up()).outcome.failed);
  EXPECT_EQ(world.hypervisor->Inspect(world.identity)->persistent.image().base(), kShown);
  world.file.image = "https://ada:s3cret@example.org/b.qcow2?s3cret";
  world.Save();
  const Seen seen = Apply(*machine);
  ASSERT_EQ(seen.outcome.plan.waiting_size(), 1);
  EXPECT_EQ(seen.outcome.plan.waiting(0).before(), kShown);
  EXPECT_EQ(seen.outcome.plan.waiting(0).after(), "https://example.org/b.qcow2?***");
  EXPECT_TRUE(machine->Background({}).ok());
  const MachineStatus status = machine->Status();
  EXPECT_THAT(status.DebugString(), HasSubstr("b.qcow2"));
  EXPECT_THAT(status.DebugString(), Not(HasSubstr("s3cret")));
  MachineRecord record = world.Record();
  EXPECT_THAT(record.events(), Not(IsEmpty()));
  record.clear_desired();  // what the file says, for when it is gone
  EXPECT_THAT(record.DebugString(), Not(HasSubstr("s3cret")));
}

TEST(SecretsTest, AnotherTokenAsksForNoNewDisk) {
  FakeWorld world;
  world.file.image = kUrl;
  world.Save();
  const std::unique_ptr<Machine> machine = world.NewMachine();
  EXPECT_FALSE(Apply(*machine, Up()).outcome.failed);
  world.file.image = "https://ada:0ther@example.org/a.qcow2?version=1&token=0ther";
  world.Save();
  EXPECT_THAT(Apply(*machine).outcome.plan.waiting(), IsEmpty());
  world.file.image = "https://ada:0ther@example.org/a.qcow2?version=2&token=0ther";
  world.Save();
  EXPECT_EQ(Apply(*machine).outcome.plan.waiting_size(), 1);
}

}  // namespace
}  // namespace rum
