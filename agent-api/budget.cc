#include "agent-api/budget.h"

#include <algorithm>

namespace rum {

bool IsRunId(const std::string& run_id) {
  return !run_id.empty() && run_id.size() <= 64 &&
         std::all_of(run_id.begin(), run_id.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         });
}

bool IsRunKind(const std::string& kind) {
  return kind == "system" || kind == "boot" || kind == "drives";
}

}  // namespace rum
