#ifndef RUM_CLI_COPY_PROGRESS_H_
#define RUM_CLI_COPY_PROGRESS_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "agent-api/agent.pb.h"

namespace rum {

// How far a copy is, as one line for a terminal that each next one takes the place of: at most five
// in a second.
class CopyProgress {
 public:
  explicit CopyProgress(bool utf8) : utf8_(utf8) {}

  // What to write after this message; empty: nothing now.
  std::string Next(const agent::CopyMessage& message, absl::Time now);
  // The line that stays: "3 files, 1.2 MiB, 2 there already".
  std::string Summary() const;
  // Takes the line away, so that something else can be written.
  std::string Clear();

 private:
  const bool utf8_;
  uint64_t files_ = 0;
  uint64_t kept_ = 0;   // by the other side, of a copy that is resumed
  uint64_t bytes_ = 0;  // of all files
  uint64_t done_ = 0;   // of the present one
  uint64_t size_ = 0;
  std::string name_;
  absl::Time shown_ = absl::InfinitePast();
  bool is_there_ = false;
};

}  // namespace rum

#endif  // RUM_CLI_COPY_PROGRESS_H_
