#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/apply_stream.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/doctor_text.h"
#include "cli/host_cures.h"
#include "cli/host_gather.h"
#include "cli/host_judgement.h"
#include "cli/json_text.h"
#include "cli/list_text.h"
#include "cli/render.h"
#include "controller/service/call_status.h"
#include "controller/service/own_socket.h"
#include "state/identity.h"
#include "state/state_store.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

// Without starting one.
void AskRunningController(ControllerFacts* facts) {
  const std::string path = ControllerSocketPath();
  if (absl::IsNotFound(JudgeSocket(path))) return;
  auto stub = ConnectController(false);
  if (!stub.ok()) {
    const std::string why(stub.status().message());
    if (absl::StrContains(why, "no controller runs")) return;
    facts->state = ControllerFacts::State::kSilent;
    facts->why = why;
    return;
  }
  grpc::ClientContext context;
  control::InfoReply info;
  const grpc::Status called = (*stub)->Info(&context, control::InfoRequest(), &info);
  (void)stub->release();  // see MachineClient
  facts->state = called.ok() ? ControllerFacts::State::kRuns : ControllerFacts::State::kSilent;
  if (!called.ok()) facts->why = WhyItFailed(called);
  facts->version = info.version();
  facts->outdated = info.outdated();
}

// The libvirt that the file here names; empty: none, or there is no file.
std::string UriOfFile(const std::string& file) {
  const auto identity = IdentityOf(file);
  if (!identity.ok() || access(identity->config_path.c_str(), R_OK) != 0) return "";
  const ParsedConfig parsed = ReadTomlFile(identity->config_path);
  return parsed.problems.empty() ? parsed.config.advanced().libvirt_uri() : "";
}

// The machine of -m, as records have it.
absl::StatusOr<control::ListedMachine> RecordedMachine(const std::string& said) {
  const auto records = ReadRecords(StateDir());
  if (!records.ok()) return records.status();
  return PickMachine(ListOfRecords(*records, ""), said);
}

void LookAtMachine(const control::ListedMachine& machine, doctor::Report* report) {
  MachineClient client;
  auto stub = ConnectController(true);
  if (!stub.ok()) {
    AddFinding(Ails("machine " + machine.name(), Finding::BROKEN,
                    std::string(stub.status().message()), "it cannot be asked for", {}),
               report);
    return;
  }
  client.stub = *std::move(stub);
  client.identity = {machine.config_path(), machine.name(), machine.id()};
  MachineStatus status;
  const grpc::Status called = AskStatus(&client, &status);
  if (called.ok()) return AddMachineFindings(status, machine.file_gone(), report);
  AddFinding(Ails("machine " + machine.name(), Finding::BROKEN, WhyItFailed(called), "", {}),
             report);
}

void Doctor(Globals* globals) {
  control::ListedMachine machine;
  if (!globals->machine.empty()) {
    auto recorded = RecordedMachine(globals->machine);
    if (!recorded.ok()) return Fail(globals, std::string(recorded.status().message()));
    machine = *std::move(recorded);
  }
  // Its processes are started before gRPC has threads.
  HostFacts facts =
      GatherHostFacts(globals->machine.empty() ? UriOfFile(globals->file) : machine.libvirt_uri());
  AskRunningController(&facts.controller);
  doctor::Report report = JudgeHost(facts);
  if (!globals->machine.empty()) LookAtMachine(machine, &report);
  if (globals->output == "json") {
    std::fputs(ToJson(report).c_str(), stdout);
  } else {
    std::fputs(RenderReport(report, globals->quiet, StyleOf(*globals)).c_str(), stdout);
  }
  globals->exit_status = ExitCode(report);
}

}  // namespace

void AddDoctorCommand(CLI::App* app, Globals* globals) {
  app->add_subcommand("doctor",
                      "look at this host, and with -m at a machine: what is missing, and the "
                      "command that cures it")
      ->callback([globals] { Doctor(globals); });
}

}  // namespace rum
