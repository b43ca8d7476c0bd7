#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/agent.pb.h"
#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "controller/service/utf8.h"

namespace rum {
namespace {

using Stream = grpc::ClientReaderWriter<control::ExecMessage, control::ExecMessage>;

struct ExecFlags {
  bool tty = false;
  std::string user;
  std::string cwd;
  std::vector<std::string> env;
};

// The terminal passes every key on, and is put back at the end.
class RawTerminal {
 public:
  explicit RawTerminal(bool wanted) : active_(wanted && tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!active_) return;
    termios raw = before_;
    cfmakeraw(&raw);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  ~RawTerminal() {
    if (active_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool active_;
};

void SetWindow(agent::ExecStart* start) {
  winsize size{};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) size.ws_row = 24, size.ws_col = 80;
  start->set_rows(size.ws_row);
  start->set_columns(size.ws_col);
}

bool Send(Stream* stream, const agent::ExecInput& input, const std::string& config_path = "") {
  control::ExecMessage message;
  message.set_config_path(config_path);
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

// Passes standard input (if any) and signals on until `done` is readable.
void PassInput(Stream* stream, int done, int signals, const agent::ExecStart& start) {
  std::string buffer(32 * 1024, '\0');
  pollfd fds[3] = {
      {start.no_input() ? -1 : STDIN_FILENO, POLLIN, 0}, {signals, POLLIN, 0}, {done, POLLIN, 0}};
  while (fds[2].revents == 0) {
    if (poll(fds, 3, -1) < 0) continue;
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
      if (n <= 0) input.set_close_input(true), fds[0].fd = -1;
      Send(stream, input);
    }
  }
  stream->WritesDone();
}

void WriteAll(int fd, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

// Shows output until the command has ended; its exit status, or -1.
int ShowOutput(Stream* stream) {
  control::ExecMessage message;
  agent::ExecOutput output;
  while (stream->Read(&message)) {
    if (!output.ParseFromString(message.agent_message())) break;
    if (output.has_standard_output()) WriteAll(STDOUT_FILENO, output.standard_output());
    if (output.has_standard_error()) WriteAll(STDERR_FILENO, output.standard_error());
    if (output.has_exit_status()) return output.exit_status();
    if (output.has_signal()) return 128 + output.signal();
  }
  return -1;
}

// The guest gets words as text. Empty: they all are.
std::string NotUtf8(const ExecFlags& flags, const std::vector<std::string>& argv) {
  std::vector<std::string> words = argv;
  words.insert(words.end(), flags.env.begin(), flags.env.end());
  words.insert(words.end(), {flags.user, flags.cwd});
  for (const std::string& word : words) {
    if (!IsUtf8(word)) return "a word of the command is not UTF-8: " + word;
  }
  return "";
}

void Exec(const ExecFlags& flags, const std::vector<std::string>& argv, Globals* globals) {
  sigset_t forwarded;
  sigemptyset(&forwarded);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH})
    sigaddset(&forwarded, signal);
  pthread_sigmask(SIG_BLOCK, &forwarded, nullptr);  // before gRPC makes threads
  const std::string problem = NotUtf8(flags, argv);
  if (!problem.empty()) return Fail(globals, problem);
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  agent::ExecInput first;
  agent::ExecStart* start = first.mutable_start();
  for (const std::string& word : argv) start->add_argv(word);
  start->set_pty(flags.tty);
  start->set_no_input(!flags.tty && InputHasEnded());
  if (flags.tty) SetWindow(start);
  start->set_user(flags.user);
  start->set_cwd(flags.cwd);
  for (const std::string& line : flags.env) {
    const size_t equals = line.find('=');
    (*start->mutable_env())[line.substr(0, equals)] =
        equals == std::string::npos ? "" : line.substr(equals + 1);
  }
  grpc::ClientContext context;
  const auto stream = client.stub->Exec(&context);
  const int signals = signalfd(-1, &forwarded, SFD_CLOEXEC);
  const int done = eventfd(0, EFD_CLOEXEC);
  int exit_status = -1;
  {
    const RawTerminal raw(flags.tty);
    Send(stream.get(), first, client.identity.config_path);
    std::thread input([&] { PassInput(stream.get(), done, signals, *start); });
    exit_status = ShowOutput(stream.get());
    const uint64_t one = 1;
    WriteAll(done, std::string(reinterpret_cast<const char*>(&one), sizeof one));
    input.join();
  }
  if (exit_status >= 0) {
    globals->exit_status = exit_status;
    return;  // the stream's own end has nothing more to say
  }
  const grpc::Status status = stream->Finish();
  Fail(globals, status.ok() ? "the command ended without a status" : status.error_message());
}

}  // namespace

void AddExecCommand(CLI::App* app, Globals* globals) {
  const auto flags = std::make_shared<ExecFlags>();
  CLI::App* exec = app->add_subcommand(
      "exec", "run a command in the machine: rum exec [OPTIONS] [--] COMMAND...");
  exec->add_flag("-t,--tty", flags->tty, "with a terminal");
  exec->add_option("--user", flags->user, "as this user (root otherwise)");
  exec->add_option("--cwd", flags->cwd,
                   "in this folder of the guest (default: the target of the default mount)");
  exec->add_option("--env", flags->env, "NAME=VALUE; may stand more than once");
  exec->callback([flags, globals] {
    if (globals->command.empty()) throw CLI::RequiredError("COMMAND");
    Exec(*flags, globals->command, globals);
  });
}

}  // namespace rum
