#include "cli/cut_command.h"

#include <cstddef>
#include <set>

namespace rum {
namespace {

// Whether the word after this option is its value: "--user", "-c", "-qc", "-m", but not
// "--user=me", "-cFILE".
bool TakesNextWord(const std::string& option) {
  static const auto* const kLong = new std::set<std::string>{
      "--config", "--machine", "--output", "--color", "--user", "--cwd", "--env", "--timeout"};
  if (option.rfind("--", 0) == 0) return kLong->count(option) > 0;
  const size_t value = option.find_first_of("cmo");
  return value != std::string::npos && value + 1 == option.size();
}

}  // namespace

std::vector<std::string> CutCommand(const std::vector<std::string>& words,
                                    std::vector<std::string>* command) {
  bool exec = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool option = word.size() > 1 && word[0] == '-' && word != "--";
    if (option) {
      if (TakesNextWord(word)) ++i;
      continue;
    }
    if (!exec && word != "exec" && word != "shell" && word != "ssh") return words;
    if (exec) {
      const auto at = words.begin() + static_cast<ptrdiff_t>(i);
      command->assign(word == "--" ? at + 1 : at, words.end());
      return {words.begin(), at};
    }
    exec = true;
  }
  return words;
}

}  // namespace rum
