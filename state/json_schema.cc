#include "state/json_schema.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "state/config.pb.h"
#include "state/explain.h"
#include "state/field_rules.h"
#include "state/schema.h"
#include "state/size.h"
#include "state/storage_rules.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Struct;
using google::protobuf::Value;

constexpr char kSizePattern[] = "^[0-9]+( *[kKmMgGtT]([iI]?[bB]|[iI])?)?$";
constexpr char kPortPattern[] =
    "0*(6553[0-5]|655[0-2][0-9]|65[0-4][0-9][0-9]|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})";

Value ValueOf(const std::string& text) {
  Value value;
  value.set_string_value(text);
  return value;
}

Value ValueOf(double number) {
  Value value;
  value.set_number_value(number);
  return value;
}

Value Boolean(bool is) {
  Value value;
  value.set_bool_value(is);
  return value;
}

Value ValueOf(const Struct& object) {
  Value value;
  *value.mutable_struct_value() = object;
  return value;
}

Value ValueOf(const std::vector<std::string>& texts) {
  Value value;
  value.mutable_list_value();
  for (const std::string& text : texts) *value.mutable_list_value()->add_values() = ValueOf(text);
  return value;
}

Value ListOf(const std::vector<Struct>& objects) {
  Value value;
  for (const Struct& object : objects) {
    *value.mutable_list_value()->add_values() = ValueOf(object);
  }
  return value;
}

void Set(Struct* object, const std::string& name, const Value& value) {
  (*object->mutable_fields())[name] = value;
}

void SetForTaplo(Struct* schema, const std::string& name, const Value& value) {
  Set((*schema->mutable_fields())["x-taplo"].mutable_struct_value(), name, value);
}

Struct OfType(const std::string& type) {
  Struct schema;
  Set(&schema, "type", ValueOf(type));
  return schema;
}

// {"not": {"pattern": PATTERN}}
void Refuse(Struct* schema, const std::string& pattern) {
  Struct refused;
  Set(&refused, "pattern", ValueOf(pattern));
  Set(schema, "not", ValueOf(refused));
}

Struct IntegerSchema(const FieldRule& rule) {
  Struct schema = OfType("integer");
  Set(&schema, "minimum", ValueOf(static_cast<double>(rule.least)));
  if (rule.most > 0) Set(&schema, "maximum", ValueOf(static_cast<double>(rule.most)));
  return schema;
}

Struct TextSchema(const FieldRule& rule) {
  Struct schema = OfType("string");
  if (!rule.words.empty()) {
    std::vector<std::string> words = rule.words;
    if (rule.or_empty) words.emplace_back();
    Set(&schema, "enum", ValueOf(words));
    return schema;
  }
  if (!rule.pattern.empty()) {
    Set(&schema, "pattern",
        ValueOf(rule.or_empty ? absl::StrCat("^$|", rule.pattern) : rule.pattern));
  }
  if (!rule.refused.empty()) Refuse(&schema, rule.refused);
  if (rule.most_characters > 0) {
    Set(&schema, "maxLength", ValueOf(static_cast<double>(rule.most_characters)));
  }
  return schema;
}

// An integer, or a text with this pattern.
Struct IntegerOrText(const FieldRule& rule, const std::string& pattern) {
  Struct text = OfType("string");
  Set(&text, "pattern", ValueOf(pattern));
  Struct schema;
  Set(&schema, "anyOf", ListOf({IntegerSchema(rule), text}));
  return schema;
}

Struct Scalar(const FieldDescriptor& field) {
  const FieldRule& rule = RuleOf(field);
  const auto& options = field.options();
  if (options.GetExtension(rum::is_size)) return IntegerOrText(rule, kSizePattern);
  if (options.GetExtension(rum::is_ports)) {
    return IntegerOrText(rule, absl::StrCat("^", kPortPattern, "(-", kPortPattern, ")?$"));
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) return TextSchema(rule);
  return field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL ? OfType("boolean")
                                                           : IntegerSchema(rule);
}

void AddDefault(const FieldDescriptor& field, Struct* schema) {
  const std::string& text = field.options().GetExtension(rum::default_text);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL && !field.is_repeated()) {
    Set(schema, "default", Boolean(text == "true"));
  } else if (text.empty()) {
    return;
  } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ||
             field.options().GetExtension(rum::is_size)) {
    Set(schema, "default", ValueOf(text));
  } else {
    Set(schema, "default", ValueOf(static_cast<double>(*ParseSize(text))));
  }
}

