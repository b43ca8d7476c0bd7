#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "cli/commands.h"
#include "cli/render.h"
#include "cli/terminal_text.h"
#include "state/consent.h"
#include "state/explain.h"
#include "state/identity.h"
#include "state/image_url.h"
#include "state/json_schema.h"
#include "state/problem_text.h"
#include "state/surroundings.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

// Of a machine that nothing was consented to.
void SayWhatWillBeAsked(const std::string& config_path, const Config& config, bool utf8) {
  const Withheld withheld = Withhold(config, Consent(), LookAround(config_path, {&config}));
  for (const Ask& ask : withheld.asks) {
    std::printf("  note: %s; `rum up` asks for your word\n", OneLine(AskText(ask), utf8).c_str());
  }
}

// What a new machine is not made of, though one that has its disk goes on.
void CheckDownload(ParsedConfig* parsed) {
  constexpr char kBase[] = "image.base";
  const Image& image = parsed->config.image();
  if (!absl::StartsWithIgnoreCase(image.base(), "http:")) return;
  const std::string problem = ChecksumProblem(image.base(), image.sha256());
  if (!problem.empty()) parsed->problems.push_back({kBase, problem, parsed->sources[kBase]});
}

void Check(std::vector<std::string> files, Globals* globals) {
  if (!globals->machine.empty()) return Fail(globals, "check is about files: -c, or their names");
  if (files.empty()) files.push_back(globals->file);
  const bool utf8 = StyleOf(globals->color).utf8;
  for (const std::string& file : files) {
    const auto identity = IdentityOf(file);
    if (!identity.ok()) {
      Fail(globals, std::string(identity.status().message()));
      continue;
    }
    ParsedConfig parsed = ReadTomlFile(identity->config_path);
    if (parsed.problems.empty()) CheckDownload(&parsed);
    if (parsed.problems.empty()) {
      if (!globals->quiet) {
        std::printf("%s: ok\n", OneLine(file, utf8).c_str());
        SayWhatWillBeAsked(identity->config_path, parsed.config, utf8);
      }
      continue;
    }
    std::fputs(Lines(RenderProblems(file, parsed), utf8).c_str(), stderr);
    globals->exit_status = 1;
  }
}

}  // namespace

void AddFileCommands(CLI::App* app, Globals* globals) {
  const auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* check = app->add_subcommand("check", "validate files; needs no libvirt and no machine");
  check->add_option("FILE", *files, "rum.toml otherwise");
  check->callback([files, globals] { Check(*files, globals); });

  const auto field = std::make_shared<std::string>();
  CLI::App* explain = app->add_subcommand(
      "explain", "what a field is, its default, and what a change costs and why");
  explain->add_option("FIELD", *field, "such as resources.memory_mb or ports; all otherwise");
  explain->callback([field, globals] {
    const auto text = Explain(*field);
    if (!text.ok()) return Fail(globals, std::string(text.status().message()));
    std::fputs(Lines(*text, StyleOf(globals->color).utf8).c_str(), stdout);
  });

  app->add_subcommand("schema",
                      "the schema of rum.toml for editors (JSON Schema, as taplo takes it)")
      ->callback([] { std::fputs(JsonSchema().c_str(), stdout); });
}

}  // namespace rum
