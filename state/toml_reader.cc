#include "state/toml_reader.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <sstream>

#include "state/file.h"
#include "state/identity.h"
#include "state/names.h"
#include "state/paths.h"
#include "state/schema.h"
#include "state/size.h"
#include "state/validate.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

SourceRange RangeOf(const toml::source_region& source) {
  const bool one_line = source.begin.line == source.end.line;
  return {source.begin.line, source.begin.column, one_line ? source.end.column : 0};
}

std::string TomlTypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a float";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

std::string WithArticle(const std::string& type) {
  const bool vowel = std::strchr("aeiou", type[0]) != nullptr;
  return (vowel ? "an " : "a ") + type + (type == "size" ? " such as \"20G\"" : "");
}

void SetDefault(Message* message, const FieldDescriptor* field, const std::string& text) {
  const Reflection* reflection = message->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      reflection->SetBool(message, field, text == "true");
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      reflection->SetUInt32(message, field, static_cast<uint32_t>(*ParseSize(text)));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      reflection->SetUInt64(message, field, *ParseSize(text));
      break;
    default:
      reflection->SetString(message, field, text);
  }
}

// Every table of the schema is there, with the defaults of its fields, whether the file has it or
// not.
void FillDefaults(Message* message) {
  const Descriptor* descriptor = message->GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_repeated()) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      FillDefaults(message->GetReflection()->MutableMessage(message, field));
    } else if (const std::string& text = field->options().GetExtension(rum::default_text);
               !text.empty()) {
      SetDefault(message, field, text);
    }
  }
}

// Walks a TOML tree and the schema's descriptor side by side.
class Reader {
 public:
  explicit Reader(ParsedConfig* result) : result_(result) {}