// What editors show: `about` alone, and for those that know taplo's extension all of `rum explain`.
void Document(const FieldDescriptor& field, const FieldMeaning& meaning, Struct* schema) {
  const auto& options = field.options();
  std::string about = options.GetExtension(rum::about);
  if (!about.empty()) Set(schema, "description", ValueOf(about));
  if (const std::string& reach = options.GetExtension(rum::reaches_host); !reach.empty()) {
    absl::StrAppend(&about, about.empty() ? "" : "\n\n", "Reaches the host: ", reach,
                    "; `rum trust` asks for your word.");
  }
  const bool stated = options.GetExtension(rum::effect) != EFFECT_UNSPECIFIED;
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || stated) {
    absl::StrAppend(&about, about.empty() ? "" : "\n\n",
                    "Effect of a change: ", EffectText(meaning), ".");
  }
  if (about.empty()) return;
  Struct docs;
  Set(&docs, "main", ValueOf(about));
  SetForTaplo(schema, "docs", ValueOf(docs));
}

Struct FieldSchema(const FieldDescriptor& field, const FieldMeaning& above);

// That a field stands there and is as `schema` says.
Struct Stands(const std::string& field, const Struct& schema) {
  Struct stands, properties;
  Set(&properties, field, ValueOf(schema));
  Set(&stands, "properties", ValueOf(properties));
  Set(&stands, "required", ValueOf(std::vector<std::string>{field}));
  return stands;
}

// What a field that is left out must be replaced by, and must not stand beside.
Struct OneOfThese(const FieldDescriptor& field) {
  const auto& options = field.options();
  Struct is_there, is_true;
  Set(&is_there, "required", ValueOf(std::vector<std::string>{field.name()}));
  *(*is_true.mutable_fields())["enum"].mutable_list_value()->add_values() = Boolean(true);
  std::vector<Struct> these = {is_there,
                               Stands(options.GetExtension(rum::required_unless), is_true)};
  const std::pair<std::string, std::string> begins =
      absl::StrSplit(options.GetExtension(rum::required_unless_begins), absl::MaxSplits('=', 1));
  if (!begins.first.empty()) {
    Struct beginning;
    Set(&beginning, "pattern", ValueOf(absl::StrCat("^", begins.second)));
    these.push_back(Stands(begins.first, beginning));
  }
  Struct one;
  Set(&one, "oneOf", ListOf(these));
  return one;
}

Struct Table(const Descriptor& table, const FieldMeaning& meaning) {
  Struct schema = OfType("object");
  Struct properties;
  std::vector<std::string> required;
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    if (!IsKey(field)) continue;
    Set(&properties, field.name(), ValueOf(FieldSchema(field, meaning)));
    if (!field.options().GetExtension(rum::required)) continue;
    if (!field.options().GetExtension(rum::required_unless).empty()) {
      schema.MergeFrom(OneOfThese(field));
    } else {
      required.push_back(field.name());
    }
  }
  Set(&schema, "properties", ValueOf(properties));
  Set(&schema, "additionalProperties", Boolean(false));
  if (required.empty()) return schema;
  Set(&schema, "required", ValueOf(required));
  SetForTaplo(&schema, "initKeys", ValueOf(required));  // written when an editor makes the table
  return schema;
}

// An array of tables.
Struct Tables(const Struct& table) {
  Struct schema = OfType("array");
  Set(&schema, "items", ValueOf(table));
  return schema;
}

// What must be empty where it stands: the field is for other filesystems.
void MustBeEmpty(const std::string& name, const char* keyword, Struct* properties) {
  Struct* field = (*properties->mutable_fields())[name].mutable_struct_value();
  field->mutable_fields()->erase("pattern");
  field->mutable_fields()->erase("not");
  Set(field, keyword, ValueOf(0.0));
}

// Where the mode is one of `modes`, there are `least` drives.
Struct ModeAsksForDrives(const std::vector<std::string>& modes, int least) {
  Struct mode, properties, has_mode, otherwise;
  Set(&mode, "enum", ValueOf(modes));
  Set(&properties, "mode", ValueOf(mode));
  Set(&has_mode, "properties", ValueOf(properties));
  Set(&has_mode, "required", ValueOf(std::vector<std::string>{"mode"}));
  Set(&otherwise, "not", ValueOf(has_mode));
  Struct drives, with_drives, enough;
  Set(&drives, "minItems", ValueOf(static_cast<double>(least)));
  Set(&with_drives, "drives", ValueOf(drives));
  Set(&enough, "properties", ValueOf(with_drives));
  Struct schema;
  Set(&schema, "anyOf", ListOf({otherwise, enough}));
  return schema;
}

