#include "state/problem_text.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "state/image_url.h"

namespace rum {
namespace {

// As wide as the first `characters` characters of a line; tabs stay tabs, so that a terminal
// aligns.
std::string Indent(const std::string& line, size_t characters) {
  std::string indent;
  for (const char c : line) {
    if ((c & 0xC0) == 0x80) continue;  // the rest of a UTF-8 character
    if (indent.size() == characters) return indent;
    indent.push_back(c == '\t' ? '\t' : ' ');
  }
  return indent + std::string(characters - indent.size(), ' ');
}

}  // namespace

std::string RenderProblems(const std::string& display_path, const ParsedConfig& parsed) {
  std::vector<std::string> lines;
  std::istringstream stream(parsed.text);
  for (std::string line; std::getline(stream, line);) {
    for (char& c : line) {  // what a terminal would obey
      if ((c >= 0 && c < ' ' && c != '\t') || c == '\x7f') c = '?';
    }
    lines.push_back(line);
  }
  std::ostringstream out;
  for (const Problem& problem : parsed.problems) {
    const SourceRange& where = problem.where;
    out << display_path;
    if (where.line > 0) out << ":" << where.line << ":" << where.column;
    out << ": error: " << problem.message << "\n";
    // A line that no terminal shows whole helps nobody.
    if (where.line == 0 || where.line > lines.size() || lines[where.line - 1].size() > 200)
      continue;
    const std::string number = std::to_string(where.line);
    const std::string margin(number.size() < 5 ? 5 - number.size() : 0, ' ');
    const uint32_t column = std::max<uint32_t>(where.column, 1);
    const std::string line = WithoutSecrets(lines[where.line - 1]);
    out << margin << number << " | " << line << "\n"
        << std::string(margin.size() + number.size(), ' ') << " | " << Indent(line, column - 1)
        << std::string(where.end_column > column ? where.end_column - column : 1, '^') << "\n";
  }
  return out.str();
}

}  // namespace rum
