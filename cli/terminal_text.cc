#include "cli/terminal_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

// How many bytes at the end may be the beginning of something longer: a character, or CR LF.
size_t Unfinished(const std::string& bytes) {
  if (!bytes.empty() && bytes.back() == '\r') return 1;
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t wanted = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return wanted > back ? back : 0;
  }
  return 0;
}

}  // namespace

std::string Columns(std::vector<std::vector<std::string>> rows, bool utf8) {
  std::vector<size_t> widths;
  for (std::vector<std::string>& row : rows) {
    widths.resize(row.size());
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = OneLine(row[i], utf8);
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      absl::StrAppend(&text, row[i], std::string(widths[i] - row[i].size() + 2, ' '));
    }
    absl::StrAppend(&text, row.back(), "\n");
  }
  return text;
}

std::string OutputText::Next(const std::string& bytes) {
  kept_ += bytes;
  const size_t whole = kept_.size() - Unfinished(kept_);
  const std::string out = Lines(kept_.substr(0, whole), utf8_);
  kept_.erase(0, whole);
  return out;
}

std::string OutputText::End() {
  const std::string out = Lines(kept_, utf8_);
  kept_.clear();
  return out;
}

}  // namespace rum
