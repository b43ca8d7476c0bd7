#include <memory>

#include "cli/commands.h"
#include "cli/watch.h"

namespace rum {

void AddLogCommand(CLI::App* app, Globals* globals) {
  const auto events = std::make_shared<bool>(false);
  const auto follow = std::make_shared<bool>(false);
  CLI::App* log = app->add_subcommand("log", "what happened to the machine");
  log->add_flag("--events", *events, "what changed from what to what, why, by whom")->required();
  log->add_flag("-f,--follow", *follow, "go on with what comes");
  log->callback([events, follow, globals] { ShowEvents(*follow, globals); });
}

}  // namespace rum
