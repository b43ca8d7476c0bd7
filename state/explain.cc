#include "state/explain.h"

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
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
            std::string* text) {
  if (!IsKey(field)) return;
  const FieldMeaning meaning = above.Below(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    const Descriptor* table = TableOf(field);
    const std::string below = path + (table == Fs::descriptor() ? ".TYPE[]."
                                      : field.is_map()          ? ".NAME."
                                      : field.is_repeated()     ? "[]."
                                                                : ".");
    for (int i = 0; i < table->field_count(); ++i) {
      Append(*table->field(i), below + table->field(i)->name(), meaning, text);
    }
    return;
  }
  const auto& options = field.options();
  const std::string& fallback = options.GetExtension(rum::default_text);
  absl::StrAppend(text, absl::StrFormat("%s  (%s, %s)\n", path, TypeName(field),
                                        options.GetExtension(rum::required) ? Required(options)
                                        : fallback.empty()                  ? "no default"
                                                           : "default " + fallback));
  if (const std::string& about = options.GetExtension(rum::about); !about.empty()) {
    absl::StrAppend(text, "    ", about, "\n");
  }
  if (const std::string& reach = options.GetExtension(rum::reaches_host); !reach.empty()) {
    absl::StrAppend(text, "    reaches the host: ", reach, "; `rum trust`\n");
  }
  absl::StrAppend(text, "    effect of a change: ", EffectName(meaning.effect),
                  meaning.reason.empty() ? "" : absl::StrCat(" — ", meaning.reason), "\n");
}

// Of the fields of `all`, an explanation. Somebody may know a field by its last word alone.
std::string NearestField(const std::string& typed, const std::string& all) {
  std::vector<std::string> names;
  const std::vector<std::string> lines = absl::StrSplit(all, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    if (line[0] == ' ') continue;
    const std::string name = line.substr(0, line.find(' '));
    if (name.substr(name.rfind('.') + 1) == typed) return name;
    names.push_back(name);
    names.push_back(name.substr(0, name.find_first_of(".[")));
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
  if (fields.empty() || !IsKey(*fields.back())) {
    const std::string near = NearestField(field, *Explain(""));
    return absl::NotFoundError(
        absl::StrCat("there is no field ", field,
                     near.empty() ? "" : absl::StrCat(" (did you mean `", near, "`?)")));
  }
  for (size_t i = 0; i + 1 < fields.size(); ++i) above = above.Below(*fields[i]);
  Append(*fields.back(), field, above, &text);
  return text;
}

}  // namespace rum
