// Valid files, drawn as in tests/controller/valid_files_test.cc, on one VM that goes on: what each
// says holds, waits for a restart, or has a reason. 20 in CI; others by hand:
//   RUM_TEST_FILES=50 RUM_TEST_SEED=7 tools/test //tests/e2e:valid_session_test
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/controller/valid_files.h"
#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

int Setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

// `text` with another value of one field, where its table is there.
std::string With(std::string text, const std::string& table, const std::string& field,
                 const std::string& value) {
  const size_t begin = text.find("[" + table + "]\n");
  if (begin == std::string::npos) return text;
  const size_t at = text.find("\n" + field + " = ", begin);
  return text.replace(at + 1, text.find('\n', at + 1) - at - 1, field + " = " + value);
}

// What only another machine could have stays as the VM was made.
std::string OnThisMachine(std::string text, const FileSpec& made) {
  text = With(text, "image", "base", "\"" + made.image + "\"");
  text = With(text, "user", "name", "\"rum\"");
  text = With(text, "resources", "cpus", "1");
  text = With(text, "resources", "memory_mb", "512");
  text = With(text, "resources", "disk", "\"4G\"");
  text = With(text, "advanced", "domain_type", "\"auto\"");
  if (text.find("[advanced]") == std::string::npos) text += "[advanced]\nlibvirt_uri = \"\"\n";
  return With(text, "advanced", "libvirt_uri", "\"" + made.uri + "\"");
}

TEST(Valid, EachFileHoldsOrSaysWhyNot) {
  World world(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
  const Result up = world.Rum({"up", "-d"});
  ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
  const int seed = Setting("RUM_TEST_SEED", 20261130);
  ValidFiles files(static_cast<unsigned>(seed));
  const int count = Setting("RUM_TEST_FILES", 20);
  for (int i = 0; i < count; ++i) {
    const std::string text = OnThisMachine(files.Next(), world.file);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", file " + std::to_string(i) + ":\n" + text);
    world.SaveText(text);
    const Result check = world.Rum({"check"});
    ASSERT_EQ(check.exit_status, 0) << check.err;
    const Result apply = world.Rum({"apply", "--trust"});  // some listen to the network
    EXPECT_TRUE(apply.exit_status == 0 || apply.out.find("✗") != std::string::npos)
        << apply.out << apply.err;
    const MachineStatus status = world.Status();
    EXPECT_EQ(status.phase(), MachineStatus::RUNNING);
    EXPECT_EQ(status.config_error(), "");
    for (const Item& item : status.items()) {
      if (item.state() == Item::HOLDS) continue;
      EXPECT_NE(item.text() + item.reason(), "") << item.field();
      EXPECT_NE(item.field(), "network.hostname") << item.text();
    }
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace rum::e2e
