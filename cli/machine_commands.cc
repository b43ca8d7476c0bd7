#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/one_of.h"
#include "cli/render.h"
#include "cli/watch.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

struct StatusFlags {
  bool exit_code = false;
  bool watch = false;
  std::string condition;              // --wait
  std::vector<std::string> machines;  // with --wait: these, by name or id
  double timeout_s = 30;
};

void Wait(const StatusFlags& flags, Globals* globals) {
  std::vector<std::string> names = flags.machines;
  if (names.empty()) names.push_back(globals->machine);  // or none: that of the file
  std::vector<std::unique_ptr<MachineClient>> clients;
  for (const std::string& name : names) {
    globals->machine = name;
    clients.push_back(std::make_unique<MachineClient>());
    if (!ConnectToKnown(globals, clients.back().get())) return;
  }
  const std::chrono::milliseconds timeout(static_cast<int64_t>(flags.timeout_s * 1000));
  WaitForCondition(flags.condition, timeout, &clients, globals);
}

void Status(const StatusFlags& flags, Globals* globals) {
  if (!flags.condition.empty()) return Wait(flags, globals);
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  if (flags.watch) return WatchStatus(&client, globals);
  MachineStatus status;
  const grpc::Status called = AskStatus(&client, &status);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  if (globals->output == "json") {
    std::fputs(ToJson(status).c_str(), stdout);
  } else {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    std::fputs(
        RenderStatus(status, std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
                     StyleOf(*globals))
            .c_str(),
        stdout);
  }
  if (flags.exit_code) globals->exit_status = ExitCode(status);
}

void Restart(Globals* globals) {
  MachineClient client;
  globals->json_lines = true;
  if (!ConnectToKnown(globals, &client) || !RunDown(client, {}, globals)) return;
  control::ApplyRequest request;
  request.set_config_path(client.identity.config_path);
  request.set_up(true);
  control::ApplyReport report;
  RunApply(request, client, globals, &report);
}

void Down(DownFlags flags, Globals* globals) {
  MachineClient client;
  if (ConnectToKnown(globals, &client)) RunDown(client, flags, globals);
}

}  // namespace

void AddMachineCommands(CLI::App* app, Globals* globals) {
  const auto flags = std::make_shared<StatusFlags>();
  CLI::App* status = app->add_subcommand(
      "status", "what holds, what drifted, what waits, and why; changes nothing");
  CLI::Option* exit_code = status->add_flag(
      "--exit-code", flags->exit_code,
      "4: live changes or your word pending; 5: restart or recreate needed; 6: not "
      "running");
  CLI::Option* watch =
      status->add_flag("-w,--watch", flags->watch, "go on, and show each change as it comes")
          ->excludes(exit_code);
  CLI::Option* wait =
      status
          ->add_option("--wait", flags->condition,
                       "until this holds for the file as it is now: Ready, Synced, ...")
          ->check(OneOf({"Ready", "Synced", "RestartRequired", "AgentConnected", "ConfigValid",
                         "Provisioned"}))
          ->excludes(watch)
          ->excludes(exit_code);
  status->add_option("--timeout", flags->timeout_s, "of --wait, in seconds")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->needs(wait);
  status->add_option("MACHINE", flags->machines, "with --wait: all of these, by names or ids")
      ->needs(wait);
  status->callback([flags, globals] { Status(*flags, globals); });
  const auto down_flags = std::make_shared<DownFlags>();
  CLI::App* down =
      app->add_subcommand("down", "shut the machine down: ACPI, and after 30 s by force");
  down->add_flag("--force", down_flags->force,
                 "also when the machine is another user's in the same libvirt");
  down->callback([down_flags, globals] { Down(*down_flags, globals); });
  app->add_subcommand("restart", "down, then up")->callback([globals] { Restart(globals); });
  const auto destroy_flags = std::make_shared<DownFlags>(DownFlags{true});
  CLI::App* destroy = app->add_subcommand(
      "destroy", "remove the machine and its disks, and say what was removed and what is kept");
  destroy->add_flag("--force", destroy_flags->force,
                    "also one with snapshots, without asking, or one that is another user's");
  destroy->callback([destroy_flags, globals] { Down(*destroy_flags, globals); });
}

}  // namespace rum