Struct SeveralDrives(const std::string& type, Struct table) {
  Struct* properties = (*table.mutable_fields())["properties"].mutable_struct_value();
  MustBeEmpty("drive", "maxLength", properties);
  if (type != "zfs") MustBeEmpty("pool", "maxLength", properties);
  Set((*properties->mutable_fields())["drives"].mutable_struct_value(), "minItems", ValueOf(1.0));
  std::vector<std::string> modes = ModesOf(type);
  modes.emplace_back();
  Set((*properties->mutable_fields())["mode"].mutable_struct_value(), "enum", ValueOf(modes));
  std::map<int, std::vector<std::string>> by_least;
  for (const std::string& mode : ModesOf(type)) by_least[LeastDrives(type, mode)].push_back(mode);
  std::vector<Struct> all;
  for (const auto& [least, of] : by_least) {
    if (least > 1) all.push_back(ModeAsksForDrives(of, least));
  }
  Set(&table, "allOf", ListOf(all));
  Set(&table, "required", ValueOf(std::vector<std::string>{"drives", "target"}));
  return table;
}

Struct OneDrive(Struct table) {
  Struct* properties = (*table.mutable_fields())["properties"].mutable_struct_value();
  MustBeEmpty("drives", "maxItems", properties);
  MustBeEmpty("mode", "maxLength", properties);
  MustBeEmpty("pool", "maxLength", properties);
  Set((*properties->mutable_fields())["drive"].mutable_struct_value(), "minLength", ValueOf(1.0));
  Set(&table, "required", ValueOf(std::vector<std::string>{"drive", "target"}));
  return table;
}

// [[fs.TYPE]], one property for each type that there is.
Struct Filesystems(const FieldMeaning& meaning) {
  const Struct table = Table(*Fs::descriptor(), meaning);
  Struct properties;
  for (const std::string& type : OneDriveTypes()) {
    Set(&properties, type, ValueOf(Tables(OneDrive(table))));
  }
  for (const char* type : {"btrfs", "zfs"}) {
    Set(&properties, type, ValueOf(Tables(SeveralDrives(type, table))));
  }
  Struct schema = OfType("object");
  Set(&schema, "properties", ValueOf(properties));
  Set(&schema, "additionalProperties", Boolean(false));
  return schema;
}

// [drives.NAME]
Struct NamedTables(const Descriptor& table, const FieldMeaning& meaning) {
  Struct names;
  Set(&names, absl::StrCat("^[a-zA-Z0-9][a-zA-Z0-9._-]{0,", kMostName - 1, "}$"),
      ValueOf(Table(table, meaning)));
  Struct schema = OfType("object");
  Set(&schema, "patternProperties", ValueOf(names));
  Set(&schema, "additionalProperties", Boolean(false));
  Set(&schema, "maxProperties", ValueOf(static_cast<double>(kMostDrives)));
  return schema;
}

Struct TypeOf(const FieldDescriptor& field, const FieldMeaning& meaning) {
  const Descriptor* table = TableOf(field);
  if (table == Fs::descriptor()) return Filesystems(meaning);
  if (field.is_map()) return NamedTables(*table, meaning);
  if (table != nullptr) {
    return field.is_repeated() ? Tables(Table(*table, meaning)) : Table(*table, meaning);
  }
  if (!field.is_repeated()) return Scalar(field);
  Struct schema = OfType("array");
  Set(&schema, "items", ValueOf(TextSchema(RuleOf(field))));
  return schema;
}

Struct FieldSchema(const FieldDescriptor& field, const FieldMeaning& above) {
  const FieldMeaning meaning = above.Below(field);
  Struct schema = TypeOf(field, meaning);
  Document(field, meaning, &schema);
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) AddDefault(field, &schema);
  return schema;
}

// With its keys in order, so that the same schema is the same text.
std::string InOrder(const Struct& object) {
  std::string binary;
  {
    google::protobuf::io::StringOutputStream stream(&binary);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    object.SerializeToCodedStream(&coded);
  }
  constexpr char kUrl[] = "type.googleapis.com";
  const std::unique_ptr<google::protobuf::util::TypeResolver> resolver(
      google::protobuf::util::NewTypeResolverForDescriptorPool(
          kUrl, google::protobuf::DescriptorPool::generated_pool()));
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  const auto printed = google::protobuf::util::BinaryToJsonString(
      resolver.get(), absl::StrCat(kUrl, "/", Struct::descriptor()->full_name()), binary, &json,
      options);
  return printed.ok() ? json : "";
}

}  // namespace

std::string JsonSchema() {
  Struct schema = Table(*Config::descriptor(), FieldMeaning());
  Set(&schema, "$schema", ValueOf(std::string("http://json-schema.org/draft-04/schema#")));
  Set(&schema, "title", ValueOf(std::string("rum.toml")));
  Set(&schema, "description",
      ValueOf(std::string("A machine of rum's: `rum up` makes it, and what is changed here is "
                          "applied while it runs")));
  return InOrder(schema);
}

}  // namespace rum
