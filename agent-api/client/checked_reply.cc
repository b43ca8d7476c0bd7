#include "agent-api/client/checked_reply.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/budget.h"

namespace rum {
namespace {

// So far that no sum of an offset and a size, or of a time and a while, runs over.
constexpr uint64_t kMostOffset = uint64_t{1} << 60;
constexpr int64_t kMostTimeMs = int64_t{1} << 48;

template <typename... Words>
absl::Status Refused(const Words&... words) {
  return absl::DataLossError(absl::StrCat(kNoAgent, words...));
}

bool IsOneOf(const char* others, const std::string& text) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           (c != 0 && std::strchr(others, c) != nullptr);
  });
}

absl::Status CheckSize(const char* what, const std::string& text, size_t most) {
  if (text.size() <= most) return absl::OkStatus();
  return Refused(what, " of ", text.size(), " bytes (at most ", most, ")");
}

// `others`: what it may be made of beside letters and digits.
absl::Status CheckWord(const char* what, const std::string& text, const char* others,
                       size_t most = kMostNameBytes) {
  if (absl::Status status = CheckSize(what, text, most); !status.ok()) return status;
  return IsOneOf(others, text) ? absl::OkStatus()
                               : Refused(what, " with characters that it never has");
}

absl::Status CheckLine(const char* what, const std::string& text, size_t most) {
  if (absl::StrContains(text, '\n')) return Refused(what, " of several lines");
  return CheckSize(what, text, most);
}

absl::Status CheckCount(const char* what, int count, int most) {
  return count <= most ? absl::OkStatus() : Refused(count, " ", what, " (at most ", most, ")");
}

absl::Status CheckTime(const char* what, int64_t time_ms) {
  return time_ms >= 0 && time_ms <= kMostTimeMs ? absl::OkStatus()
                                                : Refused(what, " beyond all times");
}

// The first of `checks` that found something.
absl::Status FirstOf(std::initializer_list<absl::Status> checks) {
  for (const absl::Status& status : checks) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckCard(const agent::Card& card) {
  absl::Status status =
      FirstOf({CheckSize("the name of a card", card.name(), kMostNameBytes),
               CheckWord("the MAC address of a card", card.mac(), ":"),
               CheckCount("addresses of a card", card.addresses_size(), kMostAddresses)});
  for (const std::string& address : card.addresses()) {
    status.Update(CheckWord("the address of a card", address, ".:", 64));
  }
  return status;
}

absl::Status CheckVolume(const std::string& wanted, const agent::VolumeState& volume) {
  if (volume.target() != wanted) return Refused("a volume that nobody asked about");
  return CheckSize("the problem of a volume", volume.problem(), kMostReasonBytes);
}

absl::Status CheckDrive(const agent::DriveState& drive) {
  return FirstOf({CheckWord("the serial of a drive", drive.serial(), "._-"),
                  CheckSize("why a drive cannot grow", drive.cannot_grow(), kMostReasonBytes),
                  CheckSize("the users of a drive", drive.used(), kMostReasonBytes),
                  CheckSize("the problem of a drive", drive.problem(), kMostReasonBytes)});
}

// `asked`: the MAC addresses of the request.
absl::Status CheckCardStates(const google::protobuf::RepeatedPtrField<std::string>& asked,
                             const agent::Observation& seen) {
  absl::Status status = CheckCount("stale cards", seen.stale_cards_size(), kMostCards);
  if (seen.card_states_size() > asked.size()) {
    return Refused("the states of ", seen.card_states_size(), " cards, asked about ", asked.size());
  }
  for (const agent::CardState& card : seen.card_states()) {
    if (std::find(asked.begin(), asked.end(), card.mac()) == asked.end())
      return Refused("a card that nobody asked about");
    status.Update(CheckSize("the problem of a card", card.problem(), kMostReasonBytes));
  }
  for (const std::string& mac : seen.stale_cards()) {
    status.Update(CheckWord("the MAC address of a card", mac, ":"));
  }
  return status;
}

// `asked`: the tags of which it was asked.
absl::Status CheckShares(const google::protobuf::RepeatedPtrField<std::string>& asked,
                         const agent::Shares& shares) {
  absl::Status status = CheckCount("shared folders", shares.leaving_size(), asked.size());
  for (const agent::ShareState& share : shares.leaving()) {
    const bool known = std::find(asked.begin(), asked.end(), share.tag()) != asked.end();
    if (!known) status.Update(Refused("a shared folder that nobody asked about"));
    status.Update(CheckSize("the users of a shared folder", share.used(), kMostReasonBytes));
  }
  return status;
}

absl::Status CheckSettings(const agent::Settings& settings) {
  absl::Status status;
  std::vector<const google::protobuf::FieldDescriptor*> told;
  settings.GetReflection()->ListFields(settings, &told);
  for (const auto* field : told) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING) continue;
    const std::string value = settings.GetReflection()->GetString(settings, field);
    status.Update(CheckLine("a setting", value, kMostNameBytes));
  }
  return status;
}

absl::Status CheckResources(const agent::Resources& resources) {
  constexpr uint64_t kMostKib = uint64_t{1} << 50;  // an exbibyte
  for (const uint32_t cpus : {resources.cpus(), resources.cpus_there()}) {
    if (cpus > 65536) return Refused(cpus, " CPUs");
  }
  for (const uint64_t kib :
       {resources.memory_kib(), resources.available_kib(), resources.offline_kib()}) {
    if (kib > kMostKib) return Refused("memory of ", kib, " KiB");
  }
  return absl::OkStatus();
}

}  // namespace

bool SaysWhatNoAgentSays(const absl::Status& status) {
  return absl::IsDataLoss(status) && absl::StartsWith(status.message(), kNoAgent);
}

