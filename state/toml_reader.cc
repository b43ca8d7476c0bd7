#include "state/toml_reader.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>

#include "state/bind_address.h"
#include "state/defaults.h"
#include "state/file.h"
#include "state/names.h"
#include "state/port_range.h"
#include "state/schema.h"
#include "state/size.h"
#include "state/syntax_words.h"
#include "state/validate.h"
// The last one.
#include "state/toml_library.h"

namespace rum {
namespace {

// What a person writes fits; a disk image that was given as the file does not.
constexpr size_t kMostFileBytes = size_t{1} << 20;

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

// Walks a TOML tree and the schema's descriptor side by side.
class Reader {
 public:
  explicit Reader(ParsedConfig* result) : result_(result) {}

  void ReadTable(const toml::table& table, Message* message, const std::string& prefix) {
    const Descriptor* descriptor = message->GetDescriptor();
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const FieldDescriptor* field = descriptor->FindFieldByName(name);
      if (field == nullptr || !IsKey(*field)) {
        UnknownKey(*descriptor, name, prefix + name, key.source());
      } else {
        result_->sources[prefix + name] = RangeOf(node.source());
        ReadField(node, message, field, prefix + name);
      }
    }
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (!field->options().GetExtension(rum::required) || table.contains(field->name())) continue;
      const auto* instead = table.get_as<bool>(field->options().GetExtension(rum::required_unless));
      if (instead != nullptr && instead->get()) continue;
      if (StandsFor(field->options().GetExtension(rum::required_unless_begins), table)) continue;
      ReportMissing(*field, prefix, table);
    }
  }

 private:
  void Report(const std::string& field, const std::string& message, SourceRange where) {
    result_->problems.push_back({field, message, where});
  }

  // `rule`: "FIELD=BEGINNING".
  static bool StandsFor(const std::string& rule, const toml::table& table) {
    const size_t equals = rule.find('=');
    const auto* text = table.get_as<std::string>(rule.substr(0, equals));
    return text != nullptr && text->get().rfind(rule.substr(equals + 1), 0) == 0;
  }

  void UnknownKey(const Descriptor& descriptor, const std::string& name, const std::string& path,
                  const toml::source_region& source) {
    std::vector<std::string> names;
    for (int i = 0; i < descriptor.field_count(); ++i) {
      if (IsKey(*descriptor.field(i))) names.push_back(descriptor.field(i)->name());
    }
    Report(path, "unknown key " + path + DidYouMean(name, names), RangeOf(source));
  }

