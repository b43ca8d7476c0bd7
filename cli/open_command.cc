#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/forward_url.h"
#include "cli/json_text.h"
#include "cli/render.h"
#include "cli/reports.pb.h"
#include "cli/terminal_text.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

void PrintJson(const std::string& url, const ForwardFacts& forward) {
  reports::OpenReport report;
  report.set_url(url);
  control::ForwardStats* told = report.mutable_forward();
  told->set_bind(forward.bind());
  told->set_host(forward.host());
  told->set_guest(forward.guest());
  told->set_open_connections(forward.open_connections());
  told->set_bytes_to_guest(forward.bytes_to_guest());
  told->set_bytes_to_host(forward.bytes_to_host());
  std::fputs(ToJson(report).c_str(), stdout);
}

// Becomes the browser: one in the terminal is to have it, and its exit status is ours.
void Show(const std::string& url, Globals* globals) {
  const BrowserEnvironment here{std::getenv("BROWSER"), std::getenv("DISPLAY"),
                                std::getenv("WAYLAND_DISPLAY"), std::getenv("PATH")};
  std::vector<std::string> words = BrowserWords(url, here);
  std::printf("%s\n", url.c_str());
  if (words.empty()) {
    if (!globals->quiet)
      std::fputs("no browser here: there is no display, or no xdg-open; BROWSER names one\n",
                 stderr);
    return;
  }
  std::fflush(stdout);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  Fail(globals, words[0] + ": " + std::strerror(errno));
}

// Its forwards listen then, whether the guest answers already or not.
bool IsOn(MachineStatus::Phase phase) {
  return phase == MachineStatus::RUNNING || phase == MachineStatus::STARTING ||
         phase == MachineStatus::UNREACHABLE;
}

void Open(const std::string& port, bool print, Globals* globals) {
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  MachineStatus status;
  const grpc::Status called = AskStatus(&client, &status);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  if (!IsOn(status.phase())) {
    return Fail(globals,
                client.identity.name + " is " + PhaseText(status.phase()) + ": `rum up` starts it");
  }
  std::vector<ForwardFacts> forwards;
  for (const Item& item : status.items()) {
    if (item.has_forward()) forwards.push_back(item.forward());
  }
  const absl::StatusOr<ForwardFacts> forward = PickForward(forwards, port);
  if (!forward.ok()) return Fail(globals, std::string(forward.status().message()));
  const absl::StatusOr<std::string> url = UrlOf(*forward);
  if (!url.ok()) return Fail(globals, std::string(url.status().message()));
  if (forward->health() == ForwardFacts::DOWN && !globals->quiet) {
    std::fprintf(stderr, "nothing answers yet at port %u of the guest\n", forward->guest());
  }
  if (globals->output == "json") return PrintJson(*url, *forward);
  if (print) {
    std::printf("%s\n", url->c_str());
  } else {
    Show(*url, globals);
  }
}

}  // namespace

void AddOpenCommand(CLI::App* app, Globals* globals) {
  const auto port = std::make_shared<std::string>();
  const auto print = std::make_shared<bool>(false);
  CLI::App* open =
      app->add_subcommand("open", "a forward in a browser: BROWSER, else xdg-open; prints its URL");
  open->add_option("PORT", *port, "of the host or the guest, where there are several forwards");
  open->add_flag("--print", *print, "only print the URL");
  open->callback([port, print, globals] { Open(*port, *print, globals); });
}

}  // namespace rum
