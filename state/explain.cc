#include "state/explain.h"

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "state/schema.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

const Descriptor* TableOf(const FieldDescriptor& field) {
  const Descriptor* message = field.message_type();
  if (field.is_map()) message = message->FindFieldByName("value")->message_type();
  return message == FsList::descriptor() ? Fs::descriptor() : message;
}

void Append(const FieldDescriptor& field, const std::string& path, const FieldMeaning& above,
            std::string* text) {
  const FieldMeaning meaning = above.Below(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    const std::string below = path + (field.is_map()        ? ".NAME."
                                      : field.is_repeated() ? "[]."
                                                            : ".");
    const Descriptor* table = TableOf(field);
    for (int i = 0; i < table->field_count(); ++i) {
      Append(*table->field(i), below + table->field(i)->name(), meaning, text);
    }
    return;
  }
  const auto& options = field.options();
  const std::string fallback = options.GetExtension(rum::default_text);
  absl::StrAppend(text, absl::StrFormat("%s  (%s, %s)\n", path, TypeName(field),
                                        options.GetExtension(rum::required) ? "required"
                                        : fallback.empty()                  ? "no default"
                                                           : "default " + fallback));
  if (const std::string& about = options.GetExtension(rum::about); !about.empty()) {
    absl::StrAppend(text, "    ", about, "\n");
  }
  absl::StrAppend(text, "    a change costs: ", EffectName(meaning.effect),
                  meaning.reason.empty() ? "" : absl::StrCat(" — ", meaning.reason), "\n");
}

}  // namespace

std::string EffectName(int effect) {
  switch (effect) {
    case LIVE:
      return "nothing (live)";
    case LIVE_OPT_IN:
      return "nothing, but only when asked for (live, opt-in)";
    case RECREATE:
      return "a new disk (recreate)";
    case NONE:
      return "nothing (the machine does not depend on it)";
    default:
      return "a restart";
  }
}

absl::StatusOr<std::string> Explain(const std::string& field) {
  std::string text;
  FieldMeaning above;
  if (field.empty()) {
    const Descriptor* config = Config::descriptor();
    for (int i = 0; i < config->field_count(); ++i)
      Append(*config->field(i), config->field(i)->name(), above, &text);
    return text;
  }
  const auto fields = FieldsAlong(field);
  if (fields.empty()) {
    std::vector<std::string> names;
    std::string all = *Explain("");
    for (size_t at = 0; at < all.size(); at = all.find('\n', at) + 1) {
      if (all[at] != ' ') names.push_back(all.substr(at, all.find(' ', at) - at));
    }
    const std::string near = Nearest(field, names);
    return absl::NotFoundError(
        absl::StrCat("there is no field ", field,
                     near.empty() ? "" : absl::StrCat(" (did you mean `", near, "`?)")));
  }
  for (size_t i = 0; i + 1 < fields.size(); ++i) above = above.Below(*fields[i]);
  Append(*fields.back(), field, above, &text);
  return text;
}

}  // namespace rum