  void ReportMissing(const FieldDescriptor& field, const std::string& prefix,
                     const toml::table& table) {
    const std::string path = prefix + field.name();
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      // A table that is not there has no place of its own.
      const SourceRange where =
          table.source().begin.line > 0 ? RangeOf(table.source()) : SourceRange{1, 1, 1};
      const std::string& instead = field.options().GetExtension(rum::required_unless);
      Report(path,
             path + " is missing and has no default: set it to " + WithArticle(TypeName(field)) +
                 (instead.empty() ? "" : ", or " + instead + " = true"),
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
    const bool number = TypeName(field) == "integer";
    Report(path,
           path + " must be " + WithArticle(TypeName(field)) + ", not " + TomlTypeName(node) +
               (number && node.is_string() ? ": a number stands without quotes and unit" : ""),
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
    size_t expanded = 0;  // entries that ranges of ports have made beyond one for each
    for (size_t i = 0; i < array->size(); ++i) {
      const toml::node& element = *array->get(i);
      const std::string at = path + "[" + std::to_string(i + expanded) + "]";
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
        if (inner->GetDescriptor() == Port::descriptor())
          expanded += ExpandPorts(at, message, field);
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
      return Report(path, path + " " + SizeProblem(node.as_string()->get()),
                    RangeOf(node.source()));
    }
    if (field->options().GetExtension(rum::is_ports) && node.is_string()) {
      return ReadPortRange(node.as_string()->get(), node, message, field, path);
    }
    const auto* number = node.as_integer();
    if (number == nullptr) return WrongType(node, *field, path);
    ReadInteger(number->get(), node, message, field, path);
  }

  // "8000-8010": the first one is the field's value, the others are made by ExpandPorts.
  void ReadPortRange(const std::string& text, const toml::node& node, Message* message,
                     const FieldDescriptor* field, const std::string& path) {
    const auto range = ParsePortRange(text);
    if (!range) {
      return Report(path,
                    path + " must be a port or a range of at most " + std::to_string(kMostPorts) +
                        " ports from 1 to 65535, such as \"8000-8010\" (got " + Quoted(text) + ")",
                    RangeOf(node.source()));
    }
    message->GetReflection()->SetUInt32(message, field, range->first);
    port_counts_[path] = range->last - range->first + 1;
  }

  // Adds an entry for each further port of the ranges that the last one, at `at`, was written with;
  // returns how many.
  size_t ExpandPorts(const std::string& at, Message* message, const FieldDescriptor* field) {
    const auto host = port_counts_.find(at + ".host");
    const auto guest = port_counts_.find(at + ".guest");
    if (host == port_counts_.end() && guest == port_counts_.end()) return 0;
    const Reflection* reflection = message->GetReflection();
    const Port first = static_cast<const Port&>(reflection->GetRepeatedMessage(
        *message, field, reflection->FieldSize(*message, field) - 1));
    const uint32_t count = host != port_counts_.end() ? host->second : guest->second;
    if (guest != port_counts_.end() && guest->second != count) {
      Report(at + ".guest",
             at + ".guest must be one port or a range as long as " + at + ".host (" +
                 std::to_string(count) + " ports, got " + std::to_string(guest->second) + ")",
             result_->sources[at + ".guest"]);
      return 0;
    }
    if (IsUnixBind(first.bind())) {
      Report(at + ".guest", at + ".guest must be one port: a unix socket is one",
             result_->sources[at + ".guest"]);
      return 0;
    }
    if (host == port_counts_.end() && !first.auto_() && count > 1) {
      Report(at + ".host",
             at + ".host must be a range of " + std::to_string(count) + " ports, as " + at +
                 ".guest is",
             result_->sources[at + ".host"]);
      return 0;
    }
    const size_t bracket = at.rfind('[');
    const std::string list = at.substr(0, bracket);
    const size_t number = std::stoul(at.substr(bracket + 1));
    for (uint32_t i = 1; i < count; ++i) {
      auto* port = static_cast<Port*>(reflection->AddMessage(message, field));
      *port = first;
      if (!first.auto_()) port->set_host(first.host() + i);
      port->set_guest(first.guest() + i);
      const std::string below = list + "[" + std::to_string(number + i) + "]";
      for (const char* part : {"", ".host", ".guest", ".bind", ".auto"}) {
        const auto source = result_->sources.find(at + part);
        if (source == result_->sources.end()) continue;
        const SourceRange where = source->second;
        result_->sources[below + part] = where;
      }
    }
    return count - 1;
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
  std::map<std::string, uint32_t> port_counts_;  // of ranges, by the field's path
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

bool IsMalformed(std::string_view text, const std::string& path) {
  try {
    (void)toml::parse(text, path);
  } catch (const toml::parse_error&) {
    return false;  // it is only cut
  } catch (const MalformedToml&) {
    return true;
  }
  return false;
}

// The line at which the parser gives up, which it does not tell: that of the shortest beginning
// that leads it there.
uint32_t MalformedLine(std::string_view text, const std::string& path) {
  std::vector<size_t> ends;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') ends.push_back(i + 1);
  }
  ends.push_back(text.size());
  const auto first = std::partition_point(ends.begin(), ends.end(), [&](size_t end) {
    return !IsMalformed(text.substr(0, end), path);
  });
  return static_cast<uint32_t>(first - ends.begin()) + (first == ends.end() ? 0 : 1);
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
    const SourceRange where = RangeOf(error.source());
    result.problems.push_back(
        {"", SyntaxWords(text, where.line, where.column, error.description()), where});
    return result;
  } catch (const MalformedToml&) {
    result.problems.push_back(
        {"",
         "this is not TOML: a line is a [HEADING], NAME = VALUE or a # comment",
         {MalformedLine(text, path), 1, 0}});
    return result;
  }
  // TOML puts no hostname and an empty one on the same footing only here: an empty one that was
  // written is an error.
  const bool empty_hostname =
      result.sources.count("network.hostname") > 0 && result.config.network().hostname().empty();
  ResolveDefaults(path, &result.config);
  if (empty_hostname) result.config.mutable_network()->clear_hostname();
  AddUnlessKnown(Validate(result.config, result.sources), &result.problems);
  std::stable_sort(
      result.problems.begin(), result.problems.end(), [](const Problem& a, const Problem& b) {
        return std::pair(a.where.line, a.where.column) < std::pair(b.where.line, b.where.column);
      });
  return result;
}

ParsedConfig ReadTomlFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadRegularFile(path, kMostFileBytes);
  if (text.ok()) return ReadToml(*text, path);
  ParsedConfig result;
  const std::string why(text.status().message());
  const bool forbidden = why == std::strerror(EACCES);
  result.problems.push_back(
      {"", "cannot be read: " + why + (forbidden ? "; `ls -l` shows whose it is" : ""), {}});
  return result;
}

}  // namespace rum
