#ifndef RUM_AGENT_API_GUEST_EXEC_STREAMS_H_
#define RUM_AGENT_API_GUEST_EXEC_STREAMS_H_

#include <optional>

#include "absl/status/statusor.h"
#include "agent-api/agent.pb.h"
#include "agent-api/guest/groups.h"

namespace rum::guest {

// Both ends of a command's standard streams: pipes, or one terminal. The agent's ends do not block.
// What they are belongs to `account`, so that a command of another user may open /dev/stderr or its
// terminal by name.
class ExecStreams {
 public:
  static absl::StatusOr<ExecStreams> Open(const agent::ExecStart& start,
                                          const std::optional<Account>& account);
  ExecStreams(ExecStreams&& other) noexcept;
  ExecStreams& operator=(ExecStreams&&) = delete;
  ~ExecStreams();

  bool pty() const { return pty_; }
  int in() const { return in_; }              // -1: there is none, or it is closed
  int out() const { return out_; }            // with a terminal the same as in()
  int err() const { return err_; }            // -1 with a terminal
  int child_in() const { return child_[0]; }  // -1: /dev/null
  int child_out() const { return child_[1]; }
  int child_err() const { return child_[2]; }

  void CloseChildEnds();
  void CloseInput();  // of pipes only
  void SetWindow(uint32_t rows, uint32_t columns) const;

 private:
  ExecStreams() = default;
  absl::Status OpenPipes(bool with_input, const std::optional<Account>& account);
  absl::Status OpenPty(const std::optional<Account>& account);

  bool pty_ = false;
  int in_ = -1;
  int out_ = -1;
  int err_ = -1;
  int child_[3] = {-1, -1, -1};
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_EXEC_STREAMS_H_
