#ifndef RUM_CLI_PROGRESS_TEXT_H_
#define RUM_CLI_PROGRESS_TEXT_H_

#include <string>

#include "absl/time/time.h"

namespace rum {

// Turns what is said of long work into lines for a pipe, or for a terminal where nothing may move.
// Of texts that are equal up to ": ", which tell of the same thing, such as a download, there is
// one every five seconds.
class ProgressText {
 public:
  explicit ProgressText(bool utf8) : utf8_(utf8) {}

  // What to write; empty: nothing now.
  std::string Next(const std::string& text, absl::Time now);
  // Something else was written: what comes next stands below it.
  void Interrupted() { last_.clear(); }

 private:
  const bool utf8_;
  std::string last_;  // what the last text told of
  absl::Time said_ = absl::InfinitePast();
};

}  // namespace rum

#endif  // RUM_CLI_PROGRESS_TEXT_H_
