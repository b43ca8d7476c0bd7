#include "cli/page.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/service/launch.h"

namespace rum {
namespace {

// Words for roff. A line must not begin with a control character, and a hyphen of an option is none
// that a printer may break at or make longer.
std::string Roff(const std::string& text) {
  std::string words;
  bool typed = false;
  for (const char c : text) {
    switch (c) {
      case '\\':
        words += "\\e";
        break;
      case '-':
        words += "\\-";
        break;
      case '\'':
        words += "\\(aq";
        break;
      case '^':
        words += "\\(ha";
        break;
      case '~':
        words += "\\(ti";
        break;
      case '`':
        typed = !typed;
        words += typed ? "\\fB" : "\\fR";
        break;
      default:
        words += c;
    }
  }
  if (typed) words += "\\fR";
  return words.empty() || words[0] != '.' ? words : "\\&" + words;
}

// An argument of a request.
std::string Argument(const std::string& text) {
  return "\"" + absl::StrReplaceAll(Roff(text), {{"\"", "\\(dq"}}) + "\"";
}

// A cell of a table.
std::string Cell(const std::string& text) {
  return absl::StrReplaceAll(text, {{"|", "\\|"}, {"<", "&lt;"}});
}

// What is typed; a cell, too.
std::string Code(const std::string& text) {
  return "`" + absl::StrReplaceAll(text, {{"|", "\\|"}}) + "`";
}

}  // namespace

std::string ManText(const Page& page) {
  std::string text =
      absl::StrCat(".TH ", Argument(absl::AsciiStrToUpper(page.name)), " ", page.number, " ",
                   kReleased, " ", Argument(absl::StrCat("rum ", kVersion)), " rum\n.SH NAME\n",
                   Roff(page.name), " \\- ", Roff(page.about), "\n");
  for (const Section& section : page.sections) {
    absl::StrAppend(&text, ".SH ", Argument(absl::AsciiStrToUpper(section.title)), "\n");
    for (const std::string& line : section.synopsis) {
      if (&line != &section.synopsis[0]) absl::StrAppend(&text, ".br\n");
      absl::StrAppend(&text, ".B ", Argument(line), "\n");
    }
    if (!section.synopsis.empty() && !section.text.empty()) absl::StrAppend(&text, ".PP\n");
    if (!section.text.empty()) absl::StrAppend(&text, Roff(section.text), "\n");
    for (const Entry& entry : section.entries)
      absl::StrAppend(&text, ".TP\n.B ", Argument(entry.term), "\n", Roff(entry.text), "\n");
  }
  return text;
}

std::string MarkdownText(const Page& page, const std::string& heading, int level) {
  const std::string marks(static_cast<size_t>(level), '#');
  std::string text = absl::StrCat("\n", marks, " ", heading, "\n\n", page.about, "\n");
  for (const Section& section : page.sections) {
    if (!section.title.empty()) {
      std::string title = section.title;
      title[0] = absl::ascii_toupper(static_cast<unsigned char>(title[0]));
      absl::StrAppend(&text, "\n", marks, "# ", title, "\n");
    }
    if (!section.synopsis.empty()) absl::StrAppend(&text, "\n");
    for (const std::string& line : section.synopsis) absl::StrAppend(&text, "    ", line, "\n");
    if (!section.text.empty()) absl::StrAppend(&text, "\n", section.text, "\n");
    if (!section.entries.empty()) absl::StrAppend(&text, "\n| | |\n|---|---|\n");
    for (const Entry& entry : section.entries)
      absl::StrAppend(&text, "| ", Code(entry.term), " | ", Cell(entry.text), " |\n");
  }
  return text;
}

}  // namespace rum
