#include "agent-api/guest/host_keys.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {

std::vector<std::string> HostKeysIn(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (absl::StartsWith(name, "ssh_host_") && absl::EndsWith(name, "_key.pub"))
      paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> keys;
  for (const std::string& path : paths) {
    const std::vector<std::string> words =
        absl::StrSplit(FirstLine(ReadFile(path)), ' ', absl::SkipEmpty());
    if (words.size() >= 2) keys.push_back(absl::StrCat(words[0], " ", words[1]));
  }
  return keys;
}

}  // namespace rum::guest
