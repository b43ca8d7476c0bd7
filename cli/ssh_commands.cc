#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/proxy_command.h"
#include "cli/ssh_words.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

// What ssh needs to know, and how it connects. False: failed, and said so.
bool AskSsh(Globals* globals, control::SshReply* machine, SshOptions* options, std::string* name) {
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return false;
  *name = client.identity.name;
  grpc::ClientContext context;
  control::MachineRequest request;
  request.set_config_path(client.identity.config_path);
  const grpc::Status status = client.stub->Ssh(&context, request, machine);
  if (!status.ok()) return Fail(globals, WhyItFailed(status)), false;
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", error);
  auto found = OptionsFor(*machine, {self, "-m", client.identity.id, "proxy", "22"});
  if (!found.ok()) return Fail(globals, std::string(found.status().message())), false;
  *options = *std::move(found);
  return true;
}

void RunSsh(Globals* globals) {
  control::SshReply machine;
  SshOptions options;
  std::string name;
  if (!AskSsh(globals, &machine, &options, &name)) return;
  std::vector<std::string> words =
      SshWords(machine, options, globals->command, isatty(STDIN_FILENO) != 0);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  Fail(globals, machine.command() + ": " + std::strerror(errno));
}

void PrintConfig(const std::string& host, Globals* globals) {
  control::SshReply machine;
  SshOptions options;
  std::string name;
  if (!AskSsh(globals, &machine, &options, &name)) return;
  std::fputs(SshConfig(host.empty() ? name : host, options).c_str(), stdout);
}

}  // namespace

void AddSshCommands(CLI::App* app, Globals* globals) {
  app->add_subcommand(
         "ssh", "a shell by ssh, through the agent: rum ssh [--] [OPTION OF SSH or COMMAND]...")
      ->callback([globals] { RunSsh(globals); });
  const auto host = std::make_shared<std::string>();
  CLI::App* config =
      app->add_subcommand("ssh-config", "the same as a Host block for ~/.ssh/config");
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
