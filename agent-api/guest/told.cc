#include "agent-api/guest/told.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent-api/budget.h"
#include "agent-api/guest/authorized_keys.h"

namespace rum::guest {
namespace {

constexpr size_t kFieldBytes = 4;  // of an entry of a message beside its text

struct ListBudget {
  size_t bytes;  // in all
  size_t each;
  int entries;
};

// Keeps the order. False: not all of it fits.
bool Fit(const ListBudget& budget, const std::set<std::string>& first,
         google::protobuf::RepeatedPtrField<std::string>* list) {
  std::vector<bool> kept(static_cast<size_t>(list->size()));
  size_t bytes = 0;
  int entries = 0;
  for (const bool interesting : {true, false}) {
    for (int i = 0; i < list->size(); ++i) {
      const std::string& text = list->Get(i);
      if ((first.count(text) > 0) != interesting || text.size() > budget.each) continue;
      if (bytes + text.size() + kFieldBytes > budget.bytes || entries >= budget.entries) continue;
      bytes += text.size() + kFieldBytes;
      ++entries;
      kept[static_cast<size_t>(i)] = true;
    }
  }
  if (entries == list->size()) return true;
  google::protobuf::RepeatedPtrField<std::string> told;
  for (int i = 0; i < list->size(); ++i) {
    if (kept[static_cast<size_t>(i)]) *told.Add() = std::move(*list->Mutable(i));
  }
  list->Swap(&told);
  return false;
}

// A guest full of containers has hundreds of cards; the host's are those with an address.
bool FitCards(google::protobuf::RepeatedPtrField<agent::Card>* cards) {
  bool whole = true;
  for (agent::Card& card : *cards) {
    if (card.addresses_size() <= kMostAddresses) continue;
    card.mutable_addresses()->DeleteSubrange(kMostAddresses,
                                             card.addresses_size() - kMostAddresses);
    whole = false;
  }
  const auto size = [&] {
    size_t bytes = 0;
    for (const agent::Card& card : *cards) bytes += card.ByteSizeLong() + kFieldBytes;
    return bytes;
  };
  if (cards->size() <= kMostCards && size() <= kToldOfCards) return whole;
  std::stable_sort(cards->begin(), cards->end(), [](const auto& a, const auto& b) {
    return !a.addresses().empty() && b.addresses().empty();
  });
  while (cards->size() > kMostCards || size() > kToldOfCards) cards->RemoveLast();
  std::sort(cards->begin(), cards->end(),
            [](const auto& a, const auto& b) { return a.name() < b.name(); });
  return false;
}

void Cut(size_t most, std::string* text) {
  if (text->size() <= most) return;
  text->resize(most);
  absl::StrAppend(text, " ... (cut)");
}

void FitReasons(google::protobuf::RepeatedPtrField<agent::VolumeState>* volumes) {
  for (agent::VolumeState& volume : *volumes) Cut(kToldOfAProblem, volume.mutable_problem());
}

void FitDrives(google::protobuf::RepeatedPtrField<agent::DriveState>* drives) {
  while (drives->size() > kMostDrives) drives->RemoveLast();
  for (agent::DriveState& drive : *drives) {
    Cut(kToldOfADrive, drive.mutable_cannot_grow());
    Cut(kToldOfADrive, drive.mutable_used());
    Cut(kToldOfAProblem, drive.mutable_problem());
  }
}

void FitShares(agent::Shares* shares) {
  while (shares->leaving_size() > kMostShares) shares->mutable_leaving()->RemoveLast();
  for (agent::ShareState& share : *shares->mutable_leaving()) {
    Cut(kToldOfADrive, share.mutable_used());
  }
}

// Those of targets that are told.
void FitUsers(const agent::Observation& seen,
              google::protobuf::RepeatedPtrField<agent::StaleUsers>* users) {
  const std::set<std::string> told(seen.stale_targets().begin(), seen.stale_targets().end());
  google::protobuf::RepeatedPtrField<agent::StaleUsers> kept;
  for (agent::StaleUsers& one : *users) {
    if (told.count(one.target()) == 0) continue;
    Cut(kToldOfADrive, one.mutable_users());
    *kept.Add() = std::move(one);
  }
  users->Swap(&kept);
}

}  // namespace

void FitToBudget(const agent::ObserveRequest& request, agent::Observation* seen) {
  const ListBudget groups{kToldOfGroups, kMostNameBytes, seen->groups_size()};
  const std::set<std::string> groups_first(request.groups().begin(), request.groups().end());
  if (!Fit(groups, groups_first, seen->mutable_groups())) seen->add_cut("groups");
  const ListBudget keys{kToldOfKeys, kMostKeyBytes, seen->authorized_keys_size()};
  std::set<std::string> keys_first;
  for (const std::string& line : request.authorized_keys()) keys_first.insert(KeyOfLine(line));
  if (!Fit(keys, keys_first, seen->mutable_authorized_keys())) seen->add_cut("authorized_keys");
  const ListBudget targets{kToldOfTargets, kMostPathBytes, kMostStaleTargets};
  if (!Fit(targets, {}, seen->mutable_stale_targets())) seen->add_cut("stale_targets");
  if (!FitCards(seen->mutable_cards())) seen->add_cut("cards");
  FitReasons(seen->mutable_volumes());
  FitDrives(seen->mutable_drives());
  if (seen->has_shares()) FitShares(seen->mutable_shares());
  FitUsers(*seen, seen->mutable_stale_users());
  for (agent::CardState& card : *seen->mutable_card_states())
    Cut(kToldOfADrive, card.mutable_problem());
  while (seen->stale_cards_size() > kMostCards) seen->mutable_stale_cards()->RemoveLast();
}

void FitToBudget(agent::SetStorageReply* reply) {
  FitReasons(reply->mutable_volumes());
  FitDrives(reply->mutable_drives());
  if (reply->has_shares()) FitShares(reply->mutable_shares());
  Cut(kToldOfAProblem, reply->mutable_stale_problem());
}

}  // namespace rum::guest
