#include "state/schema.h"

#include <algorithm>
#include <numeric>

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

FieldMeaning FieldMeaning::Below(const FieldDescriptor& field) const {
  FieldMeaning meaning = *this;
  if (field.options().GetExtension(rum::effect) != EFFECT_UNSPECIFIED) {
    meaning.effect = field.options().GetExtension(rum::effect);
  }
  if (!field.options().GetExtension(rum::reason).empty()) {
    meaning.reason = field.options().GetExtension(rum::reason);
  }
  return meaning;
}

std::vector<const FieldDescriptor*> FieldsAlong(const std::string& path) {
  std::vector<const FieldDescriptor*> fields;
  const Descriptor* message = Config::descriptor();
  for (size_t at = 0; at < path.size();) {
    const size_t end = path.find_first_of(".[", at);
    const std::string name = path.substr(at, end == std::string::npos ? end : end - at);
    at = end == std::string::npos ? path.size() : end;
    if (at < path.size() && path[at] == '[') at = path.find(']', at);
    if (at == std::string::npos) return {};
    at = path.find('.', at) == std::string::npos ? path.size() : path.find('.', at) + 1;
    const FieldDescriptor* field = message == nullptr ? nullptr : message->FindFieldByName(name);
    if (field == nullptr) return {};
    fields.push_back(field);
    message = field->message_type();
    if (field->is_map()) {
      message = message->FindFieldByName("value")->message_type();
      if (message == FsList::descriptor()) message = Fs::descriptor();
      at = std::min(path.find('.', at), path.size());  // the entry's name
      if (at < path.size()) ++at;
    }
  }
  return fields;
}

std::string Nearest(const std::string& typed, const std::vector<std::string>& names) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, typed.size() / 2) + 1;
  for (const std::string& name : names) {
    size_t distance = EditDistance(typed, name);
    // "memory" for memory_mb: a beginning is nearer than its missing letters say.
    if (typed.size() >= 3 && name.rfind(typed, 0) == 0) distance = 1;
    if (distance < best_distance) best = name, best_distance = distance;
  }
  return best;
}

std::string TypeName(const FieldDescriptor& field) {
  if (field.is_map()) return "table";
  const bool message = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (field.is_repeated()) return message ? "array of tables" : "array of strings";
  if (message) return "table";
  if (field.options().GetExtension(rum::is_size)) return "size";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) return "string";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) return "boolean";
  return "integer";
}

}  // namespace rum
