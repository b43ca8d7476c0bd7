#include "state/syntax_words.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace rum {
namespace {

// A place of the text as the rules look at it.
struct Place {
  std::string line;    // the whole one, without white space at its ends
  std::string rest;    // from the column on
  std::string parser;  // its words
};

std::string LineOf(std::string_view text, uint32_t number) {
  for (uint32_t line = 1; line < number; ++line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return "";
    text.remove_prefix(end + 1);
  }
  return std::string(text.substr(0, text.find('\n')));
}

// From a column on, which counts characters.
std::string FromColumn(const std::string& line, uint32_t column) {
  size_t at = 0;
  for (uint32_t i = 1; i < column && at < line.size(); ++i) {
    ++at;
    while (at < line.size() && (line[at] & 0xC0) == 0x80) ++at;
  }
  return line.substr(at);
}

bool IsOfAMerge(const std::string& line) {
  for (const char* mark : {"<<<<<<<", "=======", ">>>>>>>", "|||||||"}) {
    if (absl::StartsWith(line, mark)) return true;
  }
  return false;
}

bool HasTypographicQuote(const std::string& text) {
  for (const char* quote : {"\u201C", "\u201D", "\u201E", "\u2018", "\u2019"}) {
    if (absl::StrContains(text, quote)) return true;
  }
  return false;
}

bool Said(const Place& place, const char* words) { return absl::StrContains(place.parser, words); }

// Of a key or a heading that is there already. The parser names it.
std::string Twice(const Place& place) {
  const size_t begin = place.parser.find('\'');
  const size_t end = place.parser.rfind('\'');
  const std::string name = begin < end ? place.parser.substr(begin + 1, end - begin - 1) : "";
  if (absl::StartsWith(place.line, "[")) {
    return absl::StrCat("[", name,
                        "] is there already, further up: put what follows below that one heading");
  }
  return absl::StrCat(name, " has a value already, further up: keep one of them");
}

std::string OfAString(const Place& place) {
  if (Said(place, "escape sequence")) {
    return "a \\ between \" and \" begins a character by its name: write \\\\ for one, or the text "
           "between ' and '";
  }
  if (Said(place, "end-of-file"))
    return "the text that begins here or further up has no closing quote";
  return "the text has no closing quote in its line (\"\"\" begins one of several lines)";
}

// Of what stands where a value should.
std::string OfAValue(const Place& place) {
  if (HasTypographicQuote(place.rest)) return "typographic quotes are no quotes of TOML: write \"";
  if (Said(place, "expected value")) return "there is no value behind the =";
  if (Said(place, "boolean"))
    return "true and false are written so, and a text between quotes: NAME = \"text\"";
  return "this is no number; a text stands between quotes: NAME = \"text\"";
}

std::string OfAPair(const Place& place) {
  if (Said(place, "saw ':'")) return "a value stands behind a =, as in NAME = VALUE";
  if (Said(place, "expected '='")) return "a name, = and a value are asked for, as in NAME = VALUE";
  if (Said(place, "a comment or whitespace"))
    return "this line has its value already: what follows it is too much";
  return OfAValue(place);
}

std::string Meaning(const Place& place) {
  if (IsOfAMerge(place.line)) {
    return "a merge left a conflict here: keep one of its two sides, and take the lines <<<<<<<, "
           "======= and >>>>>>> out";
  }
  if (Said(place, "cannot redefine")) return Twice(place);
  if (Said(place, "string")) return OfAString(place);
  if (Said(place, "array")) return "the list that begins here or further up has no closing ]";
  if (Said(place, "inline table"))
    return "what stands between { and } has to stand in one line, with commas between";
  if (Said(place, "table header"))
    return "a heading is a name between brackets: [NAME], or [[NAME]] for one of several";
  if (Said(place, "root table")) {
    return absl::StartsWith(place.line, "{")
               ? "this looks like JSON; a machine's file is TOML: NAME = VALUE below [HEADINGS]"
               : "a line is a [HEADING], NAME = VALUE or a # comment";
  }
  if (Said(place, "key-value pair")) return OfAPair(place);
  return OfAValue(place);
}

}  // namespace

std::string SyntaxWords(std::string_view text, uint32_t line, uint32_t column,
                        std::string_view parser) {
  const std::string whole = LineOf(text, line);
  Place place{std::string(absl::StripAsciiWhitespace(whole)), FromColumn(whole, column),
              std::string(parser)};
  std::replace_if(
      place.parser.begin(), place.parser.end(),
      [](unsigned char c) { return absl::ascii_iscntrl(c); }, ' ');
  std::string meaning;
  const std::string_view mark = text.substr(0, 2);
  if (mark == "\xFF\xFE" || mark == "\xFE\xFF") {
    meaning = "the file is UTF-16: save it as UTF-8 (`iconv -f UTF-16 -t UTF-8`)";
  } else if (absl::StrContains(place.parser, "utf-8")) {
    meaning = "there are bytes here that are not UTF-8: save the file as UTF-8";
  } else {
    meaning = Meaning(place);
  }
  return absl::StrCat(meaning, " (the parser: ", absl::StripPrefix(place.parser, "Error while "),
                      ")");
}

}  // namespace rum
