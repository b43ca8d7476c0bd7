#include "cli/terminal_text.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "controller/base/utf8.h"

namespace rum {
namespace {

// How many bytes at the end may be the beginning of something longer: a character, or CR LF.
size_t Unfinished(const std::string& bytes) {
  return !bytes.empty() && bytes.back() == '\r' ? 1 : BytesOfBegunCharacter(bytes);
}

constexpr size_t kBetweenColumns = 2;   // columns
constexpr size_t kNarrowestColumn = 8;  // that a column is cut to

// The character at `i`, which goes behind it; a byte that begins none is one.
char32_t NextCharacter(const std::string& text, size_t* i) {
  const Utf8Character character = CharacterAt(text, *i);
  if (character.size == 0) return static_cast<unsigned char>(text[(*i)++]);
  *i += character.size;
  return character.code;
}

// As terminals have it, but for scripts whose letters join.
size_t WidthOf(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  static constexpr Range kNone[] = {
      {0x300, 0x36F}, {0x200B, 0x200F}, {0x20D0, 0x20F0}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};
  static constexpr Range kTwo[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0xA4CF},
                                   {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},
                                   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F},
                                   {0x1F680, 0x1F6FF}, {0x1F900, 0x1FAFF}, {0x20000, 0x3FFFD}};
  const auto within = [c](const Range& range) { return range.first <= c && c <= range.last; };
  if (std::any_of(std::begin(kNone), std::end(kNone), within)) return 0;
  return std::any_of(std::begin(kTwo), std::end(kTwo), within) ? 2 : 1;
}

// How many bytes the escape sequence at `i` has that chooses a colour; 0: there is none.
size_t EscapeAt(const std::string& text, size_t i) {
  if (text.compare(i, 2, "\033[") != 0) return 0;
  const size_t end = text.find_first_not_of("0123456789;", i + 2);
  return end == std::string::npos || text[end] != 'm' ? 0 : end + 1 - i;
}

std::vector<size_t> WidthsOf(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(row.size());
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  return widths;
}

// The widest first, one column at a time; the first one is what a row is called by, and stays.
std::vector<size_t> Fitting(std::vector<size_t> widths, size_t width) {
  if (width == 0 || widths.size() < 2) return widths;
  size_t total =
      std::accumulate(widths.begin(), widths.end(), kBetweenColumns * (widths.size() - 1));
  for (; total > width; --total) {
    const auto widest = std::max_element(widths.begin() + 1, widths.end());
    if (*widest <= kNarrowestColumn) break;
    --*widest;
  }
  return widths;
}

// A path says most at its end.
std::string CutCell(const std::string& cell, size_t width, bool utf8) {
  if (DisplayWidth(cell) <= width) return cell;
  const size_t slash = cell.find('/');
  if (slash == std::string::npos || cell.find(' ', slash) != std::string::npos)
    return CutTo(cell, width, utf8);
  const std::string before = cell.substr(0, slash) + (utf8 ? "…" : "...");  // "file gone: " stays
  const size_t taken = DisplayWidth(before);
  constexpr size_t kTelling = 8;
  if (taken + (slash > 0 ? kTelling : 0) > width) return CutTo(cell, width, utf8);
  size_t at = slash;
  while (taken + DisplayWidth(cell.substr(at)) > width) (void)NextCharacter(cell, &at);
  return before + cell.substr(at);
}

// As it is read aloud.
std::string InWords(const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  for (size_t i = 1; i < rows.size(); ++i) {
    std::vector<std::string> cells;
    for (size_t k = 0; k < rows[i].size(); ++k) {
      if (!rows[i][k].empty()) cells.push_back(absl::StrCat(rows[0][k], ": ", rows[i][k]));
    }
    absl::StrAppend(&text, absl::StrJoin(cells, ", "), "\n");
  }
  return text;
}

}  // namespace

size_t DisplayWidth(const std::string& text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t escape = EscapeAt(text, i);
    i += escape;
    if (escape == 0) width += WidthOf(NextCharacter(text, &i));
  }
  return width;
}

std::string CutTo(const std::string& text, size_t width, bool utf8) {
  size_t used = 0;
  size_t fits = 0;  // the bytes that leave room for the ellipsis
  const size_t ellipsis = utf8 ? 1 : 3;
  for (size_t i = 0; i < text.size();) {
    if (const size_t escape = EscapeAt(text, i); escape > 0) {
      i += escape;
      if (used + ellipsis <= width) fits = i;
      continue;
    }
    used += WidthOf(NextCharacter(text, &i));
    if (used + ellipsis <= width) fits = i;
    if (used <= width) continue;
    const bool colored = text.find('\033') != std::string::npos;
    return absl::StrCat(text.substr(0, fits),
                        width < ellipsis ? ""
                        : utf8           ? "…"
                                         : "...",
                        colored ? "\033[0m" : "");
  }
  return text;
}

std::string Columns(std::vector<std::vector<std::string>> rows, const Style& style) {
  for (std::vector<std::string>& row : rows) {
    for (std::string& cell : row) cell = OneLine(cell, style.utf8);
  }
  if (style.plain) return InWords(rows);
  const std::vector<size_t> widths = Fitting(WidthsOf(rows), style.width);
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string cell = CutCell(row[i], widths[i], style.utf8);
      absl::StrAppend(&line, cell);
      if (i + 1 < row.size()) line.append(widths[i] - DisplayWidth(cell) + kBetweenColumns, ' ');
    }
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

void LeaveOut(const std::vector<size_t>& dispensable, size_t width,
              std::vector<std::vector<std::string>>* rows) {
  const std::vector<size_t> widths = WidthsOf(*rows);
  size_t total =
      std::accumulate(widths.begin(), widths.end(),
                      kBetweenColumns * (widths.size() - std::min<size_t>(1, widths.size())));
  std::vector<size_t> left_out;
  for (size_t i = 0; width > 0 && total > width && i < dispensable.size(); ++i) {
    left_out.push_back(dispensable[i]);
    total -= widths[dispensable[i]] + kBetweenColumns;
  }
  std::sort(left_out.rbegin(), left_out.rend());
  for (std::vector<std::string>& row : *rows) {
    for (const size_t column : left_out) row.erase(row.begin() + static_cast<long>(column));
  }
}

std::string Hanging(const std::string& first, size_t indent, const std::string& text,
                    const Style& style) {
  constexpr size_t kNarrowest = 24;
  if (style.width == 0 || indent + DisplayWidth(text) <= style.width ||
      indent + kNarrowest > style.width)
    return absl::StrCat(first, text, "\n");
  std::string out = first;
  size_t used = indent;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    const size_t width = DisplayWidth(std::string(word));
    const bool begins = used == indent;
    if (!begins && used + 1 + width > style.width) {
      absl::StrAppend(&out, "\n", std::string(indent, ' '));
      used = indent;
    } else if (!begins) {
      absl::StrAppend(&out, " ");
      ++used;
    }
    absl::StrAppend(&out, word);
    used += width;
  }
  return out + "\n";
}

std::string FullScreen(const std::string& text, size_t width, size_t height, bool utf8) {
  std::string out = "\033[H";
  size_t row = 0;
  for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(text, "\n"), '\n')) {
    if (row == height) break;
    absl::StrAppend(&out, row++ > 0 ? "\r\n" : "", CutTo(std::string(line), width, utf8), "\033[K");
  }
  return out + "\033[J";
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
