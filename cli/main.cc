// rum: makes a running VM match its file.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "controller/service/server.h"

namespace rum {

void Fail(Globals* globals, const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "rum: %s%s", message.c_str(),
               !message.empty() && message.back() == '\n' ? "" : "\n");
  globals->exit_status = 1;
}

}  // namespace rum

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  rum::Globals globals;
  CLI::App app("Makes a running VM match its file.", "rum");
  app.set_version_flag("--version", rum::kVersion);
  app.add_option("-c,--config", globals.file, "the machine's file")->capture_default_str();
  app.add_option("-o,--output", globals.output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_option("--color", globals.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_flag("-q,--quiet", globals.quiet, "no progress");
  app.add_flag("-v,--verbose", globals.verbose, "output of scripts as they run");
  app.require_subcommand(1);
  app.fallthrough();
  rum::AddApplyCommands(&app, &globals);
  rum::AddMachineCommands(&app, &globals);
  rum::AddExecCommand(&app, &globals);
  rum::AddFileCommands(&app, &globals);
  rum::AddControllerCommands(&app, &globals);
  try {
    std::vector<std::string> words = rum::CutCommand({argv + 1, argv + argc}, &globals.command);
    std::reverse(words.begin(), words.end());  // as CLI11 takes a vector
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return globals.exit_status;
}
