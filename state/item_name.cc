#include "state/item_name.h"

#include <google/protobuf/descriptor.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "state/bind_address.h"
#include "state/config.pb.h"

namespace rum {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string KeyPart(const Message& element, const FieldDescriptor* field) {
  const auto* reflection = element.GetReflection();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
    return absl::StrCat(reflection->GetUInt32(element, field));
  }
  const std::string text = reflection->GetString(element, field);
  return text.empty() ? field->options().GetExtension(rum::default_text) : text;
}

std::string Joined(const std::vector<std::string>& parts) {
  if (!parts.empty() && IsUnixBind(parts[0])) return parts[0];  // it has no port
  std::string text;
  for (const std::string& part : parts) {
    const bool bracketed = parts.size() > 1 && absl::StrContains(part, ":");
    absl::StrAppend(&text, text.empty() ? "" : ":", bracketed ? "[" : "", part,
                    bracketed ? "]" : "");
  }
  return text;
}

}  // namespace

std::string ItemName(const std::string& table, const std::vector<std::string>& key) {
  return absl::StrCat(table, "[", Joined(key), "]");
}

std::string ItemName(const std::string& table, const Message& element,
                     const std::string& key_fields) {
  std::vector<std::string> key;
  for (const auto name : absl::StrSplit(key_fields, ',')) {
    key.push_back(KeyPart(element, element.GetDescriptor()->FindFieldByName(std::string(name))));
  }
  return ItemName(table, key);
}

std::string HostPort(const std::string& address, uint32_t port) {
  return Joined({address, absl::StrCat(port)});
}

bool IsWithin(const std::string& field, const std::string& item) {
  if (!absl::StartsWith(field, item)) return false;
  return field.size() == item.size() || field[item.size()] == '.' || field[item.size()] == '[';
}

}  // namespace rum
