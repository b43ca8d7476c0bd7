#include "cli/progress_text.h"

#include "absl/strings/str_cat.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

constexpr absl::Duration kBetween = absl::Seconds(5);

}  // namespace

std::string ProgressText::Next(const std::string& text, absl::Time now) {
  const size_t colon = text.find(": ");
  const std::string what = colon == std::string::npos ? "" : text.substr(0, colon);
  const bool again = !what.empty() && what == last_;
  last_ = what;
  if (again && now - said_ < kBetween) return "";
  said_ = now;
  return absl::StrCat("  ", utf8_ ? "…" : "...", " ", OneLine(text, utf8_), "\n");
}

}  // namespace rum
