// What programs read: names, types and what stands for nothing are promised in docs/json.md.
#include "cli/json_text.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/doctor.pb.h"
#include "cli/reports.pb.h"
#include "controller/service/control.pb.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using nlohmann::json;

// All that a command prints with `-o json`.
std::vector<const Descriptor*> Printed() {
  return {control::ApplyReport::descriptor(),
          MachineStatus::descriptor(),
          Event::descriptor(),
          control::ListMachinesReply::descriptor(),
          control::AdoptReply::descriptor(),
          control::TrustReply::descriptor(),
          control::RunsReply::descriptor(),
          control::LogEvent::descriptor(),
          control::ImagesReply::descriptor(),
          control::InfoReply::descriptor(),
          control::StatsReply::descriptor(),
          doctor::Report::descriptor(),
          reports::DiffReport::descriptor(),
          reports::OpenReport::descriptor(),
          reports::InitReport::descriptor(),
          reports::CheckReport::descriptor(),
          reports::StatusReport::descriptor(),
          reports::PulledImage::descriptor(),
          reports::DeletedImage::descriptor(),
          reports::ControllerReport::descriptor(),
          reports::ServiceReport::descriptor(),
          reports::SshConfigReport::descriptor()};
}

void Gather(const Descriptor* type, std::set<const Descriptor*>* all) {
  if (!all->insert(type).second) return;
  for (int i = 0; i < type->field_count(); ++i) {
    if (type->field(i)->message_type() != nullptr) Gather(type->field(i)->message_type(), all);
  }
}

std::set<const Descriptor*> AllPrinted() {
  std::set<const Descriptor*> all;
  for (const Descriptor* type : Printed()) Gather(type, &all);
  return all;
}

// One with something in each field, down to the third level.
void Fill(google::protobuf::Message* message, int depth) {
  const auto& of = *message->GetReflection();
  const Descriptor& type = *message->GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    const bool list = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        list ? of.AddBool(message, field, true) : of.SetBool(message, field, true);
        break;
      case FieldDescriptor::CPPTYPE_INT32:
        list ? of.AddInt32(message, field, -7) : of.SetInt32(message, field, -7);
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        list ? of.AddUInt32(message, field, 7) : of.SetUInt32(message, field, 7);
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        list ? of.AddInt64(message, field, 1764513330123)
             : of.SetInt64(message, field, 1764513330123);
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        list ? of.AddUInt64(message, field, 1ull << 40) : of.SetUInt64(message, field, 1ull << 40);
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        list ? of.AddDouble(message, field, 1.5) : of.SetDouble(message, field, 1.5);
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        list ? of.AddString(message, field, "text") : of.SetString(message, field, "text");
        break;
      case FieldDescriptor::CPPTYPE_ENUM: {
        const int last = field->enum_type()->value(field->enum_type()->value_count() - 1)->number();
        list ? of.AddEnumValue(message, field, last) : of.SetEnumValue(message, field, last);
        break;
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (depth > 0)
          Fill(list ? of.AddMessage(message, field) : of.MutableMessage(message, field), depth - 1);
        break;
      default:
        FAIL() << field->full_name();
    }
  }
}

std::unique_ptr<google::protobuf::Message> New(const Descriptor* type) {
  return std::unique_ptr<google::protobuf::Message>(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

TEST(ToJson, IsReadByOtherToolsAsTheMessageThatItWas) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // the version, and times in words
  for (const Descriptor* type : Printed()) {
    const auto message = New(type);
    Fill(message.get(), 3);
    // The doctor said its version before the others had one.
    if (auto* report = dynamic_cast<doctor::Report*>(message.get())) report->set_version(1);
    for (const std::string& text : {ToJson(*message), ToJsonLine(*message)}) {
      json object = json::parse(text);
      EXPECT_EQ(object["version"], kJsonVersion) << text;
      // Where protobuf would take it for a field of the message.
      if (type == control::InfoReply::descriptor()) object.erase("version");
      const auto back = New(type);
      const std::string whole = object.dump();
      ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(whole, back.get(), options).ok())
          << text;
      EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*message, *back)) << text;
    }
    const std::string line = ToJsonLine(*message);
    EXPECT_EQ(line.find('\n'), line.size() - 1);
  }
}

// A name that a message of ours has must not be one that this format puts beside it.
TEST(ToJson, NoFieldHasTheNameOfAnother) {
  for (const Descriptor* type : AllPrinted()) {
    std::set<std::string> names;
    const bool outermost = [&] {
      const auto printed = Printed();
      return std::find(printed.begin(), printed.end(), type) != printed.end();
    }();
    if (outermost && type != doctor::Report::descriptor()) names.insert("version");
    for (int i = 0; i < type->field_count(); ++i) {
      const std::string name = type->field(i)->json_name();
      EXPECT_TRUE(names.insert(name).second) << type->full_name() << ": " << name;
    }
    for (int i = 0; i < type->field_count(); ++i) {
      const std::string name = type->field(i)->json_name();
      if (name.size() < 3 || name.compare(name.size() - 2, 2, "Ms") != 0) continue;
      EXPECT_EQ(names.count(name.substr(0, name.size() - 2)), 0u) << type->full_name() << name;
    }
  }
}

