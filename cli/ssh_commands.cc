#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/proxy_command.h"
#include "cli/reports.pb.h"
#include "cli/ssh_words.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

// What ssh needs to know, and how it connects.
struct SshTarget {
  MachineIdentity identity;
  control::SshReply machine;
  SshOptions options;
};

// False: failed, and said so.
bool AskSsh(Globals* globals, SshTarget* target) {
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return false;
  target->identity = client.identity;
  grpc::ClientContext context;
  control::MachineRequest request;
  request.set_config_path(client.identity.config_path);
  const grpc::Status status = client.stub->Ssh(&context, request, &target->machine);
  if (!status.ok()) return Fail(globals, WhyItFailed(status)), false;
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", error);
  auto found = OptionsFor(target->machine, {self, "-m", client.identity.id, "proxy", "22"});
  if (!found.ok()) return Fail(globals, std::string(found.status().message())), false;
  target->options = *std::move(found);
  return true;
}

void RunSsh(Globals* globals) {
  SshTarget target;
  if (!AskSsh(globals, &target)) return;
  const absl::StatusOr<std::string> program =
      SshProgram(target.machine.command(), std::getenv("RUM_SSH"));
  if (!program.ok()) {
    return Fail(globals,
                target.identity.config_path + ": " + std::string(program.status().message()));
  }
  const std::string place = FindProgram(*program, std::getenv("PATH"));
  if (place.empty()) {
    return Fail(globals, *program + ": no such program in PATH; RUM_SSH names another one, " +
                             "without options");
  }
  std::vector<std::string> words = SshWords(*program, target.machine, target.options,
                                            globals->command, isatty(STDIN_FILENO) != 0);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  // By it ssh starts its ProxyCommand, which is quoted for a POSIX shell.
  setenv("SHELL", "/bin/sh", 1);
  execv(place.c_str(), argv.data());
  Fail(globals, place + ": " + std::strerror(errno));
}

void PrintConfig(const std::string& host, Globals* globals) {
  if (!host.empty() && !IsHostAlias(host)) {
    throw CLI::ValidationError("--host: a name of one host, without patterns and spaces: " + host);
  }
  SshTarget target;
  if (!AskSsh(globals, &target)) return;
  const std::string& name = host.empty() ? target.identity.name : host;
  if (globals->output == "json") {
    reports::SshConfigReport report;
    report.set_host(name);
    for (const auto& [option, value] : target.options) (*report.mutable_options())[option] = value;
    std::fputs(ToJson(report).c_str(), stdout);
    return;
  }
  std::fputs(SshConfig(name, target.options).c_str(), stdout);
}

}  // namespace

void AddSshCommands(CLI::App* app, Globals* globals) {
  app->add_subcommand(
         "ssh", "a shell by ssh, through the agent: rum ssh [--] [OPTION OF SSH or COMMAND]...")
      ->callback([globals] { RunSsh(globals); });
  const auto host = std::make_shared<std::string>();
  CLI::App* config = app->add_subcommand(
      "ssh-config", "the same as a Host block, to be the first of ~/.ssh/config");
  config->add_option("--host", *host, "the block's name (default: the machine's)");
  config->callback([host, globals] { PrintConfig(*host, globals); });
  const auto port = std::make_shared<uint16_t>(0);
  CLI::App* proxy =
      app->add_subcommand("proxy", "standard input and output to a port of the guest");
  proxy->group("");  // for ssh
  proxy->add_option("port", *port)->required();
  proxy->callback([port, globals] {
    MachineClient client;
    if (ConnectToKnown(globals, &client)) Proxy(client, *port, globals);
  });
}

}  // namespace rum
