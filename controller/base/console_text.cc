#include "controller/base/console_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace rum {
namespace {

bool IsBetween(char c, char first, char last) { return c >= first && c <= last; }

// Behind the sequence that begins with the escape at `at` (ECMA-48); what breaks off in the middle
// ends with the text.
size_t BehindSequence(const std::string& text, size_t at) {
  if (++at >= text.size()) return at;
  if (text[at] == '[') {
    while (++at < text.size() && IsBetween(text[at], 0x20, 0x3F)) {
    }
    return std::min(at + 1, text.size());
  }
  if (text[at] == ']') {
    while (++at < text.size() && text[at] != '\a' && text[at] != '\n') {
      if (text[at] == '\x1B') return std::min(at + 2, text.size());
    }
    return at < text.size() && text[at] == '\a' ? at + 1 : at;
  }
  while (at < text.size() && IsBetween(text[at], 0x20, 0x2F)) ++at;
  return std::min(at + 1, text.size());
}

std::string WithoutSequences(const std::string& text) {
  std::string plain;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\x1B') {
      at = BehindSequence(text, at);
      continue;
    }
    const char c = text[at++];
    if (c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= ' ') plain += c;
  }
  return plain;
}

}  // namespace

std::string LastConsoleLines(const std::string& bytes, size_t count) {
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(WithoutSequences(bytes), '\n')) {
    if (!absl::StripAsciiWhitespace(line).empty())
      lines.emplace_back(absl::StripTrailingAsciiWhitespace(line));
  }
  lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(std::min(count, lines.size())));
  return lines.empty() ? "" : absl::StrJoin(lines, "\n") + "\n";
}

}  // namespace rum
