#ifndef RUM_CLI_LIVE_OUTPUT_H_
#define RUM_CLI_LIVE_OUTPUT_H_

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "cli/live_region.h"
#include "cli/progress_text.h"
#include "cli/style.h"

namespace rum {

// Shows long work: on a terminal that can, as a LiveRegion; elsewhere a line on standard error for
// each step.
class LiveOutput {
 public:
  // `moves`: something may move where the terminal can.
  LiveOutput(const Style& style, bool quiet, bool moves);
  ~LiveOutput();
  LiveOutput(const LiveOutput&) = delete;
  LiveOutput& operator=(const LiveOutput&) = delete;

  void Step(const std::string& text);
  // What a script wrote; nothing where nothing moves.
  void Script(const std::string& bytes);
  // Whole lines for standard output; or for nobody, but something was done.
  void Result(const std::string& lines);
  void End();

 private:
  // What the region says is to be written, which `stream` gets.
  void Draw(const std::string& text, std::FILE* stream);
  void KeepAlive();

  const bool quiet_;
  const bool live_;
  std::mutex mutex_;
  LiveRegion region_;
  ProgressText lines_;
  bool ended_ = false;
  bool ticks_ = false;
  std::condition_variable end_;
  std::thread ticker_;
};

// Takes what moves away, where a process is about to end or to be stopped without ever coming back
// to it: a shell writes its prompt at the cursor. Nothing where nothing moves. May be called by a
// handler of signals; those that end a process by default are handled so while something moves.
void ClearLiveOutput();

}  // namespace rum

#endif  // RUM_CLI_LIVE_OUTPUT_H_
