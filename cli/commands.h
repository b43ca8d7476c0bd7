#ifndef RUM_CLI_COMMANDS_H_
#define RUM_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/style.h"

namespace rum {

// What stands before any command.
struct Globals {
  std::string file = "rum.toml";
  std::string machine;  // a name or an id in its place; empty: by the file
  std::string output = "text";
  bool plain = false;       // text for a reader of the screen
  bool json_lines = false;  // of a command that prints several messages: a line for each
  std::string color = "auto";
  bool quiet = false;
  bool verbose = false;
  // Of exec, shell and ssh: the words from the first one on that is not an option of rum's.
  std::vector<std::string> command;
  int exit_status = 0;  // of the command that ran
};

// Says how text is shown on standard output.
Style StyleOf(const Globals& globals);

// Each adds its commands to `app`; their callbacks set globals->exit_status.
void AddApplyCommands(CLI::App* app, Globals* globals);       // up, apply = reload
void AddTrustCommand(CLI::App* app, Globals* globals);        // trust
void AddMachineCommands(CLI::App* app, Globals* globals);     // status, down, restart, destroy
void AddListCommands(CLI::App* app, Globals* globals);        // list, adopt
void AddProvisionCommand(CLI::App* app, Globals* globals);    // provision
void AddLogCommand(CLI::App* app, Globals* globals);          // log
void AddExecCommand(CLI::App* app, Globals* globals);         // exec
void AddShellCommand(CLI::App* app, Globals* globals);        // shell
void AddConsoleCommand(CLI::App* app, Globals* globals);      // console
void AddOpenCommand(CLI::App* app, Globals* globals);         // open
void AddDiffCommand(CLI::App* app, Globals* globals);         // diff
void AddStatsCommand(CLI::App* app, Globals* globals);        // stats
void AddCopyCommand(CLI::App* app, Globals* globals);         // cp
void AddSshCommands(CLI::App* app, Globals* globals);         // ssh, ssh-config, proxy
void AddImageCommands(CLI::App* app, Globals* globals);       // image list, pull, delete, prune
void AddFileCommands(CLI::App* app, Globals* globals);        // check, explain, schema
void AddInitCommand(CLI::App* app, Globals* globals);         // init
void AddDoctorCommand(CLI::App* app, Globals* globals);       // doctor
void AddControllerCommands(CLI::App* app, Globals* globals);  // controller run, status, stop ...

void AddManualCommands(CLI::App* app, Globals* globals);  // completion, manual

// Prints what can stand at the cursor of a shell, a line each with what it is; never fails, asks
// nothing that takes long. `words` as CompleteWords() has them.
void Complete(const CLI::App& app, const std::vector<std::string>& words);

// "rum -c db.rum.toml up": a command for a person to type next, about the same file or, where one
// is named, machine.
std::string ToType(const std::string& file, const std::string& machine, const std::string& command);

// Says it on standard error, safe for a terminal, and makes the command's exit status 1.
void Fail(Globals* globals, const std::string& message);

}  // namespace rum

#endif  // RUM_CLI_COMMANDS_H_
