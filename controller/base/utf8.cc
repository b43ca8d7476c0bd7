#include "controller/base/utf8.h"

#include <algorithm>
#include <boost/locale/utf.hpp>
#include <iterator>
#include <vector>

namespace rum {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

using Decoder = boost::locale::utf::utf_traits<char>;

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
  const auto begin = text.begin() + static_cast<std::ptrdiff_t>(at);
  auto end = begin;
  const boost::locale::utf::code_point code = Decoder::decode(end, text.end());
  if (!boost::locale::utf::is_valid_codepoint(code)) return {};
  return {code, static_cast<size_t>(std::distance(begin, end))};
}

size_t BytesOfBegunCharacter(const std::string& bytes) {
  constexpr size_t kMostMissingOne = Decoder::max_width - 1;
  for (size_t back = 1; back <= std::min(kMostMissingOne, bytes.size()); ++back) {
    const char byte = bytes[bytes.size() - back];
    if (Decoder::is_trail(byte)) continue;
    return Decoder::trail_length(byte) >= static_cast<int>(back) ? back : 0;
  }
  return 0;
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
