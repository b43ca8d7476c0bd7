#include "cli/apply_stream.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/call_deadline.h"
#include "agent-api/steady_now.h"
#include "cli/client.h"
#include "cli/json_text.h"
#include "cli/list_text.h"
#include "cli/live_output.h"
#include "cli/log_text.h"
#include "cli/no_file.h"
#include "cli/render.h"
#include "cli/terminal_text.h"
#include "controller/base/utf8.h"
#include "controller/service/call_status.h"

namespace rum {

namespace {

namespace fs = std::filesystem;

// All that a run of a script wrote, as text; empty: it cannot be had.
std::string OutputOf(const MachineClient& client, const std::string& run_id) {
  control::LogRequest request;
  request.set_config_path(client.identity.config_path);
  request.set_run_id(run_id);
  grpc::ClientContext context;
  const auto reader = client.stub->Log(&context, request);
  std::string output;
  control::LogEvent event;
  while (reader->Read(&event)) {
    output += event.standard_output() + event.standard_error();
    if (event.has_not_kept()) output += NotKept(event.not_kept());
  }
  return reader->Finish().ok() ? output : "";
}

ActionResult WithWholeOutput(ActionResult result, const WholeOutput& whole_output) {
  if (result.ok() || !result.action().has_run_script() || !whole_output) return result;
  const std::string whole = whole_output(result.action().run_script().run_id());
  if (!whole.empty()) result.set_output_tail(whole);
  return result;
}

// Asks the person at the terminal, where there is one.
bool WantsSnapshotsGone(const control::Outcome& outcome, const Globals& globals) {
  if (globals.output == "json" || isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0) {
    return false;
  }
  std::string names;
  for (const std::string& name : outcome.snapshots()) absl::StrAppend(&names, " ", name);
  std::fprintf(stderr, "The machine has snapshots, which are lost with it:%s\nDestroy it? [y/N] ",
               OneLine(names, StyleOf(globals).utf8).c_str());
  std::string answer;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar())
    answer += static_cast<char>(c);
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

absl::StatusOr<control::ApplyReport> Follow(grpc::ClientReader<control::ApplyEvent>* reader,
                                            const Globals& globals,
                                            const WholeOutput& whole_output) {
  const Style style = StyleOf(globals);
  const bool text = globals.output == "text";
  OutputText output(style.utf8);
  LiveOutput live(style, globals.quiet, !globals.verbose);
  control::ApplyReport report;
  bool ended = false;
  control::ApplyEvent event;
  while (reader->Read(&event)) {
    switch (event.event_case()) {
      case control::ApplyEvent::kProgress:
        live.Step(event.progress());
        break;
      case control::ApplyEvent::kResult:
        *report.add_results() = event.result();
        live.Result(text ? RenderResult(WithWholeOutput(event.result(), whole_output), style) : "");
        break;
      case control::ApplyEvent::kScriptOutput:
      case control::ApplyEvent::kScriptError: {
        const std::string& bytes =
            event.has_script_error() ? event.script_error() : event.script_output();
        if (globals.verbose) std::fputs(output.Next(bytes).c_str(), stderr);
        live.Script(bytes);
        break;
      }
      case control::ApplyEvent::kOutcome:
        *report.mutable_outcome() = event.outcome();
        ended = true;
        break;
      case control::ApplyEvent::EVENT_NOT_SET:
        break;
    }
  }
  live.End();
  if (globals.verbose) std::fputs(output.End().c_str(), stderr);
  const grpc::Status status = reader->Finish();
  if (ended) return report;
  return absl::UnavailableError(
      absl::StrCat(status.ok() ? "the controller went away" : WhyItFailed(status),
                   "; what was done is known, run the command again"));
}

namespace {

// Asks again when the controller ends just now: a question may be asked twice.
template <typename Question>
grpc::Status AskAgain(MachineClient* client, const Question& question) {
  for (int attempt = 0;; ++attempt) {
    grpc::ClientContext context;
    const grpc::Status called = question(client->stub.get(), &context);
    if (!IsLost(called) || attempt == 2) return called;
    auto stub = ConnectController(true);
    if (!stub.ok()) return called;
    client->stub = *std::move(stub);
  }
}

absl::StatusOr<control::ListMachinesReply> AskList(MachineClient* client,
                                                   const std::string& config_path) {
  control::ListMachinesRequest request;
  request.set_config_path(config_path);
  request.set_brief(true);
  control::ListMachinesReply reply;
  const grpc::Status called =
      AskAgain(client, [&](control::Control::Stub* stub, grpc::ClientContext* context) {
        return stub->ListMachines(context, request, &reply);
      });
  if (called.ok()) return reply;
  return absl::UnavailableError(WhyItFailed(called));
}

// Of a file whose folder may be gone.
absl::StatusOr<MachineIdentity> IdentityOfFile(const Globals& globals) {
  absl::StatusOr<MachineIdentity> identity = IdentityOf(globals.file);
  if (!absl::IsNotFound(identity.status())) return identity;
  std::error_code error;
  const fs::path file(globals.file);
  const fs::path folder = fs::weakly_canonical(fs::absolute(file, error).parent_path(), error);
  if (error) return identity;
  MachineIdentity gone;
  gone.config_path = folder / file.filename();
  return gone;
}

// Which machine is meant, of those that the controller knows.
absl::StatusOr<control::ListedMachine> WhichMachine(MachineClient* client, const Globals& globals) {
  if (globals.machine.empty()) {
    const auto reply = AskList(client, client->identity.config_path);
    if (!reply.ok()) return reply.status();
    if (reply->machines().empty()) {
      return absl::InternalError("the controller does not say which machine that is");
    }
    return reply->machines(0);
  }
  const auto reply = AskList(client, "");
  if (!reply.ok()) return reply.status();
  return PickMachine(*reply, globals.machine);
}

}  // namespace

std::string DefaultUri() {
  const char* uri = std::getenv("LIBVIRT_DEFAULT_URI");
  return uri == nullptr ? "" : uri;
}

namespace {

// Also where there is neither a file nor a machine.
bool ConnectToAny(Globals* globals, MachineClient* client) {
  const bool by_file = globals->machine.empty();
  if (by_file) {
    auto identity = IdentityOfFile(*globals);
    if (!identity.ok()) return Fail(globals, std::string(identity.status().message())), false;
    if (!IsUtf8(identity->config_path))
      return Fail(globals, "the path of the file is not UTF-8: " + identity->config_path), false;
    client->identity = *std::move(identity);
  }
  auto stub = ConnectController(true);
  if (!stub.ok()) return Fail(globals, std::string(stub.status().message())), false;
  client->stub = *std::move(stub);
  const auto machine = WhichMachine(client, *globals);
  if (!machine.ok()) {
    // Of a folder that is gone and that no record has, IdentityOf() says it as it was typed.
    const absl::Status typed = by_file ? IdentityOf(globals->file).status() : absl::OkStatus();
    const absl::Status& why = typed.ok() ? machine.status() : typed;
    return Fail(globals, std::string(why.message())), false;
  }
  client->identity = {machine->config_path(), machine->name(), machine->id()};
  return true;
}

}  // namespace

bool Connect(Globals* globals, MachineClient* client) {
  if (globals->machine.empty()) {
    // Before a controller is started that could do nothing either.
    const auto identity = IdentityOf(globals->file);
    if (identity.ok() && NothingWasThere(identity->config_path))
      return Fail(globals, NoFileText(LookAroundNoFile(globals->file))), false;
  }
  return ConnectToAny(globals, client);
}

bool ConnectToKnown(Globals* globals, MachineClient* client) {
  if (!ConnectToAny(globals, client)) return false;
  if (!globals->machine.empty()) return true;
  const std::string& path = client->identity.config_path;
  if (access(path.c_str(), F_OK) == 0) return true;
  MachineStatus status;
  const bool answered = AskStatus(client, &status).ok();
  const bool known = answered
                         ? status.generation() > 0 || status.phase() == MachineStatus::RUNNING ||
                               status.phase() == MachineStatus::STOPPED ||
                               status.phase() >= MachineStatus::PAUSED
                         : !NothingWasThere(path);
  if (known) return true;
  return Fail(globals, NoFileText(LookAroundNoFile(globals->file))), false;
}

grpc::Status AskStatus(MachineClient* client, MachineStatus* status) {
  control::MachineRequest request;
  request.set_config_path(client->identity.config_path);
  request.set_default_uri(DefaultUri());
  return AskAgain(client, [&](control::Control::Stub* stub, grpc::ClientContext* context) {
    return stub->Status(context, request, status);
  });
}

bool RunApply(const control::ApplyRequest& what, const MachineClient& client, Globals* globals,
              control::ApplyReport* report, Interrupts* interrupts, absl::Duration timeout) {
  const absl::Time limit = SteadyNow() + timeout;
  control::ApplyRequest request = what;
  request.set_default_uri(DefaultUri());
  request.set_recorded(!globals->machine.empty());
  grpc::ClientContext context;
  if (timeout != absl::InfiniteDuration())
    context.set_deadline(After(absl::ToChronoMilliseconds(timeout)));
  const auto reader = client.stub->Apply(&context, request);
  if (interrupts != nullptr) interrupts->SetAtWork([&context] { context.TryCancel(); });
  auto followed = Follow(reader.get(), *globals,
                         [&client](const std::string& run_id) { return OutputOf(client, run_id); });
  if (interrupts != nullptr) {
    interrupts->SetAtWork(nullptr);
    if (interrupts->any() && !followed.ok()) return false;
  }
  if (!followed.ok() && SteadyNow() >= limit) {
    return Fail(globals,
                absl::StrCat(client.identity.name, " is not up after ",
                             absl::FormatDuration(timeout), "; the controller goes on: `",
                             "rum status --wait Ready` waits for it, `rum console` shows what "
                             "the guest does")),
           false;
  }
  if (!followed.ok()) return Fail(globals, std::string(followed.status().message())), false;
  *report = *std::move(followed);
  const control::Outcome& outcome = report->outcome();
  const Style style = StyleOf(*globals);
  if (globals->output == "json") {
    std::fputs(ToJson(*report, globals->json_lines).c_str(), stdout);
  } else {
    std::fputs(RenderPlan(outcome.plan(), style).c_str(), stdout);
    const bool nothing = outcome.actions() == 0 && outcome.plan().actions_size() == 0 &&
                         outcome.plan().waiting_size() == 0 && outcome.plan().asks_size() == 0 &&
                         !outcome.failed() && outcome.error().empty();
    if (!outcome.plan().standing().empty() && !request.up()) {
      if (outcome.error().empty())
        std::printf("%s\n", OneLine(outcome.plan().standing(), style.utf8).c_str());
    } else if (nothing && request.up()) {
      std::printf("%s is running and matches its file: nothing to do\n",
                  client.identity.name.c_str());
    } else if (nothing) {
      std::printf("nothing to do: %s matches its file\n", client.identity.name.c_str());
    }
  }
  if (!outcome.error().empty()) Fail(globals, outcome.error());
  if (outcome.failed()) globals->exit_status = 1;
  return globals->exit_status == 0;
}

bool RunDown(const MachineClient& client, DownFlags flags, Globals* globals) {
  const bool destroy = flags.destroy;
  grpc::ClientContext context;
  control::MachineRequest request;
  request.set_config_path(client.identity.config_path);
  request.set_default_uri(DefaultUri());
  request.set_force(flags.force);
  const auto reader =
      destroy ? client.stub->Destroy(&context, request) : client.stub->Down(&context, request);
  const auto report = Follow(reader.get(), *globals);
  if (!report.ok()) return Fail(globals, std::string(report.status().message())), false;
  if (report->outcome().snapshots_size() > 0 && WantsSnapshotsGone(report->outcome(), *globals)) {
    flags.force = true;
    return RunDown(client, flags, globals);
  }
  if (globals->output == "json") {
    std::fputs(ToJson(*report, globals->json_lines).c_str(), stdout);
  } else {
    const Style style = StyleOf(*globals);
    std::vector<std::string> done;
    for (const std::string& removed : report->outcome().removed()) {
      done.push_back("Removed " + removed);
    }
    const bool stopped = !destroy && report->outcome().already_running();
    if (stopped && !report->outcome().failed()) done.push_back("Stopped the machine");
    for (const std::string& what : done) {
      ActionResult line;
      line.set_ok(true);
      line.set_message(what);
      std::fputs(RenderResult(line, style).c_str(), stdout);
    }
    for (const std::string& kept : report->outcome().kept()) {
      std::printf("Kept %s\n", OneLine(kept, style.utf8).c_str());
    }
    if (done.empty() && !report->outcome().failed()) {
      std::printf("nothing to do: %s %s\n", client.identity.name.c_str(),
                  destroy ? "is not defined" : "is not running");
    }
  }
  if (!report->outcome().error().empty()) Fail(globals, report->outcome().error());
  if (report->outcome().failed()) globals->exit_status = 1;
  return globals->exit_status == 0;
}

}  // namespace rum