  void ReadTable(const toml::table& table, Message* message, const std::string& prefix) {
    const Descriptor* descriptor = message->GetDescriptor();
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const FieldDescriptor* field = descriptor->FindFieldByName(name);
      if (field == nullptr) {
        UnknownKey(*descriptor, name, prefix + name, key.source());
      } else {
        result_->sources[prefix + name] = RangeOf(node.source());
        ReadField(node, message, field, prefix + name);
      }
    }
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (!field->options().GetExtension(rum::required) || table.contains(field->name())) continue;
      ReportMissing(*field, prefix, table);
    }
  }

 private:
  void Report(const std::string& field, const std::string& message, SourceRange where) {
    result_->problems.push_back({field, message, where});
  }

  void UnknownKey(const Descriptor& descriptor, const std::string& name, const std::string& path,
                  const toml::source_region& source) {
    std::vector<std::string> names;
    for (int i = 0; i < descriptor.field_count(); ++i) names.push_back(descriptor.field(i)->name());
    const std::string near = Nearest(name, names);
    Report(path, "unknown key " + path + (near.empty() ? "" : " (did you mean `" + near + "`?)"),
           RangeOf(source));
  }

  void ReportMissing(const FieldDescriptor& field, const std::string& prefix,
                     const toml::table& table) {
    const std::string path = prefix + field.name();
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      // A table that is not there has no place of its own.
      const SourceRange where =
          table.source().begin.line > 0 ? RangeOf(table.source()) : SourceRange{1, 1, 1};
      Report(path,
             path + " is missing and has no default: set it to " + WithArticle(TypeName(field)),
             where);
      return;
    }
    const Descriptor* inner = field.message_type();
    for (int i = 0; i < inner->field_count(); ++i) {
      if (inner->field(i)->options().GetExtension(rum::required)) {
        ReportMissing(*inner->field(i), path + ".", toml::table{});
      }
    }
  }

  void WrongType(const toml::node& node, const FieldDescriptor& field, const std::string& path) {
    Report(path, path + " must be " + WithArticle(TypeName(field)) + ", not " + TomlTypeName(node),
           RangeOf(node.source()));
  }

  void ReadField(const toml::node& node, Message* message, const FieldDescriptor* field,
                 const std::string& path) {
    if (field->is_map()) return ReadMap(node, message, field, path);
    if (field->is_repeated()) return ReadArray(node, message, field, path);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const toml::table* table = node.as_table();
      if (table == nullptr) return WrongType(node, *field, path);
      return ReadTable(*table, message->GetReflection()->MutableMessage(message, field),
                       path + ".");
    }
    ReadScalar(node, message, field, path);
  }

  // [drives.NAME] and [[fs.TYPE]]: the entry's name is a key of the table.
  void ReadMap(const toml::node& node, Message* message, const FieldDescriptor* field,
               const std::string& path) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return WrongType(node, *field, path);
    const FieldDescriptor* value = field->message_type()->FindFieldByName("value");
    for (const auto& [key, child] : *table) {
      const std::string name(key.str());
      const std::string below = path + "." + name;
      result_->sources[below] = RangeOf(child.source());
      Message* entry = message->GetReflection()->AddMessage(message, field);
      entry->GetReflection()->SetString(entry, field->message_type()->FindFieldByName("key"), name);
      Message* inner = entry->GetReflection()->MutableMessage(entry, value);
      if (inner->GetDescriptor() == FsList::descriptor()) {
        ReadArray(child, inner, FsList::descriptor()->FindFieldByName("entries"), below);
      } else if (const toml::table* values = child.as_table()) {
        ReadTable(*values, inner, below + ".");
      } else {
        Report(below, below + " must be a table, not " + TomlTypeName(child),
               RangeOf(child.source()));
      }
    }
  }

  void ReadArray(const toml::node& node, Message* message, const FieldDescriptor* field,
                 const std::string& path) {
    const toml::array* array = node.as_array();
    if (array == nullptr) return WrongType(node, *field, path);
    const Reflection* reflection = message->GetReflection();
    for (size_t i = 0; i < array->size(); ++i) {
      const toml::node& element = *array->get(i);
      const std::string at = path + "[" + std::to_string(i) + "]";
      result_->sources[at] = RangeOf(element.source());
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        const toml::table* table = element.as_table();
        if (table == nullptr) {
          Report(at, at + " must be a table, not " + TomlTypeName(element),
                 RangeOf(element.source()));
          continue;
        }
        Message* inner = reflection->AddMessage(message, field);
        FillDefaults(inner);
        ReadTable(*table, inner, at + ".");
      } else if (const auto* text = element.as_string()) {
        reflection->AddString(message, field, text->get());
      } else {
        Report(at, at + " must be a string, not " + TomlTypeName(element),
               RangeOf(element.source()));
      }
    }
  }

  void ReadScalar(const toml::node& node, Message* message, const FieldDescriptor* field,
                  const std::string& path) {
    const Reflection* reflection = message->GetReflection();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      const auto* text = node.as_string();
      if (text == nullptr) return WrongType(node, *field, path);
      return reflection->SetString(message, field, text->get());
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      const auto* value = node.as_boolean();
      if (value == nullptr) return WrongType(node, *field, path);
      return reflection->SetBool(message, field, value->get());
    }
    if (field->options().GetExtension(rum::is_size) && node.is_string()) {
      const auto size = ParseSize(node.as_string()->get());
      if (size) return reflection->SetUInt64(message, field, *size);
      return Report(path,
                    path + " must be a size: an integer and K, M, G or T, such as \"20G\" (got " +
                        Quoted(node.as_string()->get()) + ")",
                    RangeOf(node.source()));
    }
    const auto* number = node.as_integer();
    if (number == nullptr) return WrongType(node, *field, path);
    ReadInteger(number->get(), node, message, field, path);
  }

  void ReadInteger(int64_t number, const toml::node& node, Message* message,
                   const FieldDescriptor* field, const std::string& path) {
    const bool narrow = field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32;
    const std::string got = " (got " + std::to_string(number) + ")";
    if (number < 0) {
      return Report(path, path + " must not be negative" + got, RangeOf(node.source()));
    }
    if (narrow && number > std::numeric_limits<uint32_t>::max()) {
      return Report(path, path + " must be at most 4294967295" + got, RangeOf(node.source()));
    }
    if (narrow) {
      message->GetReflection()->SetUInt32(message, field, static_cast<uint32_t>(number));
    } else {
      message->GetReflection()->SetUInt64(message, field, static_cast<uint64_t>(number));
    }
  }

  ParsedConfig* result_;
};

bool StartsWith(const std::string& field, const std::string& parent) {
  if (field.rfind(parent, 0) != 0) return false;
  return field.size() == parent.size() || field[parent.size()] == '.' ||
         field[parent.size()] == '[';
}

