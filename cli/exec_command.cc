#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/agent.pb.h"
#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/passed_signals.h"
#include "cli/raw_terminal.h"
#include "controller/base/utf8.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

using Stream = grpc::ClientReaderWriter<control::ExecMessage, control::ExecMessage>;

// How much input may be under way that the command has not taken; see ExecStart.input_window.
constexpr uint32_t kInputWindow = 256 * 1024;
constexpr int kEndedByPipe = 128 + SIGPIPE;

struct ExecFlags {
  bool tty = false;
  bool no_input = false;
  std::string user;
  std::string cwd;
  std::vector<std::string> env;
  double timeout_s = 0;
};

void SetWindow(agent::ExecStart* start) {
  winsize size{};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) size.ws_row = 24, size.ws_col = 80;
  start->set_rows(size.ws_row);
  start->set_columns(size.ws_col);
}

// `message`: what stands around it, in the first one.
bool Send(Stream* stream, const agent::ExecInput& input, control::ExecMessage message = {}) {
  input.SerializeToString(message.mutable_agent_message());
  return stream->Write(message);
}

// Whether nothing can come from standard input; told at the start, it saves the guest a message.
bool InputHasEnded() {
  struct stat file {};
  if (fstat(STDIN_FILENO, &file) != 0) return true;
  if (S_ISCHR(file.st_mode) && file.st_rdev == makedev(1, 3)) return true;  // /dev/null
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) == 1 && (input.revents & POLLIN) == 0;
}

// What the command has told of itself, for the thread that passes input on.
struct Told {
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::atomic<uint64_t> input_taken = 0;
  std::atomic<bool> ended = false;
};

// Passes standard input (if any) and signals on until the command has ended.
void PassInput(Stream* stream, Told* told, int signals, const agent::ExecStart& start) {
  std::string buffer(32 * 1024, '\0');
  uint64_t sent = 0;
  int in = start.no_input() ? -1 : STDIN_FILENO;
  while (!told->ended) {
    const bool room = sent - told->input_taken < kInputWindow;
    pollfd fds[3] = {{room ? in : -1, POLLIN, 0}, {signals, POLLIN, 0}, {told->wake, POLLIN, 0}};
    if (poll(fds, 3, -1) < 0) continue;
    uint64_t ignored = 0;
    if (fds[2].revents != 0) (void)!read(told->wake, &ignored, sizeof ignored);
    agent::ExecInput input;
    if (fds[1].revents != 0) {
      signalfd_siginfo info{};
      if (read(signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGWINCH) {
          if (start.pty()) SetWindow(input.mutable_start());
        } else {
          input.set_signal(static_cast<int>(info.ssi_signo));
        }
        if (input.input_case() != agent::ExecInput::INPUT_NOT_SET) Send(stream, input);
      }
    }
    if (fds[0].revents != 0) {
      const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n > 0) input.set_standard_input(buffer.data(), static_cast<size_t>(n));
      if (n > 0) sent += static_cast<uint64_t>(n);
      if (n <= 0) input.set_close_input(true), in = -1;
      Send(stream, input);
    }
  }
  stream->WritesDone();
}

// Shows output until the command has ended; its exit status, or -1.
int ShowOutput(Stream* stream, Told* told) {
  control::ExecMessage message;
  agent::ExecOutput output;
  while (stream->Read(&message)) {
    if (!output.ParseFromString(message.agent_message())) break;
    if (output.has_standard_output() && !WriteAll(STDOUT_FILENO, output.standard_output())) {
      if (errno == EPIPE) return kEndedByPipe;  // as a command here would
      std::fprintf(stderr, "rum: standard output: %s\n", std::strerror(errno));
      return 1;
    }
    if (output.has_standard_error()) WriteAll(STDERR_FILENO, output.standard_error());
    if (output.has_exit_status()) return output.exit_status();
    if (output.has_signal()) return 128 + output.signal();
    if (output.has_input_taken()) {
      told->input_taken = output.input_taken();
      eventfd_write(told->wake, 1);
    }
  }
  return -1;
}

// "": the command can be told to the guest.
std::string ProblemOf(const ExecFlags& flags) {
  if (!IsUtf8(flags.user)) return "--user: not UTF-8: " + flags.user;
  for (const std::string& line : flags.env) {
    const std::string name = line.substr(0, line.find('='));
    if (!IsUtf8(name)) return "--env: a name is not UTF-8: " + line;
  }
  return "";
}

// A word that no shell would take for what it means is a slip of the hand ("A =1", "=1").
void CheckNames(const std::vector<std::string>& env) {
  for (const std::string& line : env) {
    const std::string name = line.substr(0, line.find('='));
    const bool odd = std::any_of(name.begin(), name.end(), [](char c) {
      return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
    });
    if (name.empty() || odd) {
      throw CLI::ValidationError("--env " + line +
                                 ": expected NAME=VALUE, or NAME for the value that it has here");
    }
  }
}