// Whoever adds a field in milliseconds says which of the two it is.
TEST(ToJson, TimesStandInWordsAsWellAndDurationsDoNot) {
  std::set<std::string> times, durations;
  for (const Descriptor* type : AllPrinted()) {
    const auto message = New(type);
    Fill(message.get(), 0);
    const json object = json::parse(ToJson(*message));
    for (int i = 0; i < type->field_count(); ++i) {
      const std::string name = type->field(i)->json_name();
      if (name.size() < 3 || name.compare(name.size() - 2, 2, "Ms") != 0) continue;
      const auto words = object.find(name.substr(0, name.size() - 2));
      (words != object.end() ? times : durations).insert(type->field(i)->name());
      if (words != object.end()) EXPECT_EQ(*words, "2025-11-30T14:35:30.123Z") << name;
    }
  }
  EXPECT_THAT(times,
              testing::UnorderedElementsAre("applied_ms", "ended_ms", "fetched_ms", "first_seen_ms",
                                            "given_ms", "last_transition_ms", "next_try_ms",
                                            "phase_since_ms", "started_ms", "time_ms"));
  EXPECT_THAT(durations, testing::UnorderedElementsAre("cpu_time_ms", "duration_ms", "took_ms"));
}

TEST(ToJson, HasAllFieldsAndNullForWhatIsNotKnown) {
  MachineStatus status;
  status.add_items()->set_field("ports");
  EXPECT_EQ(ToJson(status), R"({
 "version": 1,
 "id": "",
 "name": "",
 "configPath": "",
 "phase": "NOT_DEFINED",
 "generation": 0,
 "appliedGeneration": 0,
 "appliedMs": null,
 "applied": null,
 "agentConnected": false,
 "items": [
  {
   "field": "ports",
   "state": "HOLDS",
   "movedBy": "NOBODY",
   "text": "",
   "reason": "",
   "firstSeenMs": null,
   "firstSeen": null,
   "nextTryMs": null,
   "nextTry": null,
   "givenUp": false,
   "observed": "",
   "wanted": "",
   "remedy": "",
   "knownBy": "NOBODY"
  }
 ],
 "configError": "",
 "error": "",
 "conditions": [],
 "notes": [],
 "phaseReason": "",
 "phaseSinceMs": null,
 "phaseSince": null,
 "phaseRemedy": "",
 "restarts": 0
}
)");
  control::MachineStats stats;
  const json told = json::parse(ToJson(stats));
  EXPECT_TRUE(told["cpuPercent"].is_null()) << "nothing was said";
  EXPECT_EQ(told["cpuTimeMs"], 0);
}

TEST(ToJson, ShowsNoNumberOfAnEnumAndNoDefaultThatStandsForNothing) {
  MachineStatus status;
  status.set_phase(static_cast<MachineStatus::Phase>(9999));
  EXPECT_TRUE(json::parse(ToJson(status))["phase"].is_null());
  Change change;
  EXPECT_TRUE(json::parse(ToJson(change))["effect"].is_null());
  change.set_effect(RESTART);
  EXPECT_EQ(json::parse(ToJson(change))["effect"], "RESTART");
}

TEST(ToJson, HasNothingThatMovesATerminalAndIsWholeWhateverOthersSay) {
  ActionResult result;
  result.set_message("\033[2J\x7F\u202E\"\xFF→");
  result.set_output_tail(std::string("\xFF\0\n", 3));
  const std::string text = ToJson(result);
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c < 0x7F)) << text;
  EXPECT_EQ(json::parse(text)["message"], "\033[2J\x7F\u202E\"\uFFFD→");
  EXPECT_EQ(json::parse(text)["outputTail"], "/wAK");
}

TEST(ToJson, TheControllersVersionIsNotTheFormats) {
  control::InfoReply info;
  info.set_version("0.4.0");
  EXPECT_EQ(json::parse(ToJson(info))["version"], kJsonVersion);
  EXPECT_EQ(json::parse(ToJson(info))["controllerVersion"], "0.4.0");
}

TEST(ToJson, MapsAreObjectsInOrder) {
  reports::SshConfigReport report;
  (*report.mutable_options())["User"] = "rum";
  (*report.mutable_options())["HostName"] = "dev";
  EXPECT_NE(ToJsonLine(report).find(R"("options":{"HostName":"dev","User":"rum"})"),
            std::string::npos);
}

// Names and types of all that is printed, so that a change of one is seen. What goes or changes its
// meaning needs another kJsonVersion.
std::string Outline(const Descriptor* type) {
  static constexpr const char* kTypes[] = {"",       "number", "number", "number",
                                           "number", "number", "number", "bool",
                                           "name",   "text",   "object"};
  std::string text = type->full_name() + "\n";
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    const std::string of =
        field->message_type() != nullptr
            ? field->message_type()->full_name()
            : std::string(field->type() == FieldDescriptor::TYPE_BYTES ? "base64"
                                                                       : kTypes[field->cpp_type()]);
    text += "  " + field->json_name() + ": " + of + (field->is_repeated() ? "[]" : "") + "\n";
  }
  return text;
}

TEST(ToJson, NamesAndTypesAreThoseThatWerePromised) {
  std::map<std::string, const Descriptor*> sorted;
  for (const Descriptor* type : AllPrinted()) sorted[type->full_name()] = type;
  std::string now;
  for (const auto& [name, type] : sorted) now += Outline(type);
  const std::string path = std::string(std::getenv("TEST_SRCDIR")) + "/" +
                           std::getenv("TEST_WORKSPACE") + "/tests/cli/testdata/json_outline.txt";
  std::ifstream file(path);
  const std::string promised{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(now, promised) << "tests/cli/testdata/json_outline.txt is to be:\n" << now;
}

}  // namespace
}  // namespace rum
