#include "controller/base/utf8.h"

#include <vector>

namespace rum {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void MakeFieldUtf8(const FieldDescriptor* field, Message* message) {
  const Reflection* reflection = message->GetReflection();
  const int count = field->is_repeated() ? reflection->FieldSize(*message, field) : -1;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    if (count < 0) MakeUtf8(reflection->MutableMessage(message, field));
    for (int i = 0; i < count; ++i) {
      MakeUtf8(reflection->MutableRepeatedMessage(message, field, i));
    }
    return;
  }
  if (field->type() != FieldDescriptor::TYPE_STRING) return;
  if (count < 0) {
    const std::string text = reflection->GetString(*message, field);
    if (!IsUtf8(text)) reflection->SetString(message, field, ToUtf8(text));
  }
  for (int i = 0; i < count; ++i) {
    const std::string text = reflection->GetRepeatedString(*message, field, i);
    if (!IsUtf8(text)) reflection->SetRepeatedString(message, field, i, ToUtf8(text));
  }
}

}  // namespace

Utf8Character CharacterAt(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  if (first < 0x80) return {first, 1};
  const size_t size = first >= 0xC2 && first <= 0xDF   ? 2
                      : first >= 0xE0 && first <= 0xEF ? 3
                      : first >= 0xF0 && first <= 0xF4 ? 4
                                                       : 0;
  if (size == 0 || text.size() - at < size) return {};
  uint32_t code = first & (0xFF >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(at + i) & 0x3F);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (overlong || surrogate || code > 0x10FFFF) return {};
  return {code, size};
}

bool IsUtf8(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = CharacterAt(text, at).size;
    if (size == 0) return false;
    at += size;
  }
  return true;
}

std::string ToUtf8(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = CharacterAt(bytes, at).size;
    const auto byte = static_cast<uint8_t>(bytes[at]);
    out += size > 0 ? bytes.substr(at, size)
                    : std::string{'\\', 'x', kDigits[byte >> 4], kDigits[byte & 0xF]};
    at += size > 0 ? size : 1;
  }
  return out;
}

void MakeUtf8(Message* message) {
  std::vector<const FieldDescriptor*> fields;
  message->GetReflection()->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) MakeFieldUtf8(field, message);
}

}  // namespace rum
