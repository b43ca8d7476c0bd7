#include "cli/progress_text.h"

#include "absl/strings/str_cat.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

constexpr absl::Duration kInAPipe = absl::Seconds(5);
constexpr char kLineUpAndErase[] = "\033[1A\r\033[K";

}  // namespace

std::string ProgressText::Next(const std::string& text, absl::Time now) {
  const size_t colon = text.find(": ");
  const std::string what = colon == std::string::npos ? "" : text.substr(0, colon);
  const bool again = !what.empty() && what == last_;
  last_ = what;
  if (again && !terminal_ && now - said_ < kInAPipe) return "";
  said_ = now;
  return absl::StrCat(again && terminal_ ? kLineUpAndErase : "", "  ", utf8_ ? "…" : "...", " ",
                      OneLine(text, utf8_), "\n");
}

}  // namespace rum
