#include <cstdio>
#include <memory>
#include <string>

#include "cli/apply_stream.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/list_text.h"
#include "cli/terminal_text.h"
#include "controller/service/call_status.h"
#include "state/identity.h"

namespace rum {
namespace {

absl::StatusOr<control::ListMachinesReply> AskController() {
  auto stub = ConnectController(true);
  if (!stub.ok()) return stub.status();
  grpc::ClientContext context;
  control::ListMachinesReply machines;
  const grpc::Status called =
      (*stub)->ListMachines(&context, control::ListMachinesRequest(), &machines);
  (void)stub->release();  // see MachineClient
  if (called.ok()) return machines;
  return absl::UnavailableError(WhyItFailed(called));
}

void ListMachines(Globals* globals) {
  if (!globals->machine.empty())
    return Fail(globals, "list shows all machines; `rum status -m` says more of one");
  absl::StatusOr<control::ListMachinesReply> machines = AskController();
  if (!machines.ok()) {
    const std::string why(machines.status().message());
    const auto records = ReadRecords(StateDir());
    if (!records.ok()) return Fail(globals, std::string(records.status().message()));
    machines = ListOfRecords(*records, why);
  }
  if (globals->output == "json") {
    std::fputs(ToJson(*machines).c_str(), stdout);
  } else if (globals->quiet) {
    for (const control::ListedMachine& machine : machines->machines())
      std::printf("%s\n", machine.id().c_str());
  } else {
    std::fputs(RenderMachines(*machines, StyleOf(*globals)).c_str(), stdout);
  }
}

void Adopt(const std::string& word, Globals* globals) {
  // Of -m: the machine that is to come here.
  const std::string said = word.empty() ? globals->machine : word;
  globals->machine.clear();
  MachineClient here;
  if (!Connect(globals, &here)) return;
  control::AdoptRequest request;
  request.set_config_path(here.identity.config_path);
  if (!said.empty()) {
    Globals named = *globals;
    named.machine = said;
    MachineClient machine;
    if (!Connect(&named, &machine)) {
      globals->exit_status = named.exit_status;
      return;
    }
    request.set_machine_id(machine.identity.id);
  }
  grpc::ClientContext context;
  control::AdoptReply reply;
  const grpc::Status called = here.stub->Adopt(&context, request, &reply);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  if (globals->output == "json") {
    std::fputs(ToJson(reply).c_str(), stdout);
    return;
  }
  ActionResult line;
  line.set_ok(true);
  line.set_message("Adopted " + reply.machine().name() + " (" + reply.machine().id() +
                   "): its file is " + reply.machine().config_path() + ", it was " + reply.from());
  std::fputs(RenderResult(line, StyleOf(*globals)).c_str(), stdout);
}

}  // namespace

void AddListCommands(CLI::App* app, Globals* globals) {
  app->add_subcommand("list", "all your machines, wherever their files are; -q: their ids alone")
      ->callback([globals] { ListMachines(globals); });
  const auto id = std::make_shared<std::string>();
  CLI::App* adopt = app->add_subcommand(
      "adopt", "take over the machine whose folder was moved: this file is its file from now on");
  adopt->add_option("ID", *id, "which, where several may be meant or none looks like it");
  adopt->callback([id, globals] { Adopt(*id, globals); });
}

}  // namespace rum
