#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/render.h"
#include "cli/reports.pb.h"
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
std::vector<std::string> WhatWillBeAsked(const std::string& config_path, const Config& config) {
  const Withheld withheld = Withhold(config, Consent(), LookAround(config_path, {&config}));
  std::vector<std::string> texts;
  for (const Ask& ask : withheld.asks) texts.push_back(AskText(ask));
  return texts;
}

// What a new machine is not made of, though one that has its disk goes on.
void CheckDownload(ParsedConfig* parsed) {
  constexpr char kBase[] = "image.base";
  const Image& image = parsed->config.image();
  if (!absl::StartsWithIgnoreCase(image.base(), "http:")) return;
  const std::string problem = ChecksumProblem(image.base(), image.sha256());
  if (!problem.empty()) parsed->problems.push_back({kBase, problem, parsed->sources[kBase]});
}

void Tell(const Problem& problem, reports::CheckedFile* checked) {
  reports::FileProblem* told = checked->add_problems();
  told->set_field(problem.field);
  told->set_message(problem.message);
  if (problem.where.line == 0) return;
  told->set_line(problem.where.line);
  told->set_column(problem.where.column);
}

// `text`: of what is wrong, as it is printed.
reports::CheckedFile CheckOne(const std::string& file, std::string* text) {
  reports::CheckedFile checked;
  checked.set_file(file);
  const auto identity = IdentityOf(file);
  if (!identity.ok()) {
    *text = std::string(identity.status().message());
    checked.add_problems()->set_message(*text);
    return checked;
  }
  ParsedConfig parsed = ReadTomlFile(identity->config_path);
  if (parsed.problems.empty()) CheckDownload(&parsed);
  for (const Problem& problem : parsed.problems) Tell(problem, &checked);
  checked.set_ok(parsed.problems.empty());
  if (!checked.ok()) {
    *text = RenderProblems(file, parsed);
    return checked;
  }
  for (const std::string& ask : WhatWillBeAsked(identity->config_path, parsed.config))
    checked.add_asks(ask);
  return checked;
}

// What is wrong, each problem below its place where a terminal's line ends. Whoever reads it from a
// pipe, as editors do, gets a line for each.
std::string Shown(const std::string& problems, const Style& style) {
  constexpr absl::string_view kError = ": error: ";
  if (isatty(STDERR_FILENO) == 0) return problems;
  std::string text;
  for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(problems, "\n"), '\n')) {
    const size_t error = absl::StartsWith(line, " ") ? line.npos : line.find(kError);
    const size_t begin = error == line.npos ? 0 : error + kError.size();
    const std::string place(line.substr(0, begin));
    text += begin == 0
                ? absl::StrCat(line, "\n")
                : Hanging(place, DisplayWidth(place), std::string(line.substr(begin)), style);
  }
  return text;
}

void Check(std::vector<std::string> files, Globals* globals) {
  if (!globals->machine.empty()) return Fail(globals, "check is about files: -c, or their names");
  if (files.empty()) files.push_back(globals->file);
  const Style style = StyleOf(*globals);
  const bool utf8 = style.utf8;
  const bool json = globals->output == "json";
  reports::CheckReport report;
  for (const std::string& file : files) {
    std::string text;
    const reports::CheckedFile checked = *report.add_files() = CheckOne(file, &text);
    if (!checked.ok()) globals->exit_status = 1;
    if (json || (checked.ok() && globals->quiet)) continue;
    if (checked.ok()) {
      std::printf("%s: ok\n", OneLine(file, utf8).c_str());
      for (const std::string& ask : checked.asks())
        std::printf("  note: %s; `rum up` asks for your word\n", OneLine(ask, utf8).c_str());
    } else if (checked.problems_size() == 1 && text == checked.problems(0).message()) {
      Fail(globals, text);
    } else {
      std::fputs(Shown(Lines(text, utf8), style).c_str(), stderr);
    }
  }
  if (json) std::fputs(ToJson(report).c_str(), stdout);
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
    std::fputs(Lines(*text, StyleOf(*globals).utf8).c_str(), stdout);
  });

  app->add_subcommand("schema",
                      "the schema of rum.toml for editors (JSON Schema, as taplo takes it)")
      ->callback([] { std::fputs(JsonSchema().c_str(), stdout); });
}

}  // namespace rum
