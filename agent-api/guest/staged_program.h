#ifndef RUM_AGENT_API_GUEST_STAGED_PROGRAM_H_
#define RUM_AGENT_API_GUEST_STAGED_PROGRAM_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"
#include "agent-api/files/owned_fd.h"

namespace rum::guest {

// A program that comes in pieces, beside the one that it replaces when it is whole and fit.
class StagedProgram {
 public:
  explicit StagedProgram(std::string path);  // of the one to be replaced
  ~StagedProgram();                          // what did not replace it goes
  StagedProgram(const StagedProgram&) = delete;
  StagedProgram& operator=(const StagedProgram&) = delete;

  // The first one names it.
  absl::Status Take(const agent::UpgradeChunk& chunk);
  // Its SHA-256 and build id are as announced, and it runs here: then it is on the disk, and has
  // the name, in one step.
  absl::Status Replace();

 private:
  struct Sum;

  absl::Status Check();
  absl::Status Failed(const char* what) const;

  const std::string path_;
  const std::string staged_;
  OwnedFd file_;
  std::unique_ptr<Sum> sum_;
  std::string build_id_;
  std::string sha256_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_STAGED_PROGRAM_H_
