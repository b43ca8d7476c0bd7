#ifndef RUM_CLI_COMPLETION_H_
#define RUM_CLI_COMPLETION_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace rum {

// What can stand where the cursor is, and what it is for.
struct Candidate {
  std::string word;
  std::string about;
};

// What the parser does not know by itself.
enum class Completes {
  kNothing,
  kFiles,
  kBaseImages,  // shorthands of images, and files
  kMachines,
  kFields,
  kReaches,
  kRuns,
  kImages,  // in the cache
  kPorts
};

struct Completion {
  std::vector<Candidate> candidates;  // that the parser knows
  Completes more = Completes::kNothing;
  std::string file;       // as -c has it so far
  std::string machine;    // as -m has it
  std::string before;     // of the word at the cursor, what is no part of the value: "--machine="
  std::string beginning;  // of the value
};

// `words`: those behind `rum` up to the cursor; the last one is what stands before it, or empty.
Completion CompleteWords(const CLI::App& app, const std::vector<std::string>& words);

// What goes into a shell's folder of completions: it asks `rum __complete` each time. Empty: it is
// none of bash, zsh and fish.
std::string CompletionScript(const std::string& shell);

}  // namespace rum

#endif  // RUM_CLI_COMPLETION_H_
