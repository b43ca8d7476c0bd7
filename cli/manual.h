#ifndef RUM_CLI_MANUAL_H_
#define RUM_CLI_MANUAL_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace rum {

// The manual, made of the commands as the parser has them and of the schema of rum.toml, so that it
// says what this build does: pages for man(1), and all of it as one Markdown document.

// The pages' names: "rum.1", "rum-up.1", ..., "rum.toml.5", and "reference.md".
std::vector<std::string> ManualPages(const CLI::App& app);

// The text of one; empty: there is no such page.
std::string ManualPage(const CLI::App& app, const std::string& name);

}  // namespace rum

#endif  // RUM_CLI_MANUAL_H_
