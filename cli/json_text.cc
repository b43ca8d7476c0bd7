#include "cli/json_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"

namespace rum {
namespace {

using Json = nlohmann::ordered_json;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Those that end in "_ms" and are no points in time.
constexpr std::array<const char*, 4> kDurations = {"duration_ms", "took_ms", "cpu_time_ms",
                                                   "timeout_ms"};

bool IsTime(const FieldDescriptor& field) {
  const bool integer = field.cpp_type() == FieldDescriptor::CPPTYPE_INT64 && !field.is_repeated();
  return integer && absl::EndsWith(field.name(), "_ms") &&
         std::find(kDurations.begin(), kDurations.end(), field.name()) == kDurations.end();
}

Json ObjectOf(const Message& message);

Json TextOf(const FieldDescriptor& field, const std::string& text) {
  return field.type() == FieldDescriptor::TYPE_BYTES ? Json(absl::Base64Escape(text)) : Json(text);
}

// Null: one that this build does not know, or that stands for nothing said.
Json NameOf(const google::protobuf::EnumDescriptor& kind, int number) {
  const auto* value = kind.FindValueByNumber(number);
  if (value == nullptr || absl::EndsWith(value->name(), "_UNSPECIFIED")) return nullptr;
  return value->name();
}

// `index`: of an element; -1: the field is no list.
Json ValueOf(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& of = *message.GetReflection();
  const bool one = index < 0;
  std::string scratch;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return one ? of.GetBool(message, &field) : of.GetRepeatedBool(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? of.GetInt32(message, &field) : of.GetRepeatedInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? of.GetUInt32(message, &field) : of.GetRepeatedUInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return one ? of.GetInt64(message, &field) : of.GetRepeatedInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return one ? of.GetUInt64(message, &field) : of.GetRepeatedUInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return one ? of.GetFloat(message, &field) : of.GetRepeatedFloat(message, &field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return one ? of.GetDouble(message, &field) : of.GetRepeatedDouble(message, &field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return NameOf(*field.enum_type(), one ? of.GetEnumValue(message, &field)
                                            : of.GetRepeatedEnumValue(message, &field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      return TextOf(field, one ? of.GetStringReference(message, &field, &scratch)
                               : of.GetRepeatedStringReference(message, &field, index, &scratch));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ObjectOf(one ? of.GetMessage(message, &field)
                          : of.GetRepeatedMessage(message, &field, index));
  }
  return nullptr;
}

Json MapOf(const Message& message, const FieldDescriptor& field) {
  const Reflection& of = *message.GetReflection();
  std::map<std::string, Json> sorted;
  for (int i = 0; i < of.FieldSize(message, &field); ++i) {
    const Message& entry = of.GetRepeatedMessage(message, &field, i);
    const Json key = ValueOf(entry, *entry.GetDescriptor()->FindFieldByNumber(1), -1);
    sorted[key.is_string() ? key.get<std::string>() : key.dump()] =
        ValueOf(entry, *entry.GetDescriptor()->FindFieldByNumber(2), -1);
  }
  Json object = Json::object();
  for (auto& [key, value] : sorted) object[key] = std::move(value);
  return object;
}

Json ListOf(const Message& message, const FieldDescriptor& field) {
  Json list = Json::array();
  const int size = message.GetReflection()->FieldSize(message, &field);
  for (int i = 0; i < size; ++i) list.push_back(ValueOf(message, field, i));
  return list;
}

void AddTime(const FieldDescriptor& field, int64_t ms, Json* object) {
  const std::string& name = field.json_name();
  const std::string plain = name.substr(0, name.size() - 2);
  (*object)[name] = ms == 0 ? Json(nullptr) : Json(ms);
  (*object)[plain] = ms == 0
                         ? Json(nullptr)
                         : Json(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(ms),
                                                 absl::UTCTimeZone()));
}

void AddField(const Message& message, const FieldDescriptor& field, Json* object) {
  const Reflection& of = *message.GetReflection();
  if (field.is_map()) {
    (*object)[field.json_name()] = MapOf(message, field);
  } else if (field.is_repeated()) {
    (*object)[field.json_name()] = ListOf(message, field);
  } else if (IsTime(field)) {
    AddTime(field, of.GetInt64(message, &field), object);
  } else if (!field.has_presence() || of.HasField(message, &field)) {
    (*object)[field.json_name()] = ValueOf(message, field, -1);
  } else if (field.real_containing_oneof() == nullptr &&
             field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    (*object)[field.json_name()] = nullptr;
  }
}

void AddFields(const Message& message, Json* object) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) AddField(message, *type.field(i), object);
}

Json ObjectOf(const Message& message) {
  Json object = Json::object();
  AddFields(message, &object);
  return object;
}

std::string Dump(const Message& message, int indent) {
  Json whole = Json::object();
  whole["version"] = kJsonVersion;
  AddFields(message, &whole);
  return whole.dump(indent, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string ToJson(const Message& message) { return Dump(message, 1); }

std::string ToJsonLine(const Message& message) { return Dump(message, -1); }

}  // namespace rum