// As docker's: NAME alone has the value that it has here; what is not set here, is not there.
void SetEnvironment(const std::vector<std::string>& env, agent::ExecStart* start) {
  for (const std::string& line : env) {
    const size_t equals = line.find('=');
    const std::string name = line.substr(0, equals);
    const char* here = equals == std::string::npos ? std::getenv(name.c_str()) : nullptr;
    if (equals != std::string::npos) {
      (*start->mutable_env())[name] = line.substr(equals + 1);
    } else if (here != nullptr) {
      (*start->mutable_env())[name] = here;
    } else {
      start->mutable_env()->erase(name);
    }
  }
}

void Fill(const ExecFlags& flags, const std::vector<std::string>& argv, agent::ExecStart* start) {
  for (const std::string& word : argv) start->add_argv(word);
  start->set_pty(flags.tty);
  start->set_no_input(flags.no_input || (!flags.tty && InputHasEnded()));
  start->set_input_window(kInputWindow);
  start->set_timeout_ms(static_cast<uint64_t>(std::ceil(flags.timeout_s * 1000)));
  start->set_user(flags.user);
  start->set_cwd(flags.cwd);
  const char* terminal = std::getenv("TERM");
  if (flags.tty && terminal != nullptr) (*start->mutable_env())["TERM"] = terminal;
  if (flags.tty) SetWindow(start);
  SetEnvironment(flags.env, start);
}

// The command from its start to its end, and ours with it. Returns when it has none: the stream's
// own end says why.
void Converse(const agent::ExecInput& first, const control::ExecMessage& around, int signals,
              Stream* stream) {
  Told told;
  std::optional<RawTerminal> raw(std::in_place, first.start().pty());
  Send(stream, first, around);
  std::thread input([&] { PassInput(stream, &told, signals, first.start()); });
  const int exit_status = ShowOutput(stream, &told);
  raw.reset();
  // Nothing is left to say. Our threads would have to wait for their turn on a CPU that the guest
  // may be using.
  if (exit_status >= 0) std::fflush(nullptr), _exit(exit_status);
  told.ended = true;
  eventfd_write(told.wake, 1);
  input.join();
  close(told.wake);
}

// `shell`: where that is to be a login shell; null: the command is run as it stands.
void Exec(const ExecFlags& flags, const std::vector<std::string>& argv,
          const control::ShellStart* shell, Globals* globals) {
  const int signals = HoldSignals({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH});
  const std::string problem = ProblemOf(flags);
  if (!problem.empty()) return Fail(globals, problem);
  MachineClient client;
  {
    const EarlySignals early(signals);
    if (!ConnectToKnown(globals, &client)) return;
  }
  control::ExecMessage around;
  around.set_config_path(client.identity.config_path);
  if (shell != nullptr) *around.mutable_shell() = *shell;
  agent::ExecInput first;
  Fill(flags, argv, first.mutable_start());
  grpc::ClientContext context;
  context.set_initial_metadata_corked(true);  // one message with the start
  const auto stream = client.stub->Exec(&context);
  Converse(first, around, signals, stream.get());
  const grpc::Status status = stream->Finish();
  Fail(globals, status.ok() ? "the command ended without a status" : WhyItFailed(status));
}

// With a terminal where there is one at both ends: what goes into a pipe or a file is not to have
// a terminal's line ends.
void Shell(ExecFlags flags, Globals* globals) {
  flags.tty = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  std::error_code error;
  control::ShellStart shell;
  const std::string here = std::filesystem::current_path(error);
  if (!error && IsUtf8(here)) shell.set_folder(here);
  Exec(flags, globals->command, &shell, globals);
}

}  // namespace

void AddShellCommand(CLI::App* app, Globals* globals) {
  const auto flags = std::make_shared<ExecFlags>();
  CLI::App* shell = app->add_subcommand(
      "shell",
      "your shell in the machine, through the agent: rum shell [OPTIONS] [--] [COMMAND...]");
  shell->add_option("--user", flags->user, "as this user (default: ssh.user)");
  shell->add_option(
      "--cwd", flags->cwd,
      "in this folder of the guest (default: where it has the folder that you are in, "
      "else the target of the default mount, else home)");
  shell->callback([flags, globals] { Shell(*flags, globals); });
}

void AddExecCommand(CLI::App* app, Globals* globals) {
  const auto flags = std::make_shared<ExecFlags>();
  CLI::App* exec = app->add_subcommand(
      "exec", "run a command in the machine: rum exec [OPTIONS] [--] COMMAND...");
  CLI::Option* tty = exec->add_flag("-t,--tty", flags->tty, "with a terminal");
  exec->add_flag("-n,--no-input", flags->no_input,
                 "leave standard input alone, as in a loop that reads it (ssh's -n)")
      ->excludes(tty);
  exec->add_option("--user", flags->user, "as this user (root otherwise)");
  exec->add_option("--cwd", flags->cwd,
                   "in this folder of the guest (default: the target of the default mount)");
  exec->add_option("--env", flags->env,
                   "NAME=VALUE, or NAME for the value that it has here; may stand more than once");
  exec->add_option("--timeout", flags->timeout_s,
                   "end it after so many seconds, with exit status 124")
      ->check(CLI::PositiveNumber);
  exec->callback([flags, globals] {
    if (globals->command.empty()) throw CLI::RequiredError("COMMAND");
    CheckNames(flags->env);
    Exec(*flags, globals->command, nullptr, globals);
  });
}

}  // namespace rum
