#ifndef RUM_TESTS_CONTROLLER_SERVICE_SCRIPTED_AGENT_H_
#define RUM_TESTS_CONTROLLER_SERVICE_SCRIPTED_AGENT_H_

#include <signal.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/guest/fake_guest_agent.h"

namespace rum {

// What tests want of a guest, and what it heard.
struct GuestScript {
  std::mutex mutex;
  std::condition_variable changed;
  bool held = false;        // scripts wait at their beginning
  int waiting = 0;          // scripts that do
  int output_chunks = 0;    // of 64 KiB, more than the fake's one line
  absl::Status exec_error;  // instead of running a command
  std::vector<agent::ExecStart> commands;
  std::vector<int> signals;

  void Hold() {
    std::lock_guard<std::mutex> lock(mutex);
    held = true;
  }
  void AwaitScript() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return waiting > 0; });
  }
  void Release() {
    std::lock_guard<std::mutex> lock(mutex);
    held = false;
    changed.notify_all();
  }
};

// The fake guest with scripts that can be held, and one command: it says its standard input again
// on both outputs, and ends with status 7 at the end of the input, or by the signal that it gets.
class ScriptedAgent : public FakeGuestAgent {
 public:
  ScriptedAgent(std::shared_ptr<FakeGuest> guest, std::shared_ptr<GuestScript> script)
      : FakeGuestAgent(std::move(guest)), script_(std::move(script)) {}

  absl::StatusOr<agent::ScriptRun> RunScript(
      const agent::RunScriptRequest& request,
      const std::function<void(const agent::RunScriptEvent&)>& output) override {
    const agent::RunScriptRequest asked = request;  // its offset goes on with what is told
    int chunks = 0;
    {
      std::unique_lock<std::mutex> lock(script_->mutex);
      ++script_->waiting;
      script_->changed.notify_all();
      script_->changed.wait(lock, [this] { return !script_->held; });
      chunks = script_->output_chunks;
    }
    agent::RunScriptEvent event;
    event.set_standard_output(std::string(64 * 1024, 'x'));
    for (int i = 0; i < chunks; ++i) output(event);
    return FakeGuestAgent::RunScript(asked, output);
  }

  absl::Status Exec(const std::function<bool(agent::ExecInput*)>& next_input,
                    const std::function<void(const agent::ExecOutput&)>& output) override {
    agent::ExecInput input;
    if (!next_input(&input)) return absl::InvalidArgumentError("nothing to run");
    {
      std::lock_guard<std::mutex> lock(script_->mutex);
      if (!script_->exec_error.ok()) return script_->exec_error;
      script_->commands.push_back(input.start());
    }
    agent::ExecOutput said;
    while (next_input(&input)) {
      if (input.has_standard_input()) {
        said.set_standard_output(input.standard_input());
        output(said);
        said.set_standard_error(input.standard_input());
        output(said);
      } else if (input.has_signal()) {
        {
          std::lock_guard<std::mutex> lock(script_->mutex);
          script_->signals.push_back(input.signal());
        }
        said.set_signal(input.signal());
        output(said);
      } else if (input.has_close_input()) {
        said.set_exit_status(7);
        output(said);
      }
      input.Clear();
    }
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<GuestScript> script_;
};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_SERVICE_SCRIPTED_AGENT_H_
