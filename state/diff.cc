#include "state/diff.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <map>

#include "state/image_url.h"
#include "state/item_name.h"
#include "state/schema.h"
#include "state/size.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// 0 stands for an absent number where the schema names no default.
bool IsAbsent(uint64_t value, const FieldDescriptor* field) {
  return value == 0 && !field->options().GetExtension(rum::required) &&
         field->options().GetExtension(rum::default_text).empty();
}

std::string ScalarText(const Message& message, const FieldDescriptor* field, int index = -1) {
  const auto* reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->GetBool(message, field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_UINT32: {
      const uint32_t value = reflection->GetUInt32(message, field);
      return IsAbsent(value, field) ? "" : std::to_string(value);
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      const uint64_t value = reflection->GetUInt64(message, field);
      if (IsAbsent(value, field)) return "";
      return field->options().GetExtension(rum::is_size) ? FormatSize(value)
                                                         : std::to_string(value);
    }
    default:
      if (index >= 0) return reflection->GetRepeatedString(message, field, index);
      return field->options().GetExtension(rum::is_url)
                 ? ShownUrl(reflection->GetString(message, field))
                 : reflection->GetString(message, field);
  }
}

std::string ListText(const Message& message, const FieldDescriptor* field) {
  std::string text;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    text += (i == 0 ? "" : ", ") + ScalarText(message, field, i);
  }
  return text;
}

// A whole element in a few words: "size 10G", "host 8080, guest 80, bind 127.0.0.1".
std::string ElementText(const Message& message) {
  std::string text;
  const Descriptor* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    std::string value;
    if (field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      for (int j = 0; j < message.GetReflection()->FieldSize(message, field); ++j) {
        value += (j == 0 ? "" : "; ") +
                 ElementText(message.GetReflection()->GetRepeatedMessage(message, field, j));
      }
    } else {
      value = field->is_repeated() ? ListText(message, field) : ScalarText(message, field);
    }
    if (value.empty() || value == "false") continue;
    text += (text.empty() ? "" : ", ") + field->name() + " " + value;
  }
  return text;
}

using Elements = std::map<std::string, const Message*>;

// By the names of the elements.
Elements ElementsOf(const Message& message, const FieldDescriptor* field, const std::string& path) {
  Elements elements;
  const std::string key = field->options().GetExtension(rum::key);
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    const Message& element = message.GetReflection()->GetRepeatedMessage(message, field, i);
    if (field->is_map()) {
      const Descriptor* entry = element.GetDescriptor();
      const std::string name = ScalarText(element, entry->FindFieldByName("key"));
      elements[path + "." + name] =
          &element.GetReflection()->GetMessage(element, entry->FindFieldByName("value"));
      continue;
    }
    // Without a key it is a list: the place tells its elements apart.
    elements[key.empty() ? ItemName(path, {std::to_string(i)}) : ItemName(path, element, key)] =
        &element;
  }
  return elements;
}

class Differ {
 public:
  std::vector<FieldChange> changes;

  void Compare(const Message& before, const Message& after, const std::string& prefix,
               const FieldMeaning& above) {
    const Descriptor* descriptor = before.GetDescriptor();
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      const FieldMeaning meaning = above.Below(*field);
      // FsList holds nothing but its entries: fs.ext4[/data], not fs.ext4.entries[/data].
      const std::string path = descriptor == FsList::descriptor()
                                   ? prefix.substr(0, prefix.size() - 1)
                                   : prefix + field->name();
      CompareField(before, after, field, path, meaning);
    }
  }

 private:
  void CompareField(const Message& before, const Message& after, const FieldDescriptor* field,
                    const std::string& path, const FieldMeaning& meaning) {
    const bool message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (field->is_repeated() && message)
      return CompareElements(before, after, field, path, meaning);
    if (field->is_repeated() && field->options().GetExtension(rum::key) == "self") {
      return CompareSets(before, after, field, path, meaning);
    }
    if (message) {
      return Compare(before.GetReflection()->GetMessage(before, field),
                     after.GetReflection()->GetMessage(after, field), path + ".", meaning);
    }
    const std::string old_text =
        field->is_repeated() ? ListText(before, field) : ScalarText(before, field);
    const std::string new_text =
        field->is_repeated() ? ListText(after, field) : ScalarText(after, field);
    if (old_text == new_text) return;
    FieldMeaning cost = meaning;
    if (field->options().GetExtension(rum::is_size)) {
      const uint64_t old_size = DiskSize(before.GetReflection()->GetUInt64(before, field));
      const uint64_t new_size = DiskSize(after.GetReflection()->GetUInt64(after, field));
      if (old_size == new_size) return;  // one disk is as good as the other
      if (new_size < old_size)
        cost = {RECREATE, "a disk cannot be made smaller without losing what is on it", ""};
    }
    Add(path, old_text, new_text, cost);
  }

  void CompareElements(const Message& before, const Message& after, const FieldDescriptor* field,
                       const std::string& path, const FieldMeaning& meaning) {
    const Elements old_elements = ElementsOf(before, field, path);
    const Elements new_elements = ElementsOf(after, field, path);
    Elements all = old_elements;
    all.insert(new_elements.begin(), new_elements.end());
    for (const auto& [at, element] : all) {
      const auto old_element = old_elements.find(at);
      const auto new_element = new_elements.find(at);
      if (old_element == old_elements.end()) {
        Add(at, "", ElementText(*new_element->second), meaning);
      } else if (new_element == new_elements.end()) {
        Add(at, ElementText(*old_element->second), "", meaning);
      } else {
        Compare(*old_element->second, *new_element->second, at + ".", meaning);
      }
    }
  }

  void CompareSets(const Message& before, const Message& after, const FieldDescriptor* field,
                   const std::string& path, const FieldMeaning& meaning) {
    std::map<std::string, int> sides;  // 1: before, 2: after, 3: both
    for (int i = 0; i < before.GetReflection()->FieldSize(before, field); ++i)
      sides[ScalarText(before, field, i)] |= 1;
    for (int i = 0; i < after.GetReflection()->FieldSize(after, field); ++i)
      sides[ScalarText(after, field, i)] |= 2;
    for (const auto& [value, side] : sides) {
      if (side != 3)
        Add(ItemName(path, {value}), side == 1 ? value : "", side == 2 ? value : "", meaning);
    }
  }

  void Add(const std::string& path, const std::string& before, const std::string& after,
           const FieldMeaning& meaning) {
    changes.push_back({path, before, after, meaning.effect, meaning.reason});
  }
};

FieldMeaning MeaningOf(const std::string& path) {
  FieldMeaning meaning;
  for (const FieldDescriptor* field : FieldsAlong(path)) meaning = meaning.Below(*field);
  return meaning;
}

}  // namespace

std::vector<FieldChange> Diff(const Config& before, const Config& after) {
  Differ differ;
  differ.Compare(before, after, "", {});
  return std::move(differ.changes);
}

Effect EffectOf(const std::string& field) { return MeaningOf(field).effect; }
std::string ReasonOf(const std::string& field) { return MeaningOf(field).reason; }
std::string RoomOf(const std::string& field) { return MeaningOf(field).room; }

std::string RecreateCommand(const std::string& field) {
  return IsWithin(field, "drives") ? "rum up --reset --drives" : "rum up --reset";
}

}  // namespace rum
