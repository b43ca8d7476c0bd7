#include "cli/live_region.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

constexpr char kMargin[] = "      ";
constexpr absl::Duration kWorthTelling = absl::Seconds(1);
constexpr absl::Duration kLong = absl::Seconds(5);

// What texts of one step have in common.
std::string StepName(const std::string& step) { return step.substr(0, step.find(": ")); }

// "starting the machine" and "  ✓ Started the machine".
bool IsDone(const std::string& step, const std::string& line) {
  const size_t space = step.find(' ');
  if (space == std::string::npos) return false;
  const std::string rest = step.substr(space);
  return line.size() >= rest.size() &&
         line.compare(line.size() - rest.size(), rest.size(), rest) == 0;
}

std::string Dim(const std::string& text, const Style& style) {
  return style.color ? absl::StrCat("\033[2m", text, "\033[0m") : text;
}

}  // namespace

std::string TookText(absl::Duration time) {
  const int64_t seconds = absl::ToInt64Seconds(time);
  if (seconds < 60) return absl::StrCat(seconds, " s");
  return absl::StrCat(seconds / 60, " min ", seconds % 60, " s");
}

std::string LiveRegion::Step(const std::string& text, absl::Time now, TerminalSize size) {
  const std::string shown = OneLine(text, style_.utf8);
  const bool same =
      !step_.empty() && StepName(shown) == StepName(step_) && shown.find(": ") != std::string::npos;
  const std::string above = same ? "" : LongStep(now);
  step_ = shown;
  if (same) return Draw(above, now, size);
  begun_ = now;
  script_.Clear();
  return Draw(above, now, size);
}

std::string LiveRegion::Script(const std::string& bytes, absl::Time now, TerminalSize size) {
  script_.Add(bytes);
  return Draw("", now, size);
}

std::string LiveRegion::Stay(const std::string& lines, absl::Time now, TerminalSize size) {
  script_.Clear();
  const size_t end = lines.find('\n');
  if (step_.empty() || end == std::string::npos || !IsDone(step_, lines.substr(0, end)))
    return Draw(lines, now, size);
  const absl::Duration took = now - begun_;
  step_.clear();
  const std::string time =
      took < kWorthTelling ? "" : Dim(absl::StrCat("  ", TookText(took)), style_);
  return Draw(absl::StrCat(lines.substr(0, end), time, lines.substr(end)), now, size);
}

std::string LiveRegion::Tick(absl::Time now, TerminalSize size) {
  if (!shown_) return "";
  ++frame_;
  return Draw("", now, size);
}

std::string LiveRegion::End(absl::Time now, TerminalSize size) {
  const std::string above = LongStep(now);
  step_.clear();
  script_.Clear();
  return Draw(above, now, size);
}

std::string LiveRegion::LongStep(absl::Time now) const {
  if (step_.empty() || now - begun_ < kLong) return "";
  return absl::StrCat("  ", style_.utf8 ? "·" : "-", " ", StepName(step_),
                      Dim(absl::StrCat("  ", TookText(now - begun_)), style_), "\n");
}

std::string LiveRegion::StepLine(absl::Time now, size_t width) const {
  // What every font has, and of one width.
  static constexpr const char* kStrokes[] = {"|", "/", "-", "\\"};
  const char* sign = kStrokes[frame_ % std::size(kStrokes)];
  const absl::Duration took = now - begun_;
  const std::string time = took < kWorthTelling ? "" : absl::StrCat("  ", TookText(took));
  // The time stays whole.
  constexpr size_t kMark = 4;
  const size_t room = width > kMark + time.size() ? width - kMark - time.size() : 0;
  return absl::StrCat("  ", style_.color ? absl::StrCat("\033[36m", sign, "\033[0m") : sign, " ",
                      CutTo(step_, room, style_.utf8), Dim(time, style_));
}

std::string LiveRegion::Draw(const std::string& above, absl::Time now, TerminalSize size) {
  // One column less: in the last one some terminals go on to the next line.
  const size_t width = size.width - 1;
  std::vector<std::string> lines;
  if (!step_.empty()) lines.push_back(StepLine(now, width));
  for (const std::string& line : script_.lines())
    lines.push_back(CutTo(kMargin + line, width, style_.utf8));
  // What is scrolled away cannot be written over. The last row is for the cursor.
  while (lines.size() > size.height - 1) lines.erase(lines.begin() + (lines.size() > 1 ? 1 : 0));
  std::string out = shown_ ? "\r" : "";
  for (size_t begin = 0; begin < above.size();) {
    const size_t end = std::min(above.find('\n', begin), above.size());
    absl::StrAppend(&out, above.substr(begin, end - begin), "\033[K\n");
    begin = end + 1;
  }
  for (const std::string& line : lines) absl::StrAppend(&out, line, "\033[K\n");
  if (shown_) absl::StrAppend(&out, "\033[J");
  shown_ = !lines.empty();
  if (shown_) absl::StrAppend(&out, "\033[", lines.size(), "A");
  return out;
}

}  // namespace rum
