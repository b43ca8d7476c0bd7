#include "state/explain.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "state/config.pb.h"
#include "state/schema.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

TEST(Explain, AFieldSaysTypeDefaultMeaningAndWhatAChangeCosts) {
  EXPECT_EQ(
      *Explain("resources.memory_mb"),
      "resources.memory_mb  (integer, required)\n"
      "    memory, MiB\n"
      "    effect of a change: live within room (up to resources.max_memory_mb, and down to what "
      "the guest uses), else restart — memory is part of the domain definition\n");
  EXPECT_EQ(*Explain("ports.bind"),
            "ports.bind  (string, default 127.0.0.1)\n"
            "    address on the host, IPv4 or IPv6, or unix:PATH for a unix socket, without host\n"
            "    reaches the host: an address at which others in the network reach the guest, or a "
            "socket outside of the project; `rum trust`\n"
            "    effect of a change: live\n");
}

TEST(Explain, ATableIsAllOfItsFields) {
  const std::string text = *Explain("user");
  EXPECT_NE(text.find("user.name  (string, default rum)"), std::string::npos);
  EXPECT_NE(text.find("user.groups  (array of strings"), std::string::npos);
}

TEST(Explain, WhatRumNotesIsNoField) {
  EXPECT_TRUE(absl::IsNotFound(Explain("network.interfaces.joined").status()));
  EXPECT_EQ(Explain("network")->find("joined"), std::string::npos);
}

TEST(Explain, NamesTheNearestFieldForOneThatIsNotThere) {
  for (const auto& [typed, meant] :
       {std::pair("resources.memory", "resources.memory_mb"),
        std::pair("hostname", "network.hostname"), std::pair("network.hostnam", "network.hostname"),
        std::pair("port", "ports")}) {
    const absl::Status status = Explain(typed).status();
    EXPECT_TRUE(absl::IsNotFound(status));
    EXPECT_NE(std::string(status.message()).find(std::string("did you mean `") + meant),
              std::string::npos)
        << std::string(status.message());
  }
}

TEST(Nearest, TwoLettersThatChangedPlacesAreOneSlipOfTheHand) {
  EXPECT_EQ(Nearest("stauts", {"up", "stats", "status"}), "stats") << "as near, and first";
  EXPECT_EQ(Nearest("stauts", {"up", "status", "stats"}), "status");
  EXPECT_EQ(Nearest("hsot", {"rest", "host"}), "host");
  EXPECT_EQ(Nearest("dve", {"db", "dev"}), "dev");
  EXPECT_EQ(Nearest("", {"a"}), "a");
  EXPECT_EQ(Nearest("frobnicate", {"up", "down"}), "");
  EXPECT_EQ(DidYouMean("relaod", {"reload"}), " (did you mean `reload`?)");
  EXPECT_EQ(DidYouMean("frobnicate", {"up"}), "");
}

// Fields without a place in the schema's walk, a meaning or a stated effect would fall through.
void ExpectEveryFieldIsExplained(const Descriptor& table, const std::string& all, bool effect) {
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    const bool stated = effect || field.options().GetExtension(rum::effect) != EFFECT_UNSPECIFIED;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const Descriptor* below = field.message_type();
      if (field.is_map()) below = below->FindFieldByName("value")->message_type();
      ExpectEveryFieldIsExplained(*below, all, stated);
      continue;
    }
    if (!IsKey(field)) continue;
    EXPECT_TRUE(stated) << field.full_name() << " has no effect";
    EXPECT_NE(field.options().GetExtension(rum::about), "") << field.full_name();
    EXPECT_NE(all.find(field.name() + "  ("), std::string::npos) << field.full_name();
  }
}

TEST(Explain, EveryFieldOfTheSchemaHasAnEffectAndAMeaning) {
  ExpectEveryFieldIsExplained(*Config::descriptor(), *Explain(""), false);
}

// docs/rum-toml.md has a row for each field, with its effect.
TEST(Explain, TheDocumentationSaysTheSame) {
  std::ifstream file("docs/rum-toml.md");
  const std::string docs(std::istreambuf_iterator<char>(file), {});
  const std::string all = *Explain("");
  int fields = 0;
  std::string field;
  const std::vector<std::string> lines = absl::StrSplit(all, '\n');
  for (const std::string& line : lines) {
    constexpr absl::string_view kEffect = "    effect of a change: ";
    if (const size_t type = line.find("  ("); type != 0 && type != std::string::npos)
      field = line.substr(0, type);
    if (!absl::StartsWith(line, kEffect)) continue;
    ++fields;
    std::string effect = line.substr(kEffect.size());
    effect = effect.substr(0, effect.find(" —"));
    const size_t row = docs.find(absl::StrCat("| `", field, "` |"));
    ASSERT_NE(row, std::string::npos) << field;
    EXPECT_THAT(docs.substr(row, docs.find('\n', row) - row),
                testing::EndsWith(absl::StrCat("| ", effect, " |")));
  }
  EXPECT_GT(fields, 30);
}

}  // namespace
}  // namespace rum
