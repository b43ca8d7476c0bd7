#include "controller/hypervisor/standing.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

bool StandsOn(const Use& use, const std::string& path) {
  if (use.file && use.by == path) return false;
  if (use.paths.count(path) > 0) return true;
  for (const std::string& word : use.words) {
    if (absl::StrContains(word, path)) return true;
  }
  return false;
}

}  // namespace

std::string WhoStandsOn(const std::string& path, const Uses& uses,
                        const std::set<std::string>& but_for) {
  for (const Use& use : uses.all) {
    if (use.file && but_for.count(use.by) > 0) continue;
    if (StandsOn(use, path)) return absl::StrCat(use.by, " stands on it");
  }
  return "";
}

Removable JudgeRemoval(const std::set<std::string>& wanted, const std::set<std::string>& own,
                       const Uses& uses) {
  Removable judged;
  std::set<std::string> open;
  for (const std::string& path : wanted) {
    if (own.count(path) == 0) {
      judged.stay[path] = "rum did not make it";
    } else if (!uses.unknown.empty()) {
      judged.stay[path] =
          absl::StrCat("it cannot be known what stands on it: ", uses.unknown.front());
    } else {
      open.insert(path);
    }
  }
  std::set<std::string> gone;
  for (bool found = true; found;) {
    found = false;
    for (auto it = open.begin(); it != open.end();) {
      if (!WhoStandsOn(*it, uses, gone).empty()) {
        ++it;
        continue;
      }
      judged.go.push_back(*it);
      gone.insert(*it);
      it = open.erase(it);
      found = true;
    }
  }
  for (const std::string& path : open) judged.stay[path] = WhoStandsOn(path, uses, gone);
  return judged;
}

}  // namespace rum
