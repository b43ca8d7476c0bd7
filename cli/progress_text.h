#ifndef RUM_CLI_PROGRESS_TEXT_H_
#define RUM_CLI_PROGRESS_TEXT_H_

#include <string>

#include "absl/time/time.h"

namespace rum {

// Turns what is said of long work into lines for a person. Texts that are equal up to ": " tell of
// the same thing, such as a download: on a terminal each takes the place of the one before, in a
// pipe there is one every five seconds.
class ProgressText {
 public:
  ProgressText(bool terminal, bool utf8) : terminal_(terminal), utf8_(utf8) {}

  // What to write; empty: nothing now.
  std::string Next(const std::string& text, absl::Time now);
  // Something else was written: what comes next stands below it.
  void Interrupted() { last_.clear(); }

 private:
  const bool terminal_;
  const bool utf8_;
  std::string last_;  // what the last text told of
  absl::Time said_ = absl::InfinitePast();
};

}  // namespace rum

#endif  // RUM_CLI_PROGRESS_TEXT_H_
