#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "agent-api/call_deadline.h"
#include "cli/apply_stream.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/full_screen.h"
#include "cli/json_text.h"
#include "cli/stats_text.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

constexpr std::chrono::milliseconds kBetweenLooks{2000};
// The controller gives a libvirt that hangs 5 s.
constexpr std::chrono::milliseconds kMostForALook{30000};

// False: said why.
bool AskStats(MachineClient* client, const control::StatsRequest& request, Globals* globals,
              control::StatsReply* reply) {
  for (int attempt = 0;; ++attempt) {
    grpc::ClientContext context;
    context.set_deadline(After(kMostForALook));
    const grpc::Status called = client->stub->Stats(&context, request, reply);
    if (called.ok()) return true;
    if (!IsLost(called) || attempt == 2) return Fail(globals, WhyItFailed(called)), false;
    auto stub = ConnectController(true);
    if (!stub.ok()) return Fail(globals, std::string(stub.status().message())), false;
    client->stub = *std::move(stub);
  }
}

void Print(const control::StatsReply& stats, bool stream, const Globals& globals) {
  if (globals.output == "json") {
    std::fputs((stream ? ToJsonLine(stats) : ToJson(stats)).c_str(), stdout);
    return;
  }
  const std::string text = RenderStats(stats, StyleOf(globals));
  if (stream && CanRedraw(globals)) return DrawScreen(text, globals);
  std::fputs((text + (stream ? "\n" : "")).c_str(), stdout);
}

void Stats(bool one, bool watch, Globals* globals) {
  MachineClient client;
  control::StatsRequest request;
  if (one) {
    if (!ConnectToKnown(globals, &client)) return;
    request.set_config_path(client.identity.config_path);
  } else {
    auto stub = ConnectController(true);
    if (!stub.ok()) return Fail(globals, std::string(stub.status().message()));
    client.stub = *std::move(stub);
  }
  control::StatsReply before;
  while (std::ferror(stdout) == 0) {
    control::StatsReply now;
    if (!AskStats(&client, request, globals, &now)) return;
    AddRates(before, &now);
    Print(now, watch, *globals);
    if (!watch) return;
    std::fflush(stdout);
    before = std::move(now);
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

}  // namespace

void AddStatsCommand(CLI::App* app, Globals* globals) {
  const auto watch = std::make_shared<bool>(false);
  CLI::App* stats = app->add_subcommand(
      "stats",
      "what your machines use of this host, or the one of -m or -c: CPU, memory, disks, "
      "bytes of cards and forwards");
  stats->add_flag("-w,--watch", *watch, "go on, each 2 s, with rates");
  const CLI::Option* file = app->get_option("--config");
  stats->callback([watch, file, globals] {
    Stats(file->count() > 0 || !globals->machine.empty(), *watch, globals);
  });
}

}  // namespace rum
