#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/consent.h"
#include "cli/json_text.h"
#include "cli/render.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

struct TrustCommand {
  TrustWords fields;
  bool all = false;
  bool list = false;
  bool revoke = false;
};

// False: it did not answer, and that was said.
bool TryTrust(const MachineClient& client, const control::TrustRequest& request, Globals* globals,
              control::TrustReply* reply) {
  const grpc::Status called = AskTrust(client, request, reply);
  if (!called.ok()) return Fail(globals, WhyItFailed(called)), false;
  if (!reply->config_error().empty()) Fail(globals, reply->config_error());
  return true;
}

void ShowTrust(const control::TrustReply& reply, const Globals& globals) {
  std::fputs(
      (globals.output == "json" ? ToJson(reply) : RenderTrust(reply, StyleOf(globals))).c_str(),
      stdout);
}

void GiveOrAsk(const TrustCommand& command, const MachineClient& client, Globals* globals) {
  control::TrustReply asked;
  if (!TryTrust(client, {}, globals, &asked) || !asked.config_error().empty()) return;
  control::TrustRequest give;
  const TrustWords words = command.all ? TrustWords{kAllThatIsAsked} : command.fields;
  if (!Consented(asked, words, globals, nullptr, give.mutable_give())) return;
  if (give.give_size() > 0 && !TryTrust(client, give, globals, &asked)) return;
  ShowTrust(asked, *globals);
  if (give.give_size() == 0 && words.empty() && asked.asks_size() > 0) {
    Fail(globals, "nothing was consented to: `rum trust --all`, or FIELD, does it");
  }
}

void Trust(const TrustCommand& command, Globals* globals) {
  MachineClient client;
  if (!Connect(globals, &client)) return;
  if (!command.list && !command.revoke) return GiveOrAsk(command, client, globals);
  control::TrustRequest request;
  if (command.revoke) {
    request.set_revoke_all(command.fields.empty());
    for (const std::string& field : command.fields) request.add_revoke(field);
  }
  control::TrustReply reply;
  if (TryTrust(client, request, globals, &reply)) ShowTrust(reply, *globals);
}

}  // namespace

void AddTrustCommand(CLI::App* app, Globals* globals) {
  const auto command = std::make_shared<TrustCommand>();
  CLI::App* trust = app->add_subcommand(
      "trust", "what the file reaches on this host: what is asked, and your consent to it");
  trust->add_option("FIELD", command->fields,
                    "what is consented to, or taken back: ports, mounts[/data], ...; at a "
                    "terminal it is asked otherwise");
  CLI::Option* all = trust->add_flag("--all", command->all, "consent to all that is asked");
  CLI::Option* list =
      trust->add_flag("--list", command->list, "print it and change nothing")->excludes(all);
  trust->add_flag("--revoke", command->revoke, "take consent back; without FIELD all of it")
      ->excludes(all)
      ->excludes(list);
  trust->callback([command, globals] { Trust(*command, globals); });
}

}  // namespace rum
