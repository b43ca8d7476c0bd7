#ifndef RUM_CLI_LIVE_REGION_H_
#define RUM_CLI_LIVE_REGION_H_

#include <cstddef>
#include <string>

#include "absl/time/time.h"
#include "cli/last_lines.h"
#include "cli/style.h"

namespace rum {

// In characters.
struct TerminalSize {
  size_t width = 80;
  size_t height = 24;
};

// What moves at the bottom of a terminal while long work goes on: the step that is being done, with
// a sign of life and how long it has taken, and below it the last lines of the script that runs.
// Each call gives what to write, to be written at once: what stays goes above, and the rest is
// written over what was there, never taken away before. Between calls the cursor rests where it all
// begins: that place is kept by each terminal when its window changes, whatever becomes of lines
// that do not fit any more (some go on in a second one, others are cut). Pure.
class LiveRegion {
 public:
  explicit LiveRegion(const Style& style) : style_(style), script_(style.utf8) {}

  // Texts that are equal up to ": " tell of one step, such as a download.
  std::string Step(const std::string& text, absl::Time now, TerminalSize size);
  std::string Script(const std::string& bytes, absl::Time now, TerminalSize size);
  // Whole lines that stay; where they tell that the step was done, its time stands behind the first
  // one.
  std::string Stay(const std::string& lines, absl::Time now, TerminalSize size);
  // Some times a second.
  std::string Tick(absl::Time now, TerminalSize size);
  // Takes away what moves; a step that took long stays, with its time.
  std::string End(absl::Time now, TerminalSize size);
  // Whether something stands below the cursor.
  bool shown() const { return shown_; }

 private:
  std::string Draw(const std::string& above, absl::Time now, TerminalSize size);
  std::string StepLine(absl::Time now, size_t width) const;
  std::string LongStep(absl::Time now) const;

  const Style style_;
  LastLines script_;
  std::string step_;  // empty: there is none
  absl::Time begun_ = absl::InfinitePast();
  size_t frame_ = 0;
  bool shown_ = false;
};

// "3 s", "1 min 12 s".
std::string TookText(absl::Duration time);

}  // namespace rum

#endif  // RUM_CLI_LIVE_REGION_H_