absl::Status CheckGreeting(const agent::Observation& seen) {
  return FirstOf({CheckAnswer(seen), CheckWord("a version", seen.agent_version(), ".-+~"),
                  CheckWord("a build id", seen.build_id(), ".-_"),
                  CheckWord("a boot id", seen.boot_id(), "-", 64)});
}

absl::Status CheckReply(const agent::ObserveRequest& request, const agent::Observation& seen) {
  absl::Status status =
      FirstOf({CheckGreeting(seen), CheckSize("a hostname", seen.hostname(), kMostHostnameBytes),
               CheckSize("a hostname", seen.static_hostname(), kMostHostnameBytes),
               CheckWord("the hash of a script", seen.boot_script_hash(), ""),
               CheckCount("runs of scripts", seen.runs_size(), kMostRunsTold),
               CheckCount("network cards", seen.cards_size(), kMostCards),
               CheckCount("stale targets", seen.stale_targets_size(), kMostStaleTargets),
               CheckCount("lists that are not whole", seen.cut_size(), kMostCards),
               CheckCount("drives", seen.drives_size(), kMostDrives),
               CheckCount("users of targets", seen.stale_users_size(), kMostStaleTargets),
               CheckSettings(seen.settings()), CheckResources(seen.resources()),
               CheckShares(request.leaving_shares(), seen.shares())});
  for (const std::string& group : seen.groups()) {
    status.Update(CheckLine("the name of a group", group, kMostNameBytes));
  }
  for (const std::string& key : seen.authorized_keys()) {
    status.Update(CheckLine("an ssh key", key, kMostKeyBytes));
  }
  for (const std::string& target : seen.stale_targets()) {
    status.Update(CheckSize("a path", target, kMostPathBytes));
  }
  for (const std::string& field : seen.cut()) {
    status.Update(CheckWord("the name of a list", field, "_"));
  }
  for (const agent::ScriptRun& run : seen.runs()) status.Update(CheckRun(run));
  for (const agent::Card& card : seen.cards()) status.Update(CheckCard(card));
  for (const agent::DriveState& drive : seen.drives()) status.Update(CheckDrive(drive));
  status.Update(CheckCardStates(request.cards(), seen));
  for (const agent::StaleUsers& users : seen.stale_users()) {
    status.Update(CheckSize("a path", users.target(), kMostPathBytes));
    status.Update(CheckSize("the users of a target", users.users(), kMostReasonBytes));
  }
  if (seen.volumes_size() > request.volumes_size()) {
    status.Update(Refused(seen.volumes_size(), " volumes, asked about ", request.volumes_size()));
    return status;
  }
  for (int i = 0; i < seen.volumes_size(); ++i) {
    status.Update(CheckVolume(request.volumes(i).target(), seen.volumes(i)));
  }
  return status;
}

absl::Status CheckReply(const agent::SetStorageRequest& request,
                        const agent::SetStorageReply& reply) {
  absl::Status status;
  if (reply.volumes_size() != request.volumes_size()) {
    return Refused(reply.volumes_size(), " volumes, asked for ", request.volumes_size());
  }
  for (int i = 0; i < reply.volumes_size(); ++i) {
    status.Update(CheckVolume(request.volumes(i).target(), reply.volumes(i)));
  }
  // None: an older agent.
  if (reply.drives_size() > request.drives_size())
    status.Update(Refused(reply.drives_size(), " drives, asked for ", request.drives_size()));
  for (const agent::DriveState& drive : reply.drives()) status.Update(CheckDrive(drive));
  status.Update(CheckShares(request.leaving_shares(), reply.shares()));
  status.Update(CheckSize("the problem of a target", reply.stale_problem(), kMostReasonBytes));
  return status;
}

absl::Status CheckReply(const agent::ReadHostKeysRequest&, const agent::ReadHostKeysReply& reply) {
  absl::Status status = FirstOf({CheckCount("host keys", reply.keys_size(), kMostHostKeys)});
  for (const std::string& key : reply.keys()) {
    status.Update(CheckLine("a host key", key, kMostKeyBytes));
  }
  return status;
}

absl::Status CheckAnswer(const google::protobuf::Message& reply) {
  const size_t size = reply.ByteSizeLong();
  if (size <= kMostAnswerBytes) return absl::OkStatus();
  return Refused("an answer of ", size, " bytes (at most ", kMostAnswerBytes, ")");
}

absl::Status CheckRun(const agent::ScriptRun& run) {
  if (!IsRunId(run.run_id())) return Refused("a run with an id that none has");
  if (!IsRunKind(run.kind())) return Refused("a run of a kind that there is not");
  return FirstOf({CheckWord("the hash of a script", run.content_hash(), ""),
                  CheckWord("a boot id", run.boot_id(), "-", 64),
                  CheckTime("the beginning of a run", run.started_ms()),
                  CheckTime("the end of a run", run.ended_ms())});
}

absl::Status RunEvents::Check(const agent::RunScriptEvent& event) {
  if (event.has_ended()) {
    if (event.ended().run_id() != run_id_) return Refused("the end of another run");
    return CheckRun(event.ended());
  }
  const std::string& bytes =
      event.has_standard_error() ? event.standard_error() : event.standard_output();
  absl::Status status = FirstOf({CheckSize("output of a script", bytes, kMostEventBytes),
                                 CheckTime("the time of a script's output", event.time_ms())});
  if (!status.ok()) return status;
  // Those of the first agents have no offsets, and a piece of no bytes tells only that it goes on.
  if (event.offset() > kMostOffset ||
      (event.offset() != 0 && !bytes.empty() && event.offset() < end_)) {
    return Refused("output of a script at a place where it cannot be");
  }
  if (!bytes.empty()) end_ = std::max(end_, event.offset() + bytes.size());
  return absl::OkStatus();
}

}  // namespace rum
