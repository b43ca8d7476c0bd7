#include "controller/base/shown_text.h"

#include <cstdint>

#include "absl/strings/str_format.h"
#include "controller/base/utf8.h"

namespace rum {
namespace {

bool Misleads(uint32_t code) {
  const bool control = code < 0x20 || (code >= 0x7F && code < 0xA0);
  const bool separator = code == 0x2028 || code == 0x2029;
  const bool direction = code == 0x061C || code == 0x200E || code == 0x200F ||
                         (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
  return control || separator || direction;
}

std::string SpelledOut(uint32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  if (code == '\t') return "\\t";
  if (code < 0x80) return absl::StrFormat("\\x%02x", code);
  if (code <= 0xFFFF) return absl::StrFormat("\\u%04x", code);
  return absl::StrFormat("\\U%08x", code);
}

std::string Character(const std::string& text, size_t at, const Utf8Character& character,
                      bool utf8) {
  const uint32_t code = character.code;
  if (Misleads(code)) return SpelledOut(code);
  if (utf8 || code < 0x80) return text.substr(at, character.size);
  switch (code) {
    case 0x2192:
      return "->";
    case 0x2014:
      return "-";
    case 0x2026:
      return "...";
    default:
      return SpelledOut(code);
  }
}

std::string Shown(const std::string& text, bool utf8, bool keep_lines) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Utf8Character character = CharacterAt(text, at);
    if (character.size == 0) {
      out += absl::StrFormat("\\x%02x", static_cast<unsigned char>(text[at++]));
      continue;
    }
    const bool kept = keep_lines && (character.code == '\n' || character.code == '\t');
    const bool dos = keep_lines && text.compare(at, 2, "\r\n") == 0;
    if (kept) {
      out += text[at];
    } else if (!dos) {
      out += Character(text, at, character, utf8);
    }
    at += character.size;
  }
  return out;
}

}  // namespace

std::string OneLine(const std::string& text, bool utf8) { return Shown(text, utf8, false); }

std::string Lines(const std::string& text, bool utf8) { return Shown(text, utf8, true); }

}  // namespace rum
