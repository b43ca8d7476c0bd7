#include "cli/manual.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/page.h"
#include "state/explain.h"

namespace rum {
namespace {

constexpr char kConfigPage[] = "rum.toml.5";
constexpr char kReference[] = "reference.md";

// "rum", "rum controller stop".
std::string CommandWords(const CLI::App& app) {
  const CLI::App* above = app.get_parent();
  return above == nullptr ? app.get_name() : CommandWords(*above) + " " + app.get_name();
}

std::vector<const CLI::App*> CommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); });
}

std::vector<const CLI::Option*> OptionsOf(const CLI::App& app, bool positional) {
  return app.get_options([positional](const CLI::Option* one) {
    return one->get_positional() == positional && !one->get_group().empty();
  });
}

// "TEXT:{auto,always}" as "auto|always", "TEXT:NAME|ID" as "NAME|ID", else by the option's name.
std::string ValueOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t colon = type.find(':');
  if (colon != std::string::npos && type.compare(colon + 1, 1, "{") == 0) {
    return absl::StrReplaceAll(type.substr(colon + 2, type.size() - colon - 3), {{",", "|"}});
  }
  if (colon != std::string::npos && absl::StrContains(type, '|')) return type.substr(colon + 1);
  if (!absl::StartsWith(type, "TEXT")) return "N";
  return absl::AsciiStrToUpper(absl::StrReplaceAll(option.get_lnames()[0], {{"-", "_"}}));
}

// "-o, --output text|json".
std::string TermOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return absl::StrCat(absl::StrJoin(names, ", "),
                      option.get_expected_max() == 0 ? "" : " " + ValueOf(option));
}

std::string TextOf(const CLI::Option& option) {
  const std::string& otherwise = option.get_default_str();
  return absl::StrCat(option.get_description(),
                      otherwise.empty() ? "" : absl::StrCat(" (default: ", otherwise, ")"));
}

// What a command does, and the words after it that are no options. A description may have both:
// "run a command in the machine: rum exec [OPTIONS] [--] COMMAND...".
struct Usage {
  std::string about;
  std::string line;
};

Usage UsageOf(const CLI::App& app) {
  Usage usage{app.get_description(), CommandWords(app)};
  const size_t at = usage.about.find(": " + usage.line);
  if (at != std::string::npos) {
    const size_t end = usage.about.find(';', at);
    usage.line = usage.about.substr(at + 2, end == std::string::npos ? end : end - at - 2);
    usage.about.erase(at, end == std::string::npos ? end : end - at);
    return usage;
  }
  if (!CommandsOf(app).empty()) usage.line += " COMMAND";
  if (OptionsOf(app, false).size() > 1) usage.line += " [OPTION]...";  // not --help alone
  for (const CLI::Option* one : OptionsOf(app, true)) {
    const std::string& name = one->get_single_name();
    const bool many = one->get_items_expected_max() > 1;
    absl::StrAppend(&usage.line, one->get_required() ? " " : " [", name, many ? "..." : "",
                    one->get_required() ? "" : "]");
  }
  return usage;
}

void AddOptionEntries(const CLI::App& app, Section* section) {
  for (const CLI::Option* one : OptionsOf(app, true))
    section->entries.push_back({one->get_single_name(), TextOf(*one)});
  for (const CLI::Option* one : OptionsOf(app, false)) {
    if (one != app.get_help_ptr()) section->entries.push_back({TermOf(*one), TextOf(*one)});
  }
}

std::string AliasText(const CLI::App& app) {
  if (app.get_aliases().empty()) return "";
  return absl::StrCat("Also as `", absl::StrJoin(app.get_aliases(), "`, `"), "`.");
}

// One command: how it is said, and its options; a group of commands has those of each.
Page CommandPage(const CLI::App& app) {
  const Usage usage = UsageOf(app);
  Page page;
  page.name = absl::StrReplaceAll(CommandWords(app), {{" ", "-"}});
  page.about = usage.about;
  Section synopsis{"synopsis", {usage.line}, AliasText(app), {}};
  Section options{"options", {}, "", {}};
  AddOptionEntries(app, &options);
  Section commands{"commands", {}, "", {}};
  for (const CLI::App* one : CommandsOf(app)) {
    const Usage below = UsageOf(*one);
    commands.entries.push_back({below.line, below.about});
    AddOptionEntries(*one, &commands);
  }
  page.sections.push_back(std::move(synopsis));
  for (Section* section : {&commands, &options}) {
    if (!section->entries.empty()) page.sections.push_back(std::move(*section));
  }
  return page;
}

Section ExitStatuses() {
  return {
      "exit status",
      {},
      "",
      {{"0", "done; with `--exit-code` in sync; of `rum doctor`: nothing is to be done"},
       {"1",
        "failed, or printed what nobody got (standard output full or closed); of `rum "
        "doctor`: something is broken"},
       {"2", "wrong usage: nothing was done"},
       {"4",
        "with `--exit-code`: live or opt-in changes, or your consent, are pending; of `rum "
        "doctor`: rum works and something could be better"},
       {"5", "with `--exit-code`: a restart or a new disk is needed"},
       {"6", "with `--exit-code`: not running or not reachable: off, paused, crashed and the like"},
       {"124", "of `rum exec`: `--timeout` was over"},
       {"126, 127", "of `rum exec`: the command could not be started"},
       {"128 + N", "of `rum exec`: signal N ended the command"},
       {"130", "of `rum up`: interrupted before the machine was up"},
       {"141", "the reader of standard output went away (`| head -1`)"},
       {"255", "of `rum exec`: the guest was lost"},
       {"others", "of `rum exec` and `rum ssh`: the command's own"}}};
}

