// rum: makes a running VM match its file.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/standard_streams.h"
#include "cli/commands.h"
#include "cli/cut_command.h"
#include "cli/one_of.h"
#include "cli/render.h"
#include "cli/ssh_words.h"
#include "cli/terminal_text.h"
#include "controller/service/launch.h"
#include "state/schema.h"

namespace rum {
namespace {

void Say(const Globals& globals, const std::string& message) {
  std::fflush(stdout);
  const bool ended = !message.empty() && message.back() == '\n';
  std::fprintf(stderr, "rum: %s%s", Lines(message, StyleOf(globals).utf8).c_str(),
               ended ? "" : "\n");
}

// The command that the words were meant for: the innermost one that was named.
CLI::App* Innermost(CLI::App* app) {
  const std::vector<CLI::App*> inner = app->get_subcommands();
  return inner.empty() ? app : Innermost(inner.back());
}

// "rum", "rum controller stop".
std::string WordsOf(const CLI::App* app) {
  const CLI::App* above = app->get_parent();
  return above == nullptr ? app->get_name() : WordsOf(above) + " " + app->get_name();
}

// A word that nobody knows, and the nearest one that somebody knows.
std::string Unknown(CLI::App* app, const std::string& word) {
  const bool option = word[0] == '-';
  std::vector<std::string> known;
  if (option) {
    for (const CLI::App* level = app; level != nullptr; level = level->get_parent()) {
      for (const CLI::Option* one : level->get_options()) {
        for (const std::string& name : one->get_lnames()) known.push_back("--" + name);
      }
    }
  } else {
    for (const CLI::App* one : app->get_subcommands([](const CLI::App*) { return true; })) {
      known.push_back(one->get_name());
      for (const std::string& alias : one->get_aliases()) known.push_back(alias);
    }
  }
  const std::string what = option || known.empty() ? " does not take " : " has no command ";
  return "`" + WordsOf(app) + "`" + what + word + DidYouMean(word, known);
}

int WrongUsage(CLI::App* app, const CLI::ParseError& error, const Globals& globals) {
  CLI::App* inner = Innermost(app);
  const std::vector<std::string> left = app->remaining(true);
  const bool unknown = !left.empty() && !left[0].empty();
  Say(globals, unknown ? Unknown(inner, left[0]) : error.what());
  std::fprintf(stderr, "`%s --help` says more\n", WordsOf(inner).c_str());
  return 2;
}

// What was printed and nobody got makes a command fail that has done its work. A reader that went
// (`| head -1`) has had enough: no word of it, and the status of what it ends elsewhere.
void EndOutput(Globals* globals) {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  const int error = errno;
  pollfd out{STDOUT_FILENO, 0, 0};
  if (poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0) {
    if (globals->exit_status == 0) globals->exit_status = 128 + SIGPIPE;
    return;
  }
  Fail(globals, std::string("standard output: ") +
                    (error != 0 ? std::strerror(error) : "not all of it could be written"));
}

}  // namespace

Style StyleOf(const Globals& globals) {
  Style style = StyleOf(globals.color);
  style.plain = globals.plain;
  if (!globals.plain) return style;
  style.color = false;
  style.width = 0;  // a sentence is one line
  return style;
}

std::string ToType(const std::string& file, const std::string& machine,
                   const std::string& command) {
  if (!machine.empty()) return absl::StrCat("rum -m ", ShortShellWord(machine), " ", command);
  if (std::filesystem::path(file).lexically_normal() == "rum.toml")
    return absl::StrCat("rum ", command);
  return absl::StrCat("rum -c ", ShortShellWord(file), " ", command);
}

void Fail(Globals* globals, const std::string& message) {
  Say(*globals, message);
  globals->exit_status = 1;
}

}  // namespace rum

int main(int argc, char** argv) {
  rum::HoldStandardStreams();
  signal(SIGPIPE, SIG_IGN);
  rum::Globals globals;
  CLI::App app("Makes a running VM match its file.", "rum");
  app.set_version_flag("--version", rum::kVersion);
  CLI::Option* file =
      app.add_option("-c,--config", globals.file, "the machine's file")->capture_default_str();
  app.add_option("-m,--machine", globals.machine,
                 "the machine by its name or id (`rum list`) in place of a file, which may be gone")
      ->excludes(file)
      ->check(CLI::Validator([](const std::string& word) { return word.empty() ? "empty" : ""; },
                             "NAME|ID"));
  app.add_option_function<std::string>(
         "-o,--output",
         [&globals](const std::string& word) {
           globals.plain = word == "plain";
           globals.output = globals.plain ? "text" : word;
         },
         "text, json, or plain: text in words alone, for a reader of the screen")
      ->check(rum::OneOf({"text", "json", "plain"}));
  app.add_option("--color", globals.color, "auto, always or never")
      ->check(rum::OneOf({"auto", "always", "never"}));
  app.add_flag("-q,--quiet", globals.quiet, "no progress");
  app.add_flag("-v,--verbose", globals.verbose, "output of scripts as they run");
  app.require_subcommand(1);
  app.fallthrough();
  rum::AddApplyCommands(&app, &globals);
  rum::AddTrustCommand(&app, &globals);
  rum::AddMachineCommands(&app, &globals);
  rum::AddListCommands(&app, &globals);
  rum::AddProvisionCommand(&app, &globals);
  rum::AddLogCommand(&app, &globals);
  rum::AddShellCommand(&app, &globals);
  rum::AddExecCommand(&app, &globals);
  rum::AddConsoleCommand(&app, &globals);
  rum::AddOpenCommand(&app, &globals);
  rum::AddDiffCommand(&app, &globals);
  rum::AddStatsCommand(&app, &globals);
  rum::AddCopyCommand(&app, &globals);
  rum::AddSshCommands(&app, &globals);
  rum::AddImageCommands(&app, &globals);
  rum::AddFileCommands(&app, &globals);
  rum::AddInitCommand(&app, &globals);
  rum::AddDoctorCommand(&app, &globals);
  rum::AddControllerCommands(&app, &globals);
  rum::AddManualCommands(&app, &globals);
  // The words are unfinished, and none of the parser's.
  if (argc > 1 && std::strcmp(argv[1], "__complete") == 0) {
    rum::Complete(app, {argv + 2, argv + argc});
    std::fflush(nullptr);
    _exit(0);
  }
  try {
    std::vector<std::string> words = rum::CutCommand({argv + 1, argv + argc}, &globals.command);
    std::reverse(words.begin(), words.end());  // as CLI11 takes a vector
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return rum::WrongUsage(&app, error, globals);
    app.exit(error);  // help, version
  }
  rum::EndOutput(&globals);
  // What is left would be to end gRPC's threads one after the other.
  std::fflush(nullptr);
  _exit(globals.exit_status);
}
