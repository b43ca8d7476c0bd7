// What README and docs/ type: each `rum …` in them is a command that there is, with options that it
// has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace rum {
namespace {

std::string ReadRunfile(const std::string& path) {
  std::ifstream file(std::string(std::getenv("TEST_SRCDIR")) + "/" + std::getenv("TEST_WORKSPACE") +
                     "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

using Commands =
    std::map<std::string, std::set<std::string>>;  // "image pull" and its options; "": those of all

// Of docs/reference.md, which manual_test compares with the program.
Commands ReadCommands() {
  Commands commands;
  std::istringstream lines(ReadRunfile("docs/reference.md"));
  static const std::regex section("## rum ?(.*)");
  static const std::regex inner("\\| `rum ((?:[a-z-]+ )*[a-z-]+).*");
  static const std::regex alias("Also as `(.*)`\\.");
  static const std::regex option("(^\\| `|, )(-[^ `,]+)");
  std::string command;
  std::map<std::string, std::string> aliases;
  for (std::string line; std::getline(lines, line) && line != "## rum.toml";) {
    std::smatch match;
    if (std::regex_match(line, match, section)) {
      commands[command = match[1]];
    } else if (!command.empty() && std::regex_match(line, match, inner)) {
      commands[command = match[1]];
    } else if (std::regex_match(line, match, alias)) {
      aliases[match[1]] = command;
    } else if (line.rfind("| `-", 0) == 0) {
      const std::string head = line.substr(0, line.find("` |"));
      for (std::sregex_iterator at(head.begin(), head.end(), option), end; at != end; ++at)
        commands[command].insert((*at)[2]);
    }
  }
  for (const auto& [other, name] : aliases) commands[other] = commands[name];
  return commands;
}

// What stands in backticks or in an indented block, up to what a shell takes for itself.
std::vector<std::string> Typed(const std::string& text) {
  std::vector<std::string> typed;
  std::istringstream lines(text);
  static const std::regex block("^    (?:[$#] )?(rum .*)");
  static const std::regex quoted("`(rum [^`]*)`");
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, block)) {
      typed.push_back(match[1]);
      continue;
    }
    for (std::sregex_iterator at(line.begin(), line.end(), quoted), end; at != end; ++at)
      typed.push_back((*at)[1]);
  }
  return typed;
}

// Empty: there is such a command, and it takes such options.
std::string WhatIsWrong(const std::string& typed, const Commands& commands) {
  static const std::regex ends("\\\\?\\|\\\\?\\||[;&#>…]| \\\\?\\| ");
  std::string words = typed;
  if (std::smatch end; std::regex_search(words, end, ends)) words = words.substr(0, end.position());
  for (const char c : {'[', ']', '(', ')'}) std::replace(words.begin(), words.end(), c, ' ');
  std::istringstream in(words);
  std::string command;
  bool inner = false;  // words of the guest's, or of ssh's
  in >> command;
  command.clear();
  for (std::string word; !inner && in >> word;) {
    if (word == "--") break;
    if (word[0] == '-' && word.size() > 1) {
      const std::string option = word.substr(0, word.find('='));
      const auto own = commands.find(command);
      const bool known =
          commands.at("").count(option) + own->second.count(option) + (option == "--help" ? 1 : 0) >
          0;
      if (!known) return "`rum " + command + "` takes no " + option;
      if (option == "-c" || option == "-m" || option == "-o" || option == "--color") in >> word;
      continue;
    }
    const std::string longer = command.empty() ? word : command + " " + word;
    if (commands.count(longer) > 0) {
      command = longer;
      inner = command == "exec" || command == "shell" || command == "ssh";
      continue;
    }
    const bool placeholder = std::isupper(static_cast<unsigned char>(word[0])) != 0;
    if (command.empty() && !placeholder) return "there is no command " + word;
  }
  return "";
}

TEST(Docs, WhatTheyTypeIsThere) {
  const Commands commands = ReadCommands();
  ASSERT_GT(commands.size(), 30u);
  ASSERT_EQ(commands.at("init").count("--port"), 1u);
  ASSERT_EQ(commands.at("").count("-o"), 1u);
  size_t count = 0;
  for (const char* name :
       {"README.md", "ARCHITECTURE.md", "docs/benchmarks.md", "docs/coming-from.md",
        "docs/commands.md", "docs/guides.md", "docs/json.md", "docs/provisioning.md",
        "docs/rum-toml.md", "docs/security.md", "docs/troubleshooting.md", "docs/tutorial.md"}) {
    const std::vector<std::string> typed = Typed(ReadRunfile(name));
    count += typed.size();
    for (const std::string& words : typed)
      EXPECT_EQ(WhatIsWrong(words, commands), "") << name << ": " << words;
  }
  EXPECT_GT(count, 200u);
  EXPECT_NE(WhatIsWrong("rum stauts", commands), "");
  EXPECT_NE(WhatIsWrong("rum up --dry-run", commands), "");
  EXPECT_NE(WhatIsWrong("rum image pull --fast debian-12", commands), "");
}

}  // namespace
}  // namespace rum
