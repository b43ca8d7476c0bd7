#ifndef RUM_CLI_PAGE_H_
#define RUM_CLI_PAGE_H_

#include <string>
#include <vector>

namespace rum {

// A page of the manual before it is man(7) or Markdown. In texts, what stands between backticks is
// typed as it stands.
struct Entry {
  std::string term;
  std::string text;
};

struct Section {
  std::string title;
  std::vector<std::string> synopsis;  // each a line that is typed, before all else
  std::string text;                   // a paragraph
  std::vector<Entry> entries;
};

struct Page {
  std::string name;  // "rum-up"
  int number = 1;    // the manual's section
  std::string about;
  std::vector<Section> sections;
};

// Writes it for man(1), clean by `mandoc -W warning` and groff's warnings.
std::string ManText(const Page& page);

// A heading of `level` #, and the sections below it, entries as tables.
std::string MarkdownText(const Page& page, const std::string& heading, int level);

}  // namespace rum

#endif  // RUM_CLI_PAGE_H_
