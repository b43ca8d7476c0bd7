#ifndef RUM_AGENT_API_GUEST_EXEC_INPUT_H_
#define RUM_AGENT_API_GUEST_EXEC_INPUT_H_

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "agent-api/agent.pb.h"
#include "agent-api/guest/exec_streams.h"

namespace rum::guest {

// What the host says to a running command. From Start() on a thread of its own reads: signals and
// windows act at once, whatever else is under way; input is kept, at most 1 MiB of it, until the
// command takes it.
class ExecInputQueue {
 public:
  // `streams` and `read` (see Exec) outlive it. `pid` leads the command's process group.
  ExecInputQueue(const std::function<bool(agent::ExecInput*)>& read, ExecStreams* streams,
                 pid_t pid);
  ~ExecInputQueue();  // waits until `read` returns false, if it was ever called
  ExecInputQueue(const ExecInputQueue&) = delete;
  ExecInputQueue& operator=(const ExecInputQueue&) = delete;

  void Start();  // once
  bool started() const { return reader_.joinable(); }
  int wake() const { return wake_; }  // readable: there may be something new
  bool HasInput();                    // that in() of the streams has to take, its end counted
  void Feed();                        // writes what the command takes now, and closes at the end
  uint64_t taken();
  // Signals the process group, unless the command has ended: then its number may be another's.
  void Signal(int number);
  void SetEnded();

 private:
  void Read();
  void Take(const agent::ExecInput& input);

  const std::function<bool(agent::ExecInput*)>& read_;
  ExecStreams* const streams_;
  const pid_t pid_;
  const int wake_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::string pending_;
  bool closed_ = false;  // no more is to come
  bool done_ = false;    // the end was told, or nobody reads
  bool ended_ = false;
  uint64_t taken_ = 0;
  std::thread reader_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_EXEC_INPUT_H_
