// What `rum check` accepts can hold: any valid file, however odd, ends in a machine that matches
// it, or in a reason with a name. Files are drawn by a seed: RUM_TEST_SEED=N, RUM_TEST_FILES=2000.
#include "tests/controller/valid_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/guest/authorized_keys.h"
#include "agent-api/guest/mount_table.h"
#include "controller/hypervisor/hypervisor.h"
#include "state/names.h"
#include "state/problem_text.h"
#include "state/toml_reader.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

int Setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

class ValidFilesTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "fake") return;
    auto libvirt = ConnectLibvirt(GetParam(), "/nowhere/rum-agent", nullptr);
    ASSERT_TRUE(libvirt.ok()) << libvirt.status();
    libvirt_ = *std::move(libvirt);
  }

  // What the guest's own code makes of the file is what the host expects to see there.
  static void ExpectTheAgentAgrees(const Config& config) {
    for (const std::string& line : config.ssh().authorized_keys()) {
      EXPECT_THAT(guest::KeysIn(guest::EditAuthorizedKeys("", {line}, {})),
                  testing::ElementsAre(KeyWithoutComment(line)));
    }
    for (const auto& [type, list] : config.fs()) {
      for (const Fs& fs : list.entries()) {
        agent::Volume volume;
        volume.set_type(type);
        volume.set_target(fs.target());
        volume.add_serials("rum-a");
        EXPECT_THAT(guest::TargetsOf(guest::FstabLine(volume, "UUID=1")),
                    testing::ElementsAre(fs.target()));
      }
    }
  }

  std::shared_ptr<Hypervisor> libvirt_;
};

TEST_P(ValidFilesTest, EachEndsInSyncOrInANamedReason) {
  const int seed = Setting("RUM_TEST_SEED", 20261129);
  ValidFiles files(static_cast<unsigned>(seed));
  int in_sync = 0;
  const int count = Setting("RUM_TEST_FILES", 200);
  for (int i = 0; i < count; ++i) {
    const std::string text = files.Next();
    SCOPED_TRACE(absl::StrCat("seed ", seed, ", file ", i, ":\n", text));
    FakeWorld world;
    world.libvirt = libvirt_;
    world.SaveText(text);
    const ParsedConfig parsed = ReadTomlFile(world.identity.config_path);
    ASSERT_EQ(RenderProblems("rum.toml", parsed), "") << "the generator writes what is valid";
    ExpectTheAgentAgrees(parsed.config);
    const std::unique_ptr<Machine> machine = world.NewMachine();
    const Seen up = Apply(*machine, Trusting(*machine, Up()));
    ASSERT_FALSE(up.outcome.failed) << up.outcome.error << testing::PrintToString(up.failed);
    EXPECT_THAT(Apply(*machine).done, testing::IsEmpty()) << "it held at once";
    const MachineStatus status = machine->Status();
    EXPECT_EQ(status.error() + status.config_error(), "");
    bool holds = true;
    for (const Item& item : status.items()) {
      holds = holds && item.state() == Item::HOLDS;
      if (item.state() != Item::HOLDS) EXPECT_NE(item.text() + item.reason(), "") << item.field();
    }
    in_sync += holds ? 1 : 0;
    EXPECT_FALSE(machine->Destroy({}).failed);
    if (HasFailure()) return;
  }
  EXPECT_GT(in_sync, count * 9 / 10) << "a reason for everything is none";
}

INSTANTIATE_TEST_SUITE_P(On, ValidFilesTest, testing::Values("fake", "test:///default"),
                         [](const auto& info) {
                           return info.param == "fake" ? "Fake" : "LibvirtsTestDriver";
                         });

}  // namespace
}  // namespace rum
