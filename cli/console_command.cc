#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/passed_signals.h"
#include "cli/raw_terminal.h"
#include "cli/render.h"
#include "cli/terminal_text.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

using ConsoleStream = grpc::ClientReaderWriter<control::DialMessage, control::DialMessage>;

constexpr char kLeave = '\x1D';  // Ctrl+]

// Ended by: the person, with a signal or without (0), or by the other end (-1).
constexpr int kLeft = 0;
constexpr int kEnded = -1;

// Passes keys on until one of those. What comes from a file or a pipe has no key that leaves, and
// its end is not the end: what the machine says goes on.
int PassKeys(bool terminal, int signals, int ended, ConsoleStream* stream) {
  std::string buffer(4096, '\0');
  pollfd fds[3] = {{STDIN_FILENO, POLLIN, 0}, {signals, POLLIN, 0}, {ended, POLLIN, 0}};
  for (;;) {
    if (poll(fds, 3, -1) < 0) continue;
    if (fds[2].revents != 0) return kEnded;
    signalfd_siginfo info{};
    if (fds[1].revents != 0 && read(signals, &info, sizeof info) == sizeof info)
      return static_cast<int>(info.ssi_signo);
    if (fds[0].revents == 0) continue;
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 && terminal) return kLeft;  // it was hung up
    if (n <= 0) fds[0].fd = -1;
    if (n <= 0) continue;
    std::string keys = buffer.substr(0, static_cast<size_t>(n));
    const size_t leave = terminal ? keys.find(kLeave) : std::string::npos;
    control::DialMessage message;
    message.set_data(keys.substr(0, leave));
    if (!message.data().empty() && !stream->Write(message)) fds[0].fd = -1;
    if (leave != std::string::npos) return kLeft;
  }
}

// Shows what the machine says until it ends; then wakes `ended`.
void ShowConsole(ConsoleStream* stream, int ended, std::atomic<int>* write_error) {
  control::DialMessage message;
  while (stream->Read(&message) && !message.end()) {
    if (WriteAll(STDOUT_FILENO, message.data())) continue;
    *write_error = errno;
    break;
  }
  eventfd_write(ended, 1);
}

// False: it did not open; said so. Until it is there a signal ends us as any program.
bool OpenConsole(bool force, int signals, Globals* globals, MachineClient* client,
                 grpc::ClientContext* context, std::unique_ptr<ConsoleStream>* stream) {
  const EarlySignals early(signals);
  if (!ConnectToKnown(globals, client)) return false;
  *stream = client->stub->Console(context);
  control::DialMessage message;
  message.set_config_path(client->identity.config_path);
  message.set_force(force);
  (*stream)->Write(message);
  if ((*stream)->Read(&message)) return true;
  const grpc::Status why = (*stream)->Finish();
  const bool taken = why.error_code() == grpc::StatusCode::ALREADY_EXISTS;
  Fail(globals, (why.ok() ? "the controller went away" : WhyItFailed(why)) +
                    (taken ? "; `rum console --force` takes it over" : ""));
  return false;
}

// What it said, without a place at it.
void ShowEnd(uint32_t lines, Globals* globals) {
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  grpc::ClientContext context;
  const auto stream = client.stub->Console(&context);
  control::DialMessage message;
  message.set_config_path(client.identity.config_path);
  message.set_last_lines(lines);
  stream->Write(message);
  stream->WritesDone();
  message.clear_data();
  const bool told = stream->Read(&message);
  const grpc::Status status = stream->Finish();
  if (!status.ok() || !told) return Fail(globals, WhyItFailed(status));
  std::fputs(Lines(message.data(), StyleOf(*globals).utf8).c_str(), stdout);
}

void Console(bool force, Globals* globals) {
  const int signals = HoldSignals({SIGINT, SIGTERM, SIGHUP, SIGQUIT});
  MachineClient client;
  grpc::ClientContext context;
  std::unique_ptr<ConsoleStream> stream;
  if (!OpenConsole(force, signals, globals, &client, &context, &stream)) return;
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (!globals->quiet) {
    std::fprintf(stderr, "serial console of %s: %s\n", client.identity.name.c_str(),
                 terminal ? "Enter shows its prompt, Ctrl+] leaves" : "Ctrl+C leaves");
  }
  const int ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::atomic<int> write_error = 0;
  std::optional<RawTerminal> raw(std::in_place, terminal);
  std::thread output([&] { ShowConsole(stream.get(), ended, &write_error); });
  const int why = PassKeys(terminal, signals, ended, stream.get());
  raw.reset();
  context.TryCancel();
  output.join();
  close(ended);
  close(signals);
  if (terminal && !globals->quiet) std::fputs("\n", stderr);
  if (why > 0) globals->exit_status = 128 + why;
  if (why != kEnded) return;
  if (write_error == EPIPE) {
    globals->exit_status = 128 + SIGPIPE;
  } else if (write_error != 0) {
    Fail(globals, std::string("standard output: ") + std::strerror(write_error));
  } else {
    Fail(globals, "the console ended: " + client.identity.name +
                      " went off, or somebody took its console over (`rum status` tells)");
  }
}

}  // namespace

void AddConsoleCommand(CLI::App* app, Globals* globals) {
  const auto force = std::make_shared<bool>(false);
  CLI::App* console = app->add_subcommand(
      "console",
      "the machine's serial console; works without an agent and a network; Ctrl+] leaves");
  console->add_flag("--force", *force, "also where somebody else is at it, who is sent away");
  const auto last = std::make_shared<uint32_t>(0);
  console
      ->add_option("--last", *last, "only print the last N lines of what it said since the start")
      ->check(CLI::Range(1, 100000));
  console->callback([force, last, globals] {
    if (*last > 0) {
      ShowEnd(*last, globals);
    } else {
      Console(*force, globals);
    }
  });
}

}  // namespace rum
