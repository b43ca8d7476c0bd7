#include "state/schema.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// Two letters that changed places are one slip of the hand.
size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    before = std::exchange(above, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = a[i - 1] == b[j - 1];
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

// Takes the element's name off what follows a list or a map: "[KEY]", ".NAME", ".TYPE[KEY]".
// A key may hold any character ("mounts[/a.b].tag"): what is a field below is known from the end.
bool SkipElement(const FieldDescriptor& field, const Descriptor* element, std::string* rest) {
  const size_t dot = rest->rfind('.');
  const bool named = !field.is_map() || (dot != std::string::npos && dot > 0);
  if (element != nullptr && dot != std::string::npos && named) {
    const std::string below = rest->substr(dot + 1);
    if (element->FindFieldByName(below.substr(0, below.find('['))) != nullptr) {
      *rest = below;
      return true;
    }
  }
  const bool whole = rest->empty() || rest->back() == ']' ||
                     (field.is_map() && rest->find('[') == std::string::npos);
  rest->clear();
  return whole;
}

template <typename Wanted>
void AddFieldsOf(const Descriptor& table, const std::string& prefix, const FieldMeaning& above,
                 const Wanted& wanted, std::vector<std::string>* fields) {
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    const FieldMeaning meaning = above.Below(field);
    const std::string path = prefix + field.name();
    if (field.message_type() != nullptr && !field.is_repeated()) {
      AddFieldsOf(*field.message_type(), path + ".", meaning, wanted, fields);
    } else if (wanted(meaning)) {
      fields->push_back(path);
    }
  }
}

}  // namespace

FieldMeaning FieldMeaning::Below(const FieldDescriptor& field) const {
  FieldMeaning meaning = *this;
  if (field.options().GetExtension(rum::effect) != EFFECT_UNSPECIFIED) {
    meaning.effect = field.options().GetExtension(rum::effect);
    meaning.room.clear();
  }
  if (!field.options().GetExtension(rum::reason).empty()) {
    meaning.reason = field.options().GetExtension(rum::reason);
  }
  if (!field.options().GetExtension(rum::room).empty()) {
    meaning.room = field.options().GetExtension(rum::room);
  }
  return meaning;
}

std::vector<std::string> FieldsOfEffects(const std::set<Effect>& effects) {
  std::vector<std::string> fields;
  AddFieldsOf(
      *Config::descriptor(), "", {},
      [&](const FieldMeaning& meaning) { return effects.count(meaning.effect) > 0; }, &fields);
  return fields;
}

std::vector<std::string> FieldsWithRoom() {
  std::vector<std::string> fields;
  AddFieldsOf(
      *Config::descriptor(), "", {},
      [](const FieldMeaning& meaning) { return !meaning.room.empty(); }, &fields);
  return fields;
}

bool IsKey(const FieldDescriptor& field) {
  return !field.options().GetExtension(rum::noted_by_rum);
}

const Descriptor* TableOf(const FieldDescriptor& field) {
  const Descriptor* message = field.message_type();
  if (field.is_map()) message = message->FindFieldByName("value")->message_type();
  return message == FsList::descriptor() ? Fs::descriptor() : message;
}

std::vector<const FieldDescriptor*> FieldsAlong(const std::string& path) {
  std::vector<const FieldDescriptor*> fields;
  const Descriptor* message = Config::descriptor();
  for (std::string rest = path; !rest.empty();) {
    const size_t end = std::min(rest.find_first_of(".["), rest.size());
    const FieldDescriptor* field =
        message == nullptr ? nullptr : message->FindFieldByName(rest.substr(0, end));
    if (field == nullptr) return {};
    fields.push_back(field);
    message = TableOf(*field);
    rest = rest.substr(end);
    if (field->is_repeated()) {
      if (!SkipElement(*field, message, &rest)) return {};
    } else if (!rest.empty()) {
      if (rest[0] == '[') return {};
      rest = rest.substr(1);
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

std::string DidYouMean(const std::string& typed, const std::vector<std::string>& names) {
  const std::string near = Nearest(typed, names);
  return near.empty() ? "" : " (did you mean `" + near + "`?)";
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
