// What a person, an editor or a disk may make of a rum.toml: whatever it is, a machine that runs is
// not touched by a file that is not valid.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "state/toml_reader.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

constexpr int kFiles = 10000;

using Lines = std::vector<std::string>;

class Mutator {
 public:
  std::string Mutate(const std::string& text) {
    Lines lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    for (size_t i = 1 + Below(3); i > 0; --i) MutateLines(&lines);
    std::string mutated = absl::StrJoin(lines, "\n");
    if (Below(3) == 0) MutateBytes(&mutated);
    return mutated;
  }

 private:
  size_t Below(size_t end) { return random_() % end; }

  std::string Value() {
    static const Lines values = {"0",      "-1",          "70000",    "1e400",
                                 R"("")",  R"("20G")",    "true",     "[]",
                                 "{}",     "[[1]]",       "nan",      "0x1F",
                                 "''",     R"("a b")",    "[1, 'x']", "2026-01-01",
                                 R"("\")", R"("\u0000")", "'''\n'''", "99999999999999999999"};
    return values[Below(values.size())];
  }

  void MutateLines(Lines* lines) {
    if (lines->empty()) lines->push_back("");
    const auto at = lines->begin() + static_cast<ptrdiff_t>(Below(lines->size()));
    const size_t equals = at->find('=');
    switch (Below(7)) {
      case 0:
        lines->erase(at);
        return;
      case 1:
        lines->insert(at, std::string(*at));
        return;
      case 2:
        std::swap(*at, (*lines)[Below(lines->size())]);
        return;
      case 3:
        lines->insert(at, absl::StrCat("[", Below(2) == 0 ? "[ports]" : "drives.x", "]"));
        return;
      case 4:
        lines->insert(at, absl::StrCat("key", Below(9), " = ", Value()));
        return;
      default:
        if (equals != std::string::npos) *at = absl::StrCat(at->substr(0, equals), "= ", Value());
    }
  }

  void MutateBytes(std::string* text) {
    if (text->empty()) return;
    static const std::string marks = "\"'[]{}=#\n\\,.";
    const size_t at = Below(text->size());
    switch (Below(3)) {
      case 0:
        text->resize(at);  // a write that was cut
        return;
      case 1:
        (*text)[at] = static_cast<char>(Below(256));
        return;
      default:
        text->insert(at, 1, marks[Below(marks.size())]);
    }
  }

  std::mt19937 random_{20261124};
};

// Everything that an apply could change.
std::string StateOf(const FakeWorld& world) {
  return absl::StrCat(world.hypervisor->Changes().size(), "/", world.guest->calls, "/",
                      world.host->opened, "/", world.host->open.size(), "/",
                      world.Record().SerializeAsString());
}

TEST(MutatedFiles, AnInvalidOneTouchesNothing) {
  FakeWorld world;
  world.file.more =
      "[drives.data]\nsize = \"1G\"\n[[fs.ext4]]\ndrive = \"data\"\ntarget = \"/d\"\n";
  world.Save();
  const std::unique_ptr<Machine> machine = world.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  const std::string before = StateOf(world);
  Mutator mutator;
  int invalid = 0;
  for (int i = 0; i < kFiles; ++i) {
    const std::string text = mutator.Mutate(world.file.Toml());
    world.SaveText(text);
    const ParsedConfig parsed = ReadTomlFile(world.identity.config_path);
    if (parsed.problems.empty()) continue;
    ++invalid;
    ASSERT_NE(RenderProblems("rum.toml", parsed), "") << text;
    ASSERT_TRUE(Apply(*machine).outcome.failed) << text;
    ASSERT_EQ(StateOf(world), before) << text;
  }
  EXPECT_GT(invalid, kFiles / 2) << "the mutations are too tame";
}

}  // namespace
}  // namespace rum
