#include <cstdio>
#include <memory>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/render.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

struct ProvisionFlags {
  bool system = false;
  bool boot = false;
  bool cancel = false;
};

void Cancel(const MachineClient& client, Globals* globals) {
  control::MachineRequest request;
  request.set_config_path(client.identity.config_path);
  grpc::ClientContext context;
  control::RunsReply told;
  const grpc::Status status = client.stub->CancelRuns(&context, request, &told);
  if (!status.ok()) return Fail(globals, WhyItFailed(status));
  if (globals->output == "json") {
    std::fputs(ToJson(told).c_str(), stdout);
    return;
  }
  if (told.runs().empty()) std::puts("no script is running");
  for (const agent::ScriptRun& run : told.runs()) {
    ActionResult line;
    line.set_ok(true);
    line.set_message("Told the " + run.kind() + " provisioning script to end");
    std::fputs(RenderResult(line, StyleOf(*globals)).c_str(), stdout);
  }
}

void RunAgain(const ProvisionFlags& flags, Globals* globals) {
  MachineClient client;
  if (!Connect(globals, &client)) return;
  if (flags.cancel) return Cancel(client, globals);
  control::ApplyRequest request;
  request.set_config_path(client.identity.config_path);
  const bool both = !flags.system && !flags.boot;
  request.set_rerun_system(flags.system || both);
  request.set_rerun_boot(flags.boot || both);
  control::ApplyReport report;
  RunApply(request, client, globals, &report);
}

}  // namespace

void AddProvisionCommand(CLI::App* app, Globals* globals) {
  const auto flags = std::make_shared<ProvisionFlags>();
  CLI::App* provision = app->add_subcommand(
      "provision", "apply, and run the provisioning scripts whether they have run or not");
  provision->add_flag("--system", flags->system, "the system script (without options: both)");
  provision->add_flag("--boot", flags->boot, "the boot script");
  provision->add_flag("--cancel", flags->cancel, "end the scripts that run now instead");
  provision->callback([flags, globals] { RunAgain(*flags, globals); });
}

}  // namespace rum
