// What a person, an editor or a disk may make of a rum.toml: whatever it is, a machine that runs is
// not touched by a file that is not valid.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "state/problem_text.h"
#include "state/toml_reader.h"
#include "tests/controller/fake_world.h"
#include "tests/fuzz/toml_grammar.h"

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

// Files to begin with: the fuzzer's corpus.
Lines Corpus() {
  Lines texts;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/toml_corpus")) {
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    texts.push_back(text.str());
  }
  return texts;
}

TEST(MutatedFiles, AnInvalidOneTouchesNothing) {
  FakeWorld world;
  world.file.more =
      "[drives.data]\nsize = \"1G\"\n[[fs.ext4]]\ndrive = \"data\"\ntarget = \"/d\"\n";
  world.Save();
  const std::unique_ptr<Machine> machine = world.NewMachine();
  ASSERT_FALSE(Apply(*machine, Up()).outcome.failed);
  const std::string before = StateOf(world);
  const Lines corpus = Corpus();
  ASSERT_GE(corpus.size(), 8u);
  ApplyOptions dry;
  dry.dry_run = true;
  Mutator mutator;
  TomlGrammar grammar(20261125);
  int invalid = 0, written = 0, written_valid = 0;
  for (int i = 0; i < kFiles; ++i) {
    // A third each: the machine's own file, one of the corpus, one by the grammar; of the last
    // ones each second is left as it was written.
    std::string text = world.file.Toml();
    if (i % 3 == 1) text = corpus[static_cast<size_t>(i) / 3 % corpus.size()];
    if (i % 3 == 2) text = grammar.File();
    const bool as_written = i % 6 == 5;
    if (!as_written) text = mutator.Mutate(text);
    world.SaveText(text);
    const ParsedConfig parsed = ReadTomlFile(world.identity.config_path);
    const bool valid = parsed.problems.empty();
    written += as_written ? 1 : 0;
    written_valid += as_written && valid ? 1 : 0;
    invalid += valid ? 0 : 1;
    ASSERT_EQ(RenderProblems("rum.toml", parsed).empty(), valid) << text;
    ASSERT_EQ(Apply(*machine, valid ? dry : ApplyOptions()).outcome.failed, !valid) << text;
    ASSERT_EQ(StateOf(world), before) << text;
  }
  EXPECT_GT(invalid, kFiles / 2) << "the mutations are too tame";
  EXPECT_GT(written_valid, written / 10) << "the grammar is too wild";
  EXPECT_LT(written_valid, written * 4 / 5) << "the grammar is too tame";
}

}  // namespace
}  // namespace rum
