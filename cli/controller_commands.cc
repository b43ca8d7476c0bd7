#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/reports.pb.h"
#include "cli/user_service.h"
#include "controller/service/call_status.h"
#include "controller/service/launch.h"

namespace rum {
namespace {

void Status(Globals* globals) {
  const auto stub = ConnectController(false);
  if (!stub.ok()) return Fail(globals, std::string(stub.status().message()));
  grpc::ClientContext context;
  control::InfoReply info;
  const grpc::Status called = (*stub)->Info(&context, control::InfoRequest(), &info);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  if (globals->output == "json") {
    std::fputs(ToJson(info).c_str(), stdout);
  } else {
    std::printf("controller running  pid %d  version %s%s  machines up: %d\n", info.pid(),
                info.version().c_str(), info.outdated() ? " (outdated)" : "", info.machines());
  }
}

// True: it was asked for as JSON.
bool PrintedJson(bool was_running, bool running, const Globals& globals) {
  if (globals.output != "json") return false;
  reports::ControllerReport report;
  report.set_was_running(was_running);
  report.set_running(running);
  std::fputs(ToJson(report).c_str(), stdout);
  return true;
}

void Stop(Globals* globals) {
  auto stub = ConnectController(false);
  if (absl::IsDeadlineExceeded(stub.status())) {
    const absl::Status ended = EndSilentController();
    if (!ended.ok()) return Fail(globals, std::string(ended.message()));
    if (!PrintedJson(true, false, *globals) && !globals->quiet)
      std::printf("controller did not answer and was killed; machines go on running\n");
    return;
  }
  if (!stub.ok()) {
    if (absl::IsPermissionDenied(stub.status()))
      return Fail(globals, std::string(stub.status().message()));
    if (!PrintedJson(false, false, *globals) && !globals->quiet)
      std::printf("no controller runs\n");
    return;
  }
  const absl::Status stopped = StopController(*std::move(stub));
  if (!stopped.ok()) return Fail(globals, std::string(stopped.message()));
  if (PrintedJson(true, false, *globals)) return;
  if (!globals->quiet) std::printf("controller stopped; machines go on running\n");
}

void RestartController(Globals* globals) {
  const bool was_running = ConnectController(false).ok();
  const absl::Status restarted = ReplaceController();
  if (!restarted.ok()) return Fail(globals, std::string(restarted.message()));
  if (PrintedJson(was_running, true, *globals)) return;
  if (!globals->quiet) std::printf("controller restarted; machines went on running\n");
}

void SaySteps(const absl::StatusOr<Steps>& steps, Globals* globals) {
  if (!steps.ok()) return Fail(globals, std::string(steps.status().message()));
  if (globals->output == "json") {
    reports::ServiceReport report;
    report.mutable_steps()->Assign(steps->begin(), steps->end());
    std::fputs(ToJson(report).c_str(), stdout);
    return;
  }
  for (const std::string& step : *steps) {
    if (!globals->quiet) std::printf("%s\n", step.c_str());
  }
}

void Metrics(Globals* globals) {
  const auto stub = ConnectController(false);
  if (!stub.ok()) return Fail(globals, std::string(stub.status().message()));
  grpc::ClientContext context;
  control::MetricsReply metrics;
  const grpc::Status called = (*stub)->Metrics(&context, control::MetricsRequest(), &metrics);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  std::fputs(metrics.text().c_str(), stdout);
}

}  // namespace

void AddControllerCommands(CLI::App* app, Globals* globals) {
  CLI::App* controller =
      app->add_subcommand("controller", "the background process that looks after the machines");
  controller->require_subcommand(1);
  const auto ready_fd = std::make_shared<int>(-1);
  CLI::App* run = controller->add_subcommand("run", "be the controller, in the foreground");
  run->add_option("--ready-fd", *ready_fd, "for those who start it: gets ok or an error")
      ->group("");
  const auto replace = std::make_shared<bool>(false);
  run->add_flag("--replace", *replace, "take the place of the one that runs, and its sockets");
  run->callback([ready_fd, replace, globals] {
    Fail(globals, std::string(ExecController(*ready_fd, *replace).message()));
  });
  controller->add_subcommand("status", "whether it runs")->callback([globals] { Status(globals); });
  controller->add_subcommand("stop", "stop it; machines go on running")->callback([globals] {
    Stop(globals);
  });
  controller
      ->add_subcommand("restart", "put a new one in its place; nobody who connects is refused")
      ->callback([globals] { RestartController(globals); });
  controller->add_subcommand("metrics", "its metrics, in Prometheus' text format")
      ->callback([globals] { Metrics(globals); });
  controller
      ->add_subcommand("enable",
                       "make it a service of systemd's user instance, which starts with your "
                       "session, and start it")
      ->callback([globals] { SaySteps(EnableService(), globals); });
  controller->add_subcommand("disable", "take that back")->callback([globals] {
    SaySteps(DisableService(), globals);
  });
  const auto program = std::make_shared<std::string>();
  const auto socket = std::make_shared<bool>(false);
  CLI::App* unit = controller->add_subcommand(
      "unit", "the unit file of that service, for who wants to put it there himself");
  unit->add_flag("--socket", *socket, "that of its socket instead");
  unit->add_option("--program", *program, "where rum is going to be; else where it is");
  unit->callback([program, socket] {
    std::fputs((*socket ? ControllerSocketUnit() : ControllerUnit(*program)).c_str(), stdout);
  });
}

}  // namespace rum
