#include <cstdio>
#include <memory>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/log_text.h"
#include "cli/render.h"
#include "cli/watch.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

struct LogFlags {
  control::LogRequest request;
  bool list = false;
  bool events = false;
};

bool Shows(const agent::ScriptRun& run, bool failed_only) {
  const std::string outcome = OutcomeText(run);
  return !failed_only || (outcome != "done" && outcome != "running");
}

void ListRuns(const MachineClient& client, const LogFlags& flags, Globals* globals) {
  control::MachineRequest request;
  request.set_config_path(client.identity.config_path);
  grpc::ClientContext context;
  control::RunsReply all;
  const grpc::Status status = client.stub->ListRuns(&context, request, &all);
  if (!status.ok()) return Fail(globals, WhyItFailed(status));
  control::RunsReply runs;
  for (const agent::ScriptRun& run : all.runs()) {
    if (Shows(run, flags.request.failed())) *runs.add_runs() = run;
  }
  const std::string text =
      globals->output == "json" ? ToJson(runs) : RenderRuns(runs, StyleOf(*globals));
  std::fputs(text.c_str(), stdout);
}

// What the script wrote to its standard output and error goes to ours.
void Show(const MachineClient& client, const LogFlags& flags, Globals* globals) {
  const Style style = StyleOf(*globals);
  grpc::ClientContext context;
  const auto reader = client.stub->Log(&context, flags.request);
  TimedLines out(style), err(style);
  agent::ScriptRun last;
  control::LogEvent event;
  const bool json = globals->output == "json";
  while (std::ferror(stdout) == 0 && reader->Read(&event)) {
    if (json && event.event_case() != control::LogEvent::EVENT_NOT_SET) {
      std::fputs(ToJsonLine(event).c_str(), stdout);
      std::fflush(stdout);
    } else if (event.has_run()) {
      last = event.run();
    } else if (event.has_standard_output()) {
      std::fputs(out.Next(event.time_ms(), event.standard_output()).c_str(), stdout);
      std::fflush(stdout);
    } else if (event.has_standard_error()) {
      std::fputs(err.Next(event.time_ms(), event.standard_error()).c_str(), stderr);
    } else if (event.has_not_kept()) {
      std::fputs(NotKept(event.not_kept()).c_str(), stderr);
    }
  }
  std::fputs(out.End().c_str(), stdout);
  std::fflush(stdout);
  std::fputs(err.End().c_str(), stderr);
  if (std::ferror(stdout) != 0) context.TryCancel();  // nobody gets it, which the end says
  const grpc::Status status = reader->Finish();
  if (std::ferror(stdout) != 0) return;
  if (!status.ok()) return Fail(globals, WhyItFailed(status));
  if (json || globals->quiet) return;
  std::fprintf(stderr, "%s: %s\n", last.run_id().c_str(), OutcomeText(last).c_str());
}

void Log(LogFlags flags, Globals* globals) {
  if (flags.events) return ShowEvents(flags.request.follow(), globals);
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  flags.request.set_config_path(client.identity.config_path);
  if (flags.list) {
    ListRuns(client, flags, globals);
  } else {
    Show(client, flags, globals);
  }
}

}  // namespace

void AddLogCommand(CLI::App* app, Globals* globals) {
  const auto flags = std::make_shared<LogFlags>();
  CLI::App* log = app->add_subcommand("log", "what the provisioning scripts wrote; the last run's");
  CLI::Option* list = log->add_flag("--list", flags->list, "the runs that are kept, oldest first");
  CLI::Option* failed = log->add_flag_function(
      "--failed", [flags](int64_t) { flags->request.set_failed(true); },
      "the last run that did not succeed; with --list, those alone");
  CLI::Option* run = log->add_option_function<std::string>(
      "--run", [flags](const std::string& id) { flags->request.set_run_id(id); }, "this run");
  log->add_flag_function(
      "-f,--follow", [flags](int64_t) { flags->request.set_follow(true); },
      "of a script that runs: to its end; of events: what comes");
  log->add_flag("--events", flags->events,
                "the machine's history instead: what changed from what to what, why, by whom")
      ->excludes(list)
      ->excludes(failed)
      ->excludes(run);
  log->callback([flags, globals] { Log(*flags, globals); });
}

}  // namespace rum
