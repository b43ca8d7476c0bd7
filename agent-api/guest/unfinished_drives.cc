#include "agent-api/guest/unfinished_drives.h"

#include <algorithm>
#include <filesystem>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/ledger.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

std::string SerialOf(const std::string& line) { return line.substr(line.find(' ') + 1); }

std::vector<std::string> LinesOf(const std::string& path) {
  return absl::StrSplit(ReadFile(path), '\n', absl::SkipEmpty());
}

// The lines of all other drives.
std::string Without(const std::string& path, const std::vector<std::string>& serials) {
  std::string text;
  for (const std::string& line : LinesOf(path)) {
    if (!absl::c_linear_search(serials, SerialOf(line))) absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace

absl::Status UnfinishedDrives::Note(const std::vector<std::string>& serials) {
  std::error_code known_soon;  // by the write
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), known_soon);
  std::string text = Without(path_, serials);
  for (const std::string& serial : serials) absl::StrAppend(&text, BootId(), " ", serial, "\n");
  return WriteFileAtomically(path_, text, 0600);
}

absl::Status UnfinishedDrives::Forget(const std::vector<std::string>& serials) {
  const std::string text = Without(path_, serials);
  if (text == ReadFile(path_)) return absl::OkStatus();
  return WriteFileAtomically(path_, text, 0600);
}

std::vector<std::string> UnfinishedDrives::OfEarlierBoots() const {
  std::vector<std::string> serials;
  for (const std::string& line : LinesOf(path_)) {
    if (!absl::StartsWith(line, absl::StrCat(BootId(), " "))) serials.push_back(SerialOf(line));
  }
  return serials;
}

}  // namespace rum::guest