// What is wrong with a value that could not even be read need not be said twice.
void AddUnlessKnown(const std::vector<Problem>& more, std::vector<Problem>* problems) {
  const size_t known = problems->size();
  for (const Problem& problem : more) {
    const bool said =
        std::any_of(problems->begin(), problems->begin() + known, [&](const Problem& old) {
          return StartsWith(problem.field, old.field) || StartsWith(old.field, problem.field);
        });
    if (!said) problems->push_back(problem);
  }
}

// Defaults that come from other fields or from where the file lies.
void Resolve(const std::string& path, Config* config) {
  const auto identity = IdentityOf(path);
  if (config->network().hostname().empty() && identity.ok()) {
    config->mutable_network()->set_hostname(HostnameFrom(identity->name));
  }
  for (Port& port : *config->mutable_ports()) port.set_bind(PlainAddress(port.bind()));
  if (config->ssh().user().empty()) config->mutable_ssh()->set_user(config->user().name());
  ResolvePaths(path, config);
}

// As wide as the first `characters` characters of a line; tabs stay tabs, so that a terminal
// aligns.
std::string Indent(const std::string& line, size_t characters) {
  std::string indent;
  for (const char c : line) {
    if ((c & 0xC0) == 0x80) continue;  // the rest of a UTF-8 character
    if (indent.size() == characters) return indent;
    indent.push_back(c == '\t' ? '\t' : ' ');
  }
  return indent + std::string(characters - indent.size(), ' ');
}

}  // namespace

ParsedConfig ReadToml(std::string_view text, const std::string& path) {
  ParsedConfig result;
  result.text = text;
  FillDefaults(&result.config);
  try {
    const toml::table table = toml::parse(text, path);
    Reader(&result).ReadTable(table, &result.config, "");
  } catch (const toml::parse_error& error) {
    result.problems.push_back({"", std::string(error.description()), RangeOf(error.source())});
    return result;
  }
  // TOML puts no hostname and an empty one on the same footing only here: an empty one that was
  // written is an error.
  const bool empty_hostname =
      result.sources.count("network.hostname") > 0 && result.config.network().hostname().empty();
  Resolve(path, &result.config);
  if (empty_hostname) result.config.mutable_network()->clear_hostname();
  AddUnlessKnown(Validate(result.config, result.sources), &result.problems);
  std::stable_sort(
      result.problems.begin(), result.problems.end(), [](const Problem& a, const Problem& b) {
        return std::pair(a.where.line, a.where.column) < std::pair(b.where.line, b.where.column);
      });
  return result;
}

ParsedConfig ReadTomlFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (text.ok()) return ReadToml(*text, path);
  ParsedConfig result;
  result.problems.push_back({"", "cannot be read: " + std::string(text.status().message()), {}});
  return result;
}

std::string RenderProblems(const std::string& display_path, const ParsedConfig& parsed) {
  std::vector<std::string> lines;
  std::istringstream stream(parsed.text);
  for (std::string line; std::getline(stream, line);) {
    for (char& c : line) {  // what a terminal would obey
      if ((c >= 0 && c < ' ' && c != '\t') || c == '\x7f') c = '?';
    }
    lines.push_back(line);
  }
  std::ostringstream out;
  for (const Problem& problem : parsed.problems) {
    const SourceRange& where = problem.where;
    out << display_path;
    if (where.line > 0) out << ":" << where.line << ":" << where.column;
    out << ": error: " << problem.message << "\n";
    // A line that no terminal shows whole helps nobody.
    if (where.line == 0 || where.line > lines.size() || lines[where.line - 1].size() > 200)
      continue;
    const std::string number = std::to_string(where.line);
    const std::string margin(number.size() < 5 ? 5 - number.size() : 0, ' ');
    const uint32_t column = std::max<uint32_t>(where.column, 1);
    const std::string& line = lines[where.line - 1];
    out << margin << number << " | " << line << "\n"
        << std::string(margin.size() + number.size(), ' ') << " | " << Indent(line, column - 1)
        << std::string(where.end_column > column ? where.end_column - column : 1, '^') << "\n";
  }
  return out.str();
}

}  // namespace rum
