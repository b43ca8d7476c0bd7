#include "state/explain.h"

#include <google/protobuf/descriptor.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "state/schema.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

std::string Required(const google::protobuf::FieldOptions& options) {
  const std::string& unless = options.GetExtension(rum::required_unless);
  return unless.empty() ? "required" : absl::StrCat("required unless ", unless);
}

void Append(const FieldDescriptor& field, const std::string& path, const FieldMeaning& above,
            std::vector<FieldText>* texts) {
  if (!IsKey(field)) return;
  const FieldMeaning meaning = above.Below(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    const Descriptor* table = TableOf(field);
    const std::string below = path + (table == Fs::descriptor() ? ".TYPE[]."
                                      : field.is_map()          ? ".NAME."
                                      : field.is_repeated()     ? "[]."
                                                                : ".");
    for (int i = 0; i < table->field_count(); ++i) {
      Append(*table->field(i), below + table->field(i)->name(), meaning, texts);
    }
    return;
  }
  const auto& options = field.options();
  const std::string& fallback = options.GetExtension(rum::default_text);
  FieldText text;
  text.path = path;
  text.type = TypeName(field);
  text.otherwise = options.GetExtension(rum::required) ? Required(options)
                   : fallback.empty()                  ? "no default"
                                                       : "default " + fallback;
  text.about = options.GetExtension(rum::about);
  text.reaches_host = options.GetExtension(rum::reaches_host);
  text.effect = EffectText(meaning);
  texts->push_back(std::move(text));
}

std::string RenderFields(const std::vector<FieldText>& fields) {
  std::string text;
  for (const FieldText& field : fields) {
    absl::StrAppend(&text, field.path, "  (", field.type, ", ", field.otherwise, ")\n");
    if (!field.about.empty()) absl::StrAppend(&text, "    ", field.about, "\n");
    if (!field.reaches_host.empty())
      absl::StrAppend(&text, "    reaches the host: ", field.reaches_host, "; `rum trust`\n");
    absl::StrAppend(&text, "    effect of a change: ", field.effect, "\n");
  }
  return text;
}

// Somebody may know a field by its last word alone.
std::string NearestField(const std::string& typed) {
  std::vector<std::string> names;
  for (const FieldText& field : FieldTexts()) {
    if (field.path.substr(field.path.rfind('.') + 1) == typed) return field.path;
    names.push_back(field.path);
    names.push_back(field.path.substr(0, field.path.find_first_of(".[")));
  }
  return Nearest(typed, names);
}

}  // namespace

std::string EffectName(int effect) {
  switch (effect) {
    case LIVE:
      return "live";
    case LIVE_OPT_IN:
      return "live, opt-in";
    case RECREATE:
      return "recreate";
    case NONE:
      return "none";
    default:
      return "restart";
  }
}

std::string EffectText(const FieldMeaning& meaning) {
  std::string text = EffectName(meaning.effect);
  if (!meaning.room.empty())
    text = absl::StrCat("live within room (", meaning.room, "), else ", text);
  if (!meaning.reason.empty()) absl::StrAppend(&text, " — ", meaning.reason);
  return text;
}

std::vector<FieldText> FieldTexts() {
  std::vector<FieldText> texts;
  const Descriptor* config = Config::descriptor();
  for (int i = 0; i < config->field_count(); ++i)
    Append(*config->field(i), config->field(i)->name(), FieldMeaning(), &texts);
  return texts;
}

absl::StatusOr<std::string> Explain(const std::string& field) {
  if (field.empty()) return RenderFields(FieldTexts());
  FieldMeaning above;
  const auto fields = FieldsAlong(field);
  if (fields.empty() || !IsKey(*fields.back())) {
    const std::string near = NearestField(field);
    return absl::NotFoundError(
        absl::StrCat("there is no field ", field,
                     near.empty() ? "" : absl::StrCat(" (did you mean `", near, "`?)")));
  }
  for (size_t i = 0; i + 1 < fields.size(); ++i) above = above.Below(*fields[i]);
  std::vector<FieldText> texts;
  Append(*fields.back(), field, above, &texts);
  return RenderFields(texts);
}

}  // namespace rum
