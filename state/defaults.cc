#include "state/defaults.h"

#include <google/protobuf/descriptor.h>

#include "state/authorized_key.h"
#include "state/identity.h"
#include "state/names.h"
#include "state/paths.h"
#include "state/schema.h"
#include "state/size.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

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

}  // namespace

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

void ResolveDefaults(const std::string& path, Config* config) {
  const auto identity = IdentityOf(path);
  if (config->network().hostname().empty() && identity.ok()) {
    config->mutable_network()->set_hostname(HostnameFrom(identity->name));
  }
  for (Port& port : *config->mutable_ports()) port.set_bind(PlainAddress(port.bind()));
  for (std::string& key : *config->mutable_ssh()->mutable_authorized_keys()) {
    key = PlainKeyLine(key);
  }
  if (config->ssh().user().empty()) config->mutable_ssh()->set_user(config->user().name());
  ResolvePaths(path, config);
}

}  // namespace rum
