// What README shows of a machine whose file changes, compared with what is printed of one: the
// story of tools/quickstart, told by fakes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <regex>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/render.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

constexpr Style kUtf8{true, false};

// What stands below a command of README's.
std::string Shown(const std::string& command) {
  std::ifstream file(
      absl::StrCat(std::getenv("TEST_SRCDIR"), "/", std::getenv("TEST_WORKSPACE"), "/README.md"));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string head = absl::StrCat("    $ ", command, "\n");
  const size_t begin = text.find(head);
  if (begin == std::string::npos) return "";
  std::string shown;
  for (absl::string_view line : absl::StrSplit(text.substr(begin + head.size()), '\n')) {
    if (!absl::ConsumePrefix(&line, "    ")) break;
    absl::StrAppend(&shown, line, "\n");
  }
  return shown;
}

// How long something took is another time each time.
std::string Timeless(const std::string& text) {
  static const auto* const times = new std::regex("[0-9.]+ s\\b");
  return std::regex_replace(text, *times, "TIME");
}

class ReadmeTest : public testing::Test {
 protected:
  ReadmeTest() {
    world_.key_folder = world_.folder() + "/keys";
    world_.file.memory_mb = 512;
    world_.file.cpus = 1;
    world_.file.groups = {"docker"};
    world_.file.ports = {{40817, 8000}, {42281, 8000}};
    world_.file.system = "";
    world_.file.auto_reconcile = false;
    world_.Save();
    machine_ = world_.NewMachine();
    EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
  }
  void ChangeFile() {
    world_.file.memory_mb = 768;
    world_.file.hostname = "devbox";
    world_.file.groups = {"docker", "video"};
    world_.file.ports = {{40817, 8000}, {48531, 8000}};
    world_.file.boot = "boot 2";
    world_.Save();
  }

  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
};

TEST_F(ReadmeTest, ShowsWhatAReloadPrints) {
  ChangeFile();
  std::string printed;
  EventSink sink;
  sink.result = [&](const ActionResult& result) { printed += RenderResult(result, kUtf8); };
  printed += RenderPlan(machine_->Apply({}, sink).plan, kUtf8);
  EXPECT_EQ(Timeless(printed), Timeless(Shown("rum reload")));
}

TEST_F(ReadmeTest, ShowsWhatAStatusPrints) {
  ChangeFile();
  Apply(*machine_);
  world_.host->health = ForwardHealth::kDown;  // the server in the guest is being started again
  MachineStatus status = machine_->Status();
  status.set_name("project");
  static const auto* const card = new std::regex("  network\\.nat .*\n");  // fakes have none
  EXPECT_EQ(RenderStatus(status, status.applied_ms(), kUtf8),
            std::regex_replace(Shown("rum status"), *card, ""));
}

}  // namespace
}  // namespace rum
