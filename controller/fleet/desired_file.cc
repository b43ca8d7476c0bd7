#include "controller/fleet/desired_file.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/decide/status.h"
#include "controller/decide/trust.h"
#include "controller/fleet/auto_ports.h"
#include "controller/reconcile/observe.h"
#include "state/identity.h"
#include "state/paths.h"
#include "state/place.h"
#include "state/problem_text.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

constexpr char kGuestWritesFile[] =
    "the guest can write this file: values that reach the host are asked about whoever wrote them";

// Those of libvirt's that a machine has joined, by its definitions; by its record where it has
// none.
std::set<std::string> JoinedBy(const DomainState& domain, const MachineRecord& record,
                               const std::set<std::string>& of_others) {
  std::set<std::string> joined;
  for (const Config* config : {&domain.persistent, &domain.live}) {
    for (const Interface& card : config->network().interfaces()) {
      if (card.joined()) joined.insert(card.network());
    }
  }
  const Config* const had = ConfigOf(record);
  if (domain.defined || domain.running || had == nullptr) return joined;
  for (const Interface& card : had->network().interfaces()) {
    if (of_others.count(card.network()) > 0) joined.insert(card.network());
  }
  return joined;
}

}  // namespace

absl::Status Wanted::MayApply(const ApplyOptions& options) const {
  if (!blocked.empty()) return absl::FailedPreconditionError(blocked);
  const bool image_waits = std::any_of(asks.begin(), asks.end(),
                                       [](const Ask& ask) { return ask.field == kImageField; });
  if (!options.up || !image_waits || (may_start && !options.reset)) return absl::OkStatus();
  return absl::FailedPreconditionError(WaitsForWord(asks, {kImageField}));
}

MachineStatus Wanted::BlockedStatus(const MachineRecord& record, int64_t now_ms) const {
  MachineStatus status = MakeStatus(config, record, Observed(), now_ms, error, asks);
  status.set_error(blocked);
  if (record.generation() > 0) {
    status.set_phase(MachineStatus::UNREACHABLE);
    status.clear_phase_reason();
    status.clear_phase_since_ms();
    status.clear_phase_remedy();
  }
  if (!note.empty()) status.add_notes(note);
  return status;
}

void ChooseLibvirt(const Config& desired, const std::string& default_uri, MachineRecord* record) {
  if (record->applied().has_image() || !record->libvirt_uri().empty()) return;
  record->set_libvirt_default(default_uri);
  if (desired.advanced().libvirt_uri().empty()) record->set_libvirt_uri(default_uri);
}

Wanted DesiredFile::Read(const std::vector<ConsentedValue>& also,
                         const std::string& default_uri) const {
  const std::string& path = links_->machine().config_path;
  MachineRecord record = record_->Get();
  const ParsedConfig parsed = ReadTomlFile(path);
  const bool good = parsed.problems.empty();
  const Config said = good ? parsed.config : record.desired();
  const auto consent = [&] {
    Consent all = ConsentOf(record);
    all.given.insert(all.given.end(), also.begin(), also.end());
    return all;
  };
  Surroundings around = LookAround(path, {&said, consent().in_force}, consent().given);
  Withheld withheld = Withhold(said, consent(), around);
  Wanted wanted;
  if (NamesNetworks(said) && withheld.blocked_by.empty()) {
    MachineRecord there = record;
    ChooseLibvirt(withheld.config, default_uri, &there);
    wanted.libvirt = AskNetworks(UriOf(withheld.config, there), &record, &around);
    withheld = Withhold(said, consent(), around);
  }
  if (!parsed.text.empty()) wanted.text_hash = Sha256Hex(parsed.text);
  wanted.config = std::move(withheld.config);
  wanted.asks = std::move(withheld.asks);
  wanted.may_start = withheld.may_start;
  if (withheld.guest_writes_file && !wanted.asks.empty()) wanted.note = kGuestWritesFile;
  if (!withheld.blocked_by.empty()) wanted.blocked = WaitsForWord(wanted.asks, withheld.blocked_by);
  if (good) {
    // By the name that the machine was born with, wherever its folder is now.
    if (parsed.sources.count("network.hostname") == 0)
      wanted.config.mutable_network()->set_hostname(HostnameFrom(links_->machine().name));
    const std::string key = keys_.Find(links_->machine());
    if (!key.empty()) wanted.config.mutable_ssh()->add_authorized_keys(key);
    FillAutoPorts(links_->machine().id, record, CanBind, &wanted.config);
    return wanted;
  }
  const size_t slash = path.rfind('/');
  wanted.error = RenderProblems(slash == std::string::npos ? path : path.substr(slash + 1), parsed);
  return wanted;
}

absl::Status DesiredFile::AskNetworks(const std::string& uri, MachineRecord* record,
                                      Surroundings* around) const {
  const absl::StatusOr<std::shared_ptr<Hypervisor>> hypervisor = links_->hypervisor(uri);
  if (!hypervisor.ok()) return hypervisor.status();
  absl::StatusOr<std::set<std::string>> networks =
      (*hypervisor)->NetworksOfOthers(links_->machine());
  if (!networks.ok()) return OfLibvirt(networks.status());
  if (!record->networks_known()) {
    const absl::StatusOr<DomainState> domain = (*hypervisor)->Inspect(links_->machine());
    if (absl::IsPermissionDenied(domain.status())) return domain.status();  // says it all
    if (!domain.ok()) return OfLibvirt(domain.status());
    *record = record_->Amend([&](MachineRecord* seen) {
      TakeNetworksOver(JoinedBy(*domain, *seen, *networks), absl::ToUnixMillis(absl::Now()), seen);
    });
  }
  around->networks = *std::move(networks);
  return absl::OkStatus();
}

Ssh DesiredFile::ReadSsh() const {
  const ParsedConfig parsed = ReadTomlFile(links_->machine().config_path);
  return parsed.problems.empty() ? parsed.config.ssh() : record_->Get().desired().ssh();
}

absl::Status DesiredFile::NotePlace(const std::string& text_hash, MachineRecord* record) const {
  if (!rum::NotePlace(links_->machine().config_path, text_hash, record)) return absl::OkStatus();
  return record->generation() > 0 ? record_->Save(*record) : absl::OkStatus();
}

}  // namespace rum
