#include <cstdio>
#include <string>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/diff_text.h"
#include "cli/json_text.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

// As diff(1) has them; 2 is trouble.
constexpr int kDiffers = 1;
constexpr int kTrouble = 2;

void Trouble(Globals* globals, const std::string& message) {
  Fail(globals, message);
  globals->exit_status = kTrouble;
}

void ShowDiff(Globals* globals) {
  MachineClient client;
  if (!Connect(globals, &client)) {
    globals->exit_status = kTrouble;
    return;
  }
  control::ApplyRequest request;
  request.set_config_path(client.identity.config_path);
  request.set_dry_run(true);
  request.set_default_uri(DefaultUri());
  request.set_recorded(!globals->machine.empty());
  grpc::ClientContext context;
  const auto reader = client.stub->Apply(&context, request);
  const auto report = Follow(reader.get(), *globals);
  if (!report.ok()) return Trouble(globals, std::string(report.status().message()));
  const control::Outcome& outcome = report->outcome();
  reports::DiffReport diff = DiffOf(outcome.plan());
  diff.set_id(client.identity.id);
  diff.set_name(client.identity.name);
  diff.set_config_path(client.identity.config_path);
  const Style style = StyleOf(*globals);
  const std::string text = globals->output == "json" ? ToJson(diff) : RenderDiff(diff, style);
  std::fputs(text.c_str(), stdout);
  const bool said_below = !outcome.error().empty();
  if (globals->output == "text" && !globals->quiet && !diff.standing().empty() && !said_below) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s\n", OneLine(diff.standing(), style.utf8).c_str());
  }
  if (diff.differences_size() > 0 || diff.asks_size() > 0) globals->exit_status = kDiffers;
  // What could be looked at was told all the same.
  if (!outcome.error().empty()) return Trouble(globals, outcome.error());
  if (outcome.failed()) Trouble(globals, "not all of the machine could be looked at");
}

}  // namespace

void AddDiffCommand(CLI::App* app, Globals* globals) {
  app->add_subcommand("diff",
                      "what differs between the machine and its file, and what bringing it there "
                      "costs; changes nothing. Exit status: 0 nothing, 1 something, 2 trouble")
      ->callback([globals] { ShowDiff(globals); });
}

}  // namespace rum
