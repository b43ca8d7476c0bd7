#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/call_deadline.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/list_text.h"
#include "cli/manual.h"
#include "cli/one_of.h"
#include "controller/images/shorthands.h"
#include "state/explain.h"
#include "state/identity.h"
#include "state/state_store.h"

namespace rum {
namespace {

constexpr std::chrono::milliseconds kKeyPatience{500};

// What is remembered of the user's machines; no controller is asked.
std::vector<MachineRecord> Records() {
  std::vector<MachineRecord> records;
  const auto all = ReadRecords(StateDir());
  if (!all.ok()) return records;
  for (const StoredRecord& stored : *all) {
    if (stored.record.ok()) records.push_back(*stored.record);
  }
  return records;
}

control::ListMachinesReply RecordedMachines() {
  const auto records = ReadRecords(StateDir());
  return records.ok() ? ListOfRecords(*records, "") : control::ListMachinesReply();
}

// The machine that the words before the cursor are about; none: an empty record.
MachineRecord RecordFor(const Completion& completion) {
  std::string id;
  if (!completion.machine.empty()) {
    const auto picked = PickMachine(RecordedMachines(), completion.machine);
    if (!picked.ok()) return {};
    id = picked->id();
  }
  const auto identity = IdentityOf(completion.file.empty() ? "rum.toml" : completion.file);
  for (MachineRecord& record : Records()) {
    const bool here = id.empty() && identity.ok() && record.config_path() == identity->config_path;
    if (here || (!id.empty() && record.id() == id)) return std::move(record);
  }
  return {};
}

// By its name, or by its id where others have the same.
void AddMachines(std::vector<Candidate>* to) {
  const control::ListMachinesReply all = RecordedMachines();
  for (const control::ListedMachine& machine : all.machines()) {
    const auto same =
        std::count_if(all.machines().begin(), all.machines().end(),
                      [&](const auto& other) { return other.name() == machine.name(); });
    const bool by_name = !machine.name().empty() && same == 1;
    to->push_back({by_name ? machine.name() : machine.id(), machine.config_path()});
  }
}

// "resources.memory_mb", and the tables that fields are in. Of `rum trust`: those alone that reach
// the host.
void AddFields(bool reaching_alone, std::vector<Candidate>* to) {
  std::string table;
  for (const FieldText& field : FieldTexts()) {
    if (reaching_alone && field.reaches_host.empty()) continue;
    const std::string top = field.path.substr(0, field.path.find_first_of(".["));
    const bool plain = field.path.find_first_of("[N") == std::string::npos;
    if (top != table && !(plain && reaching_alone)) to->push_back({top, "all of " + top});
    table = top;
    if (plain) to->push_back({field.path, reaching_alone ? field.reaches_host : field.about});
  }
}

void AddRuns(const Completion& completion, std::vector<Candidate>* to) {
  const MachineRecord record = RecordFor(completion);
  for (const ScriptRun& run : record.runs())
    to->push_back({run.run_id(), absl::StrCat(run.kind(), " script")});
}

void AddImages(std::vector<Candidate>* to) {
  const auto stub = ConnectController(false);  // none is started for a key that was pressed
  if (!stub.ok()) return;
  grpc::ClientContext context;
  context.set_deadline(After(kKeyPatience));
  control::ImagesReply images;
  if (!(*stub)->ListImages(&context, control::ImagesRequest(), &images).ok()) return;
  for (const control::CachedImage& image : images.images()) to->push_back({image.name(), ""});
}

void AddShorthands(std::vector<Candidate>* to) {
  for (const Shorthand& shorthand : Shorthands()) {
    if (shorthand.architecture == HostArchitecture())
      to->push_back({shorthand.name, shorthand.url});
  }
}

void AddHostPorts(const Completion& completion, std::vector<Candidate>* to) {
  const MachineRecord record = RecordFor(completion);
  for (const Port& port : record.applied().ports()) {
    if (port.host() == 0) continue;
    to->push_back(
        {absl::StrCat(port.host()), absl::StrCat("port ", port.guest(), " of the guest")});
  }
}

void AddMore(const Completion& completion, std::vector<Candidate>* to) {
  switch (completion.more) {
    case Completes::kMachines:
      return AddMachines(to);
    case Completes::kBaseImages:
      return AddShorthands(to);
    case Completes::kFields:
      return AddFields(false, to);
    case Completes::kReaches:
      return AddFields(true, to);
    case Completes::kRuns:
      return AddRuns(completion, to);
    case Completes::kImages:
      return AddImages(to);
    case Completes::kPorts:
      return AddHostPorts(completion, to);
    default:
      return;
  }
}

bool IsOneLine(const std::string& word) {
  return !word.empty() && std::none_of(word.begin(), word.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
  });
}

void PrintScript(const std::string& shell) { std::fputs(CompletionScript(shell).c_str(), stdout); }

void PrintPage(const CLI::App& app, const std::string& name, Globals* globals) {
  if (name.empty()) {
    for (const std::string& page : ManualPages(app)) std::printf("%s\n", page.c_str());
    return;
  }
  const std::string text = ManualPage(app, name);
  if (text.empty()) return Fail(globals, "there is no page " + name);
  std::fputs(text.c_str(), stdout);
}

}  // namespace

void Complete(const CLI::App& app, const std::vector<std::string>& words) {
  // A controller that hangs must not hold up a shell.
  signal(SIGALRM, [](int) { _exit(0); });
  alarm(2);
  const Completion completion = CompleteWords(app, words);
  std::vector<Candidate> all = completion.candidates;
  AddMore(completion, &all);
  for (const Candidate& one : all) {
    const std::string word = completion.before + one.word;
    if (!IsOneLine(one.word) || !absl::StartsWith(one.word, completion.beginning)) continue;
    std::printf("%s\t%s\n", word.c_str(), IsOneLine(one.about) ? one.about.c_str() : "");
  }
  if (completion.more == Completes::kFiles || completion.more == Completes::kBaseImages)
    std::puts(":files");
}

void AddManualCommands(CLI::App* app, Globals* globals) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* completion = app->add_subcommand(
      "completion", "completions for a shell, to be sourced or put where it looks for them");
  completion->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(OneOf({"bash", "zsh", "fish"}));
  completion->callback([shell] { PrintScript(*shell); });
  const auto page = std::make_shared<std::string>();
  CLI::App* manual = app->add_subcommand("manual", "a page of the manual, or their names");
  manual->group("");  // for packages
  manual->add_option("PAGE", *page);
  manual->callback([app, page, globals] { PrintPage(*app, *page, globals); });
}

}  // namespace rum
