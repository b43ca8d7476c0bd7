#include "cli/consent.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "cli/render.h"
#include "cli/terminal_text.h"
#include "state/consent.h"
#include "state/explain.h"
#include "state/schema.h"

namespace rum {
namespace {

bool IsMeant(const TrustWords& words, const Item& ask) {
  return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    return word == kAllThatIsAsked || Means(word, ask.field());
  });
}

// At the terminal, of which there is one.
bool SaysYes(const control::TrustReply& asked, const Globals& globals, Interrupts* interrupts) {
  const Style style = StyleOf(globals);
  std::fputs("The file reaches beyond its guest:\n", stderr);
  for (const Item& ask : asked.asks()) std::fputs(RenderAsk(ask, style).c_str(), stderr);
  if (!asked.note().empty())
    std::fprintf(stderr, "  %s\n", OneLine(asked.note(), style.utf8).c_str());
  std::fputs("Allow? [y/N] ", stderr);
  // Nothing was done yet, so that there is nothing to end.
  if (interrupts != nullptr) interrupts->SetAtWork([] { _exit(130); });
  std::string answer;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar())
    answer += static_cast<char>(c);
  if (interrupts != nullptr) interrupts->SetAtWork(nullptr);
  return answer == "y" || answer == "Y" || answer == "yes";
}

bool IsAtTerminal(const Globals& globals) {
  return globals.output != "json" && isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0;
}

}  // namespace

void AddTrustOption(CLI::App* command, TrustWords* words) {
  command->add_flag(absl::StrCat("--trust{", kAllThatIsAsked, "}"), *words,
                    "consent to what the file reaches on this host, also in part: --trust=FIELD");
}

grpc::Status AskTrust(const MachineClient& client, control::TrustRequest request,
                      control::TrustReply* reply) {
  request.set_config_path(client.identity.config_path);
  request.set_default_uri(DefaultUri());
  grpc::ClientContext context;
  return client.stub->Trust(&context, request, reply);
}

bool Consented(const control::TrustReply& asked, const TrustWords& words, Globals* globals,
               Interrupts* interrupts,
               google::protobuf::RepeatedPtrField<ConsentedValue>* consented) {
  for (const std::string& word : words) {
    if (word == kAllThatIsAsked || !FieldsAlong(word).empty()) continue;
    return Fail(globals, std::string(Explain(word).status().message())), false;
  }
  const bool ask = words.empty() && asked.asks_size() > 0 && IsAtTerminal(*globals);
  const bool all = ask && SaysYes(asked, *globals, interrupts);
  for (const Item& item : asked.asks()) {
    if (!all && !IsMeant(words, item)) continue;
    if (!all && !globals->quiet) {
      const std::string said = absl::StrCat("allowed: ", item.field(), " ", item.wanted());
      std::fprintf(stderr, "%s\n", OneLine(said, StyleOf(*globals).utf8).c_str());
    }
    ConsentedValue* const value = consented->Add();
    value->set_field(item.field());
    value->set_value(item.wanted());
  }
  return true;
}

bool AskForTrust(const TrustWords& words, const MachineClient& client, Globals* globals,
                 Interrupts* interrupts, control::ApplyRequest* request) {
  if (words.empty() && !IsAtTerminal(*globals)) return true;  // nobody who could say a word
  control::TrustReply asked;
  // A file with problems, a controller that goes: whoever applies says so.
  if (!AskTrust(client, {}, &asked).ok() || !asked.config_error().empty()) asked.Clear();
  return Consented(asked, words, globals, interrupts, request->mutable_trust());
}

}  // namespace rum
