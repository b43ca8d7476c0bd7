#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/worlds.h"
#include "state/authorized_key.h"
#include "state/names.h"

namespace rum {
namespace {

constexpr char kKeys[] = "ssh.authorized_keys";
constexpr char kOwnedKeys[] = "owned_keys";

using KeyLines = google::protobuf::RepeatedPtrField<std::string>;

// Lines of authorized_keys by what makes two of them the same key.
std::map<std::string, std::string> ByKey(const KeyLines& lines) {
  std::map<std::string, std::string> by_key;
  for (const std::string& line : lines) by_key.emplace(KeyWithoutComment(line), line);
  return by_key;
}

class KeysJudge {
 public:
  explicit KeysJudge(const Scene& scene)
      : scene_(scene),
        wanted_(ByKey(scene.desired.ssh().authorized_keys())),
        applied_(ByKey(scene.record.applied().ssh().authorized_keys())) {
    const auto& told = scene.observed.guest->authorized_keys();
    present_.insert(told.begin(), told.end());
  }

  Verdict Run() {
    if (IsCut(scene_, "authorized_keys")) AddCut(kKeys, "keys of the user", &verdict_);
    for (const auto& [key, line] : wanted_) JudgeWanted(key, line);
    for (const std::string& line : scene_.record.owned_keys()) {
      const std::string key = KeyWithoutComment(line);
      if (wanted_.count(key) == 0 && present_.count(key) == 0) {
        verdict_.released.emplace_back(kOwnedKeys, line);
      }
    }
    for (const auto& [key, line] : ByKey(scene_.record.owned_keys())) {
      if (wanted_.count(key) == 0 && present_.count(key) > 0) JudgeUnwanted(line);
    }
    NoteApplied();
    if (set_.add().empty() && set_.remove().empty()) {
      const int keys = scene_.desired.ssh().authorized_keys_size();
      if (keys > 0) verdict_.AddHolding(kKeys, absl::StrCat(keys, keys == 1 ? " key" : " keys"));
      return std::move(verdict_);
    }
    set_.set_user(UserInGuest(scene_.desired, scene_.observed.domain));
    *verdict_.AddAction(kKeys)->mutable_set_authorized_keys() = set_;
    return std::move(verdict_);
  }

 private:
  // The guest tells which keys there are; what they may do is known from the last time.
  bool HasOtherOptions(const std::string& key, const std::string& line) const {
    const auto last = applied_.find(key);
    return last != applied_.end() && KeyOptionsOf(last->second) != KeyOptionsOf(line);
  }

  void JudgeWanted(const std::string& key, const std::string& line) {
    const bool there = present_.count(key) > 0;
    if (there && !HasOtherOptions(key, line)) return;
    set_.add_add(line);
    const std::string name = KeyName(line);
    if (there) {
      verdict_.AddCurable(kKeys, kKeys, Item::FILE, "", name,
                          absl::StrCat(name, " has other options in the file"),
                          Outlook(scene_, "changed"));
      return;
    }
    const Item::Author author = MovedBy(scene_, kKeys, name, Item::GUEST);
    verdict_.AddCurable(kKeys, kKeys, author, "", name, absl::StrCat(name, " missing in the guest"),
                        Outlook(scene_, author == Item::GUEST ? "restored" : "added"));
  }

  void JudgeUnwanted(const std::string& line) {
    set_.add_remove(line);
    verdict_.AddCurable(kKeys, kKeys, Item::FILE, KeyName(line), "",
                        absl::StrCat(KeyName(line), " is no longer in the file"),
                        Outlook(scene_, "removed"));
  }

  // Of a key that is there with other options than the file has, those that it has.
  void NoteApplied() {
    Ssh* ssh = verdict_.seen.mutable_applied()->mutable_ssh();
    for (const std::string& line : scene_.desired.ssh().authorized_keys()) {
      const std::string key = KeyWithoutComment(line);
      if (present_.count(key) == 0) continue;
      ssh->add_authorized_keys(HasOtherOptions(key, line) ? applied_.at(key) : line);
    }
    verdict_.Know("applied.ssh.authorized_keys");
  }

  const Scene& scene_;
  const std::map<std::string, std::string> wanted_;
  const std::map<std::string, std::string> applied_;
  std::set<std::string> present_;
  Action::SetAuthorizedKeys set_;
  Verdict verdict_;
};

Verdict JudgeKeys(const Scene& scene) {
  return scene.observed.guest.has_value() ? KeysJudge(scene).Run() : Verdict();
}

std::vector<std::string> NamesOfKeys(const KeyLines& keys) {
  std::vector<std::string> names;
  for (const std::string& key : keys) names.push_back(KeyName(key));
  return names;
}

absl::Status ActOnKeys(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("authorized keys: no agent");
  const Action::SetAuthorizedKeys& set = action.set_authorized_keys();
  agent::SetAuthorizedKeysRequest request;
  request.set_user(set.user());
  *request.mutable_add() = set.add();
  *request.mutable_remove() = set.remove();
  deed->message =
      ListedMessage("Updated authorized keys", NamesOfKeys(set.add()), NamesOfKeys(set.remove()));
  return WithContext("authorized keys", worlds.agent->SetAuthorizedKeys(request));
}

void AskAboutKeys(const Config& desired, const MachineRecord& record, const DomainState&,
                  agent::ObserveRequest* request) {
  for (const Config* config : {&desired, &record.applied()}) {
    const KeyLines& lines = config->ssh().authorized_keys();
    request->mutable_authorized_keys()->Add(lines.begin(), lines.end());
  }
}

void IntendKeys(const Config&, const Observed&, const Action& action, MachineRecord* record) {
  std::set<std::string> owned(record->owned_keys().begin(), record->owned_keys().end());
  const KeyLines& added = action.set_authorized_keys().add();
  owned.insert(added.begin(), added.end());
  record->mutable_owned_keys()->Assign(owned.begin(), owned.end());
}

// What they may do now.
void NoteKeysDone(const Action& action, MachineRecord* record) {
  if (!record->has_applied()) return;
  for (const std::string& line : action.set_authorized_keys().add()) {
    for (std::string& old : *record->mutable_applied()->mutable_ssh()->mutable_authorized_keys()) {
      if (KeyWithoutComment(old) == KeyWithoutComment(line)) old = line;
    }
  }
}

}  // namespace

Aspect KeysAspect() {
  return {.name = kKeys,
          .fields = {kKeys},
          .known_by = Item::GUEST,
          .judge = JudgeKeys,
          .act = ActOnKeys,
          .ask = AskAboutKeys,
          .intend = IntendKeys,
          .done = NoteKeysDone};
}

}  // namespace rum
