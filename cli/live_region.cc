#include "cli/live_region.h"

#include <algorithm>

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

std::string LiveRegion::Step(const std::string& text, absl::Time now, size_t width) {
  const std::string shown = OneLine(text, style_.utf8);
  const bool same =
      !step_.empty() && StepName(shown) == StepName(step_) && shown.find(": ") != std::string::npos;
  const std::string above = same ? "" : LongStep(now);
  step_ = shown;
  if (same) return Draw(above, now, width);
  begun_ = now;
  script_.Clear();
  return Draw(above, now, width);
}

std::string LiveRegion::Script(const std::string& bytes, absl::Time now, size_t width) {
  script_.Add(bytes);
  return Draw("", now, width);
}

std::string LiveRegion::Stay(const std::string& lines, absl::Time now, size_t width) {
  script_.Clear();
  const size_t end = lines.find('\n');
  if (step_.empty() || end == std::string::npos || !IsDone(step_, lines.substr(0, end)))
    return Draw(lines, now, width);
  const absl::Duration took = now - begun_;
  step_.clear();
  const std::string time =
      took < kWorthTelling ? "" : Dim(absl::StrCat("  ", TookText(took)), style_);
  return Draw(absl::StrCat(lines.substr(0, end), time, lines.substr(end)), now, width);
}

std::string LiveRegion::Tick(absl::Time now, size_t width) {
  if (shown_.empty()) return "";
  ++frame_;
  return Draw("", now, width);
}

std::string LiveRegion::End(absl::Time now, size_t width) {
  const std::string above = LongStep(now);
  step_.clear();
  script_.Clear();
  return Draw(above, now, width);
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

std::string LiveRegion::Draw(const std::string& above, absl::Time now, size_t width) {
  // A line that was cut to the terminal's width then may be two of a narrower one now.
  size_t rows = 0;
  for (const size_t columns : shown_) rows += columns <= width ? 1 : (columns + width - 1) / width;
  std::string out = rows > 0 ? absl::StrCat("\033[", rows, "A\r") : "";
  for (size_t begin = 0; begin < above.size();) {
    const size_t end = std::min(above.find('\n', begin), above.size());
    absl::StrAppend(&out, above.substr(begin, end - begin), "\033[K\n");
    begin = end + 1;
  }
  std::vector<std::string> lines;
  if (!step_.empty()) lines.push_back(StepLine(now, width - 1));
  for (const std::string& line : script_.lines()) lines.push_back(kMargin + line);
  shown_.clear();
  for (const std::string& line : lines) {
    // One column less: in the last one some terminals go on to the next line.
    const std::string cut = CutTo(line, width - 1, style_.utf8);
    absl::StrAppend(&out, cut, "\033[K\n");
    shown_.push_back(std::min(DisplayWidth(line), width - 1));
  }
  return rows > 0 ? absl::StrCat(out, "\033[J") : out;
}

}  // namespace rum
