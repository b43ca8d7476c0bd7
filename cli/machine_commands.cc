#include <chrono>
#include <cstdio>
#include <memory>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/render.h"

namespace rum {
namespace {

void Status(bool exit_code, Globals* globals) {
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  MachineStatus status;
  const grpc::Status called = AskStatus(&client, &status);
  if (!called.ok()) return Fail(globals, called.error_message());
  if (globals->output == "json") {
    std::fputs(ToJson(status).c_str(), stdout);
  } else {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    std::fputs(
        RenderStatus(status, std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
                     StyleOf(globals->color))
            .c_str(),
        stdout);
  }
  if (exit_code) globals->exit_status = ExitCode(status);
}

void Restart(Globals* globals) {
  MachineClient client;
  if (!ConnectToKnown(globals, &client) || !RunDown(client, false, globals)) return;
  control::ApplyRequest request;
  request.set_config_path(client.identity.config_path);
  request.set_up(true);
  control::ApplyReport report;
  RunApply(request, client, globals, &report);
}

void Down(bool destroy, Globals* globals) {
  MachineClient client;
  if (ConnectToKnown(globals, &client)) RunDown(client, destroy, globals);
}

}  // namespace

void AddMachineCommands(CLI::App* app, Globals* globals) {
  const auto exit_code = std::make_shared<bool>(false);
  CLI::App* status = app->add_subcommand(
      "status", "what holds, what drifted, what waits, and why; changes nothing");
  status->add_flag("--exit-code", *exit_code,
                   "4: live changes pending; 5: restart or recreate needed; 6: not running");
  status->callback([exit_code, globals] { Status(*exit_code, globals); });
  app->add_subcommand("down", "shut the machine down: ACPI, and after 30 s by force")
      ->callback([globals] { Down(false, globals); });
  app->add_subcommand("restart", "down, then up")->callback([globals] { Restart(globals); });
  app->add_subcommand("destroy", "remove the machine and its disks, and say what was removed")
      ->callback([globals] { Down(true, globals); });
}

}  // namespace rum