Section Environment() {
  return {"environment",
          {},
          "",
          {{"LIBVIRT_DEFAULT_URI", "the libvirt of a new machine whose file names none"},
           {"NO_COLOR", "no colours with `--color auto`"},
           {"RUM_SSH", "the ssh program of `rum ssh`"},
           {"RUM_LOG",
            "how much a controller logs: trace, debug, info, warning, error, critical or off"},
           {"RUM_METRICS_ADDRESS", "where a controller serves its metrics over TCP, too"},
           {"RUM_STATE_DIR", "records, keys and logs; else `$XDG_STATE_HOME/rum`"},
           {"RUM_DATA_DIR", "disks under qemu:///session; else `$XDG_DATA_HOME/rum`"},
           {"RUM_CACHE_DIR", "downloaded images; else `$XDG_CACHE_HOME/rum`"},
           {"RUM_RUNTIME_DIR", "the controller's socket; else `$XDG_RUNTIME_DIR/rum`"},
           {"RUM_AGENT", "the agent that guests get; else `rum-agent` beside `rum-controller`"}}};
}

std::vector<Entry> FieldEntries() {
  std::vector<Entry> entries;
  for (const FieldText& field : FieldTexts()) {
    Entry entry{field.path, absl::StrCat(field.type, ", ", field.otherwise, ".")};
    if (!field.about.empty()) absl::StrAppend(&entry.text, " ", field.about, ".");
    if (!field.reaches_host.empty()) {
      absl::StrAppend(&entry.text, " Reaches the host: ", field.reaches_host,
                      "; `rum trust` asks for your word.");
    }
    absl::StrAppend(&entry.text, " Effect of a change: ", field.effect, ".");
    entries.push_back(std::move(entry));
  }
  return entries;
}

Page ConfigPage() {
  return {"rum.toml",
          5,
          "a machine of rum's",
          {{"description",
            {},
            "The file of a virtual machine, in TOML. `rum up` makes the machine; what is changed "
            "here while it runs is applied to it, or waits for its next start. `rum init` writes a "
            "first one, `rum check` says whether it is right, and `rum schema` prints it for "
            "editors. A name with [] is an array of tables: `[[ports]]`; NAME and TYPE stand for a "
            "word of yours: `[drives.data]`, `[[fs.ext4]]`.",
            {}},
           {"fields", {}, "", FieldEntries()}}};
}

// The commands' pages lead to the first one, which leads to all.
void AddSeeAlso(const CLI::App& app, Page* page) {
  std::vector<std::string> pages;
  for (const std::string& name : ManualPages(app)) {
    const size_t dot = name.rfind('.');
    const bool general = name == "rum.1" || name == kConfigPage;
    if (name == kReference || name.substr(0, dot) == page->name) continue;
    if (page->name == "rum" || general)
      pages.push_back(absl::StrCat("`", name.substr(0, dot), "`(", name.substr(dot + 1), ")"));
  }
  page->sections.push_back({"see also", {}, absl::StrJoin(pages, ", "), {}});
}

Page MainPage(const CLI::App& app) {
  Page page = CommandPage(app);
  page.about = "makes a running VM match its file";
  page.sections[0].synopsis = {"rum [OPTION]... COMMAND [WORD]..."};
  // Each command has a page of its own, which says its options.
  page.sections[1].entries.clear();
  for (const CLI::App* one : CommandsOf(app)) {
    const Usage usage = UsageOf(*one);
    page.sections[1].entries.push_back({usage.line, usage.about});
  }
  page.sections.push_back(ExitStatuses());
  page.sections.push_back(Environment());
  return page;
}

// All commands, and of each its options.
std::string Reference(const CLI::App& app) {
  std::string text =
      "<!-- Made by `rum manual reference.md`, which a test compares with this file. -->\n"
      "# Reference\n\nWhat the program says of itself, in one place. "
      "[commands.md](commands.md) and [rum-toml.md](rum-toml.md) say why, and how.\n";
  Page main = MainPage(app);
  text += MarkdownText(main, "rum", 2);
  for (const CLI::App* one : CommandsOf(app)) {
    Page page = CommandPage(*one);
    for (Section& section : page.sections) section.title.clear();
    text += MarkdownText(page, CommandWords(*one), 2);
  }
  Page config = ConfigPage();
  text += MarkdownText(config, "rum.toml", 2);
  return text;
}

}  // namespace

std::vector<std::string> ManualPages(const CLI::App& app) {
  std::vector<std::string> names = {"rum.1"};
  for (const CLI::App* one : CommandsOf(app)) names.push_back("rum-" + one->get_name() + ".1");
  names.emplace_back(kConfigPage);
  names.emplace_back(kReference);
  return names;
}

std::string ManualPage(const CLI::App& app, const std::string& name) {
  if (name == kReference) return Reference(app);
  Page page;
  if (name == kConfigPage) page = ConfigPage();
  if (name == "rum.1") page = MainPage(app);
  for (const CLI::App* one : CommandsOf(app)) {
    if (name == "rum-" + one->get_name() + ".1") page = CommandPage(*one);
  }
  if (page.name.empty()) return "";
  AddSeeAlso(app, &page);
  return ManText(page);
}

}  // namespace rum
