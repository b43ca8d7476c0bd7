#include "cli/one_of.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "state/schema.h"

namespace rum {

CLI::Validator OneOf(const std::vector<std::string>& words) {
  const auto judge = [words](const std::string& word) -> std::string {
    if (std::find(words.begin(), words.end(), word) != words.end()) return "";
    return absl::StrCat(word, " is none of ", absl::StrJoin(words, ", "), DidYouMean(word, words));
  };
  return {judge, absl::StrJoin(words, "|")};
}

}  // namespace rum
