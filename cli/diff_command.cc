#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
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

// The command that brings most of it; empty: what stands in the lines.
std::string WhatBringsIt(const reports::DiffReport& diff) {
  const char* command = "";
  for (const reports::Difference& difference : diff.differences()) {
    if (difference.effect() == "restart") return "apply --restart";
    if (difference.effect() == "live") command = "apply";
  }
  return command;
}

// To whom it is told: what is printed may be read by a program.
void SayBelow(const reports::DiffReport& diff, const Globals& globals) {
  std::string text = diff.standing();
  if (const std::string command = WhatBringsIt(diff); text.empty() && !command.empty())
    text = absl::StrCat("Next: `", ToType(globals.file, globals.machine, command), "`");
  if (text.empty()) return;
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", OneLine(text, StyleOf(globals).utf8).c_str());
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
  const std::string text =
      globals->output == "json" ? ToJson(diff) : RenderDiff(diff, StyleOf(*globals));
  std::fputs(text.c_str(), stdout);
  const bool said_below = !outcome.error().empty();
  if (globals->output == "text" && !globals->quiet && !said_below) SayBelow(diff, *globals);
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
