#include "controller/decide/trust.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/decide/history.h"

namespace rum {
namespace {

void CountAsConsented(const std::vector<Ask>& asks, int64_t now_ms, MachineRecord* record) {
  for (const Ask& ask : asks) {
    *record->add_consented() = ConsentTo(ask, 0);
    Event event;
    event.set_time_ms(now_ms);
    event.set_kind(Event::SEEN);
    event.set_field(ask.field);
    event.set_after(ask.value);
    event.set_why(absl::StrCat(
        "counts as consented, for the machine had it before rum asked (`rum trust --revoke`): ",
        ask.sentence));
    event.set_by("command");
    AddEvent(std::move(event), record);
  }
}

}  // namespace

Consent ConsentOf(const MachineRecord& record) {
  Consent consent;
  consent.given.assign(record.consented().begin(), record.consented().end());
  if (record.generation() > 0 && record.has_desired()) consent.in_force = &record.desired();
  return consent;
}

google::protobuf::RepeatedPtrField<Port> ConsentedPorts(const Config& config,
                                                        const MachineRecord& record,
                                                        const Surroundings& around) {
  Consent consent = ConsentOf(record);
  consent.in_force = nullptr;
  return Withhold(config, consent, around).config.ports();
}

Item AskItem(const Ask& ask) {
  Item item;
  item.set_field(ask.field);
  item.set_state(Item::NEEDS_CONSENT);
  item.set_moved_by(Item::FILE);
  item.set_known_by(Item::FILE);
  item.set_observed(ask.before);
  item.set_wanted(ask.value);
  item.set_text(absl::StrCat("needs your word: ", ask.before, ask.before.empty() ? "" : " → ",
                             ask.value, ": ", ask.sentence, "; `rum trust` or --trust gives it"));
  return item;
}

std::string WaitsForWord(const std::vector<Ask>& asks, const std::vector<std::string>& fields) {
  std::vector<std::string> texts;
  for (const Ask& ask : asks) {
    const bool named = std::find(fields.begin(), fields.end(), ask.field) != fields.end();
    if (named) texts.push_back(AskText(ask));
  }
  return absl::StrCat("waits for your word, for the file is not trusted to reach that far: ",
                      absl::StrJoin(texts, "; "),
                      "; `rum trust` asks, `--trust` of `rum up` and `rum apply` gives it");
}

void Give(const std::vector<ConsentedValue>& values, int64_t now_ms, MachineRecord* record) {
  for (const ConsentedValue& value : values) {
    if (IsGiven(ConsentOf(*record).given, value.field(), value.value())) continue;
    ConsentedValue* const given = record->add_consented();
    *given = value;
    given->set_given_ms(now_ms);
  }
}

bool Revoke(const std::vector<std::string>& words, bool all, MachineRecord* record) {
  auto* const given = record->mutable_consented();
  const auto kept = std::remove_if(given->begin(), given->end(), [&](const ConsentedValue& value) {
    return all || std::any_of(words.begin(), words.end(),
                              [&](const std::string& word) { return Means(word, value.field()); });
  });
  if (kept == given->end()) return false;
  given->erase(kept, given->end());
  return true;
}

const Config* ConfigOf(const MachineRecord& record) {
  if (record.applied().has_image()) return &record.applied();
  if (record.has_desired()) return &record.desired();
  return record.has_last_live() ? &record.last_live() : nullptr;
}

void TakeConsentOver(const Surroundings& around, int64_t now_ms, MachineRecord* record) {
  if (record->consent_known()) return;
  record->set_consent_known(true);
  const Config* const had = ConfigOf(*record);
  if (had == nullptr) return;
  Surroundings known = around;
  known.networks.emplace();  // see TakeNetworksOver()
  CountAsConsented(Withhold(*had, Consent(), known).asks, now_ms, record);
}

void TakeNetworksOver(const std::set<std::string>& joined, int64_t now_ms, MachineRecord* record) {
  if (record->networks_known()) return;
  record->set_networks_known(true);
  Config had;
  for (const std::string& name : joined) {
    had.mutable_network()->add_interfaces()->set_network(name);
  }
  Surroundings around;
  around.networks = joined;
  CountAsConsented(Withhold(had, Consent(), around).asks, now_ms, record);
  for (Config* config : {record->has_desired() ? record->mutable_desired() : nullptr,
                         record->has_applied() ? record->mutable_applied() : nullptr,
                         record->has_last_live() ? record->mutable_last_live() : nullptr}) {
    for (int i = 0; config != nullptr && i < config->network().interfaces_size(); ++i) {
      Interface* const card = config->mutable_network()->mutable_interfaces(i);
      if (joined.count(card->network()) > 0) card->set_joined(true);
    }
  }
}

}  // namespace rum
