#include "cli/no_file.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/ssh_words.h"
#include "state/identity.h"
#include "state/place.h"
#include "state/state_store.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostShown = 3;

// Consent alone, before the first up, is no machine.
bool IsMachine(const StoredRecord& stored) {
  return !stored.record.ok() || stored.record->generation() > 0 ||
         stored.record->consented().empty();
}

}  // namespace

NoFile LookAroundNoFile(const std::string& typed) {
  NoFile missing;
  missing.typed = typed;
  const fs::path given(typed);
  std::error_code error;
  const fs::path folder = given.parent_path().empty() ? "." : given.parent_path();
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (name == "rum.toml" || absl::EndsWith(name, ".rum.toml"))
      missing.here.push_back((given.parent_path() / name).string());
  }
  std::sort(missing.here.begin(), missing.here.end());
  fs::path above = "..";
  for (fs::path at = fs::canonical(folder, error).parent_path(); !error; at = at.parent_path()) {
    if (fs::exists(at / "rum.toml", error) && given.parent_path().empty()) {
      missing.above = above / "rum.toml";
      break;
    }
    if (at == at.root_path()) break;
    above /= "..";
  }
  if (const auto records = ReadRecords(StateDir()); records.ok()) {
    missing.machines =
        static_cast<size_t>(std::count_if(records->begin(), records->end(), IsMachine));
  }
  return missing;
}

std::string NoFileText(const NoFile& missing) {
  const bool plain = missing.typed == "rum.toml";
  std::string text =
      absl::StrCat(plain ? "there is no rum.toml here" : missing.typed + " does not exist",
                   ", and no machine was made from it: `rum init",
                   plain ? "" : " -f " + ShortShellWord(missing.typed), "` writes a first one");
  for (size_t i = 0; i < std::min(kMostShown, missing.here.size()); ++i) {
    const std::string& file = missing.here[i];
    absl::StrAppend(&text, "\n  here is ", file, ": `rum ",
                    file == "rum.toml" ? "" : absl::StrCat("-c ", ShortShellWord(file), " "),
                    "COMMAND`");
  }
  if (!missing.above.empty()) {
    absl::StrAppend(&text, "\n  above is ", missing.above, ": `rum -c ",
                    ShortShellWord(missing.above), " COMMAND`");
  }
  if (missing.machines > 0) {
    absl::StrAppend(&text, "\n  `rum list` shows your ",
                    missing.machines == 1 ? "machine" : absl::StrCat(missing.machines, " machines"),
                    ", `rum -m NAME COMMAND` does without a file");
  }
  return text;
}

bool NothingWasThere(const std::string& config_path) {
  if (!IsGone(config_path)) return false;
  const auto records = ReadRecords(StateDir());
  if (!records.ok()) return false;
  return std::none_of(records->begin(), records->end(), [&](const StoredRecord& stored) {
    return !stored.record.ok() || stored.record->config_path() == config_path;
  });
}

}  // namespace rum
