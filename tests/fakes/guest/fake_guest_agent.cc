#include "tests/fakes/guest/fake_guest_agent.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent-api/protocol.h"
#include "state/names.h"

namespace rum {

using Lock = std::unique_lock<std::mutex>;

namespace {

constexpr size_t kMostRunId = 64;

absl::Status NoUser(const std::string& user) {
  return absl::FailedPreconditionError("no user " + user + " in the guest");
}

}  // namespace

void FakeGuest::SetConnected(bool value) {
  Lock lock(mutex);
  connected = value;
  changed.notify_all();
}

void FakeGuest::Reboot(const std::string& new_boot_id) {
  Lock lock(mutex);
  boot_id = new_boot_id;
  hostname = static_hostname;
  offline_cpus = 0;
}

int FakeGuest::TimesRun(const std::string& script) const {
  Lock lock(mutex);
  return static_cast<int>(std::count(executed.begin(), executed.end(), script));
}

absl::Status FakeGuestAgent::WaitConnected(absl::Duration timeout) {
  Lock lock(guest_->mutex);
  const bool there = guest_->changed.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                                              [&] { return guest_->connected; });
  return there ? absl::OkStatus() : absl::DeadlineExceededError("no session with the agent");
}

absl::Status FakeGuestAgent::Session() const {
  return guest_->connected ? absl::OkStatus() : absl::UnavailableError("no session with the agent");
}

absl::Status FakeGuestAgent::Begin() {
  if (absl::Status there = Session(); !there.ok()) return there;
  const absl::Status after = std::exchange(guest_->fail_after, absl::OkStatus());
  if (absl::Status failure = std::exchange(guest_->fail_next, after); !failure.ok()) return failure;
  ++guest_->calls;
  return absl::OkStatus();
}

std::pair<uint32_t, uint64_t> FakeGuestAgent::Given() {
  Lock lock(guest_->mutex);
  const auto given = guest_->given;
  lock.unlock();
  return given ? given() : std::pair<uint32_t, uint64_t>();
}

absl::StatusOr<agent::Observation> FakeGuestAgent::Observe(const agent::ObserveRequest& request) {
  const auto [plugged, memory_mb] = Given();
  Lock lock(guest_->mutex);
  if (absl::Status there = Session(); !there.ok()) return there;
  if (!guest_->refused.ok()) return guest_->refused;
  agent::Observation observation;
  observation.set_protocol(kProtocol);
  observation.set_boot_id(guest_->boot_id);
  observation.set_hostname(guest_->hostname);
  observation.set_static_hostname(guest_->static_hostname);
  *observation.mutable_settings() = guest_->settings;
  if (plugged > guest_->offline_cpus) {
    agent::Resources* const resources = observation.mutable_resources();
    resources->set_cpus(plugged - guest_->offline_cpus);
    resources->set_cpus_there(plugged);
    resources->set_memory_kib(memory_mb * 1024);
    resources->set_available_kib((memory_mb - std::min(memory_mb, guest_->used_mb)) * 1024);
    resources->set_offline_kib(guest_->offline_mb * 1024);
  }
  observation.set_user_exists(guest_->strangers.count(request.user()) == 0);
  if (observation.user_exists()) {
    for (const std::string& group : guest_->groups) observation.add_groups(group);
    for (const std::string& key : guest_->keys) observation.add_authorized_keys(key);
  }
  agent::Card* card = observation.add_cards();
  card->set_name("eth0");
  if (!guest_->address.empty()) card->add_addresses(guest_->address);
  TellCards(request, &observation);
  std::set<std::string> stale = guest_->mounted;
  for (const agent::Volume& volume : request.volumes()) {
    agent::VolumeState* state = observation.add_volumes();
    state->set_target(volume.target());
    state->set_holds(stale.erase(volume.target()) > 0);
  }
  for (const std::string& target : stale) {
    observation.add_stale_targets(target);
    const auto users = guest_->busy.find(target);
    if (users == guest_->busy.end()) continue;
    observation.add_stale_users()->set_target(target);
    observation.mutable_stale_users()->rbegin()->set_users(users->second);
  }
  for (const auto& [serial, drive] : guest_->drives) {
    *observation.add_drives() = drive;
    observation.mutable_drives()->rbegin()->set_serial(serial);
  }
  if (guest_->knows_shares) *observation.mutable_shares() = Shares(request.leaving_shares());
  for (const agent::ScriptRun& run : guest_->runs) *observation.add_runs() = run;
  observation.set_boot_script_hash(guest_->boot_script_hash);
  return observation;
}

void FakeGuestAgent::TellCards(const agent::ObserveRequest& request,
                               agent::Observation* observation) const {
  if (!guest_->sets_up_cards) return;
  observation->set_sets_up_cards(true);
  std::set<std::string> stale = guest_->own_cards;
  for (const std::string& mac : request.cards()) {
    stale.erase(mac);
    agent::Card* const card = observation->add_cards();
    card->set_name("card" + mac);
    card->set_mac(mac);
    agent::CardState* const state = observation->add_card_states();
    state->set_mac(mac);
    const auto unseen = guest_->unseen_cards.find(mac);
    if (unseen == guest_->unseen_cards.end()) {
      card->add_addresses("192.0.2.3");
      continue;
    }
    state->set_curable(unseen->second.empty());
    state->set_problem(state->curable() ? "nobody sees to it" : unseen->second);
  }
  observation->mutable_stale_cards()->Assign(stale.begin(), stale.end());
}

absl::Status FakeGuestAgent::SetCards(const agent::SetCardsRequest& request) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  for (const std::string& mac : request.awaited()) {
    const auto unseen = guest_->unseen_cards.find(mac);
    if (unseen == guest_->unseen_cards.end() || !unseen->second.empty()) continue;
    guest_->unseen_cards.erase(unseen);
    guest_->own_cards.insert(mac);
  }
  std::set<std::string> kept;
  for (const std::string& mac : request.macs()) {
    if (guest_->own_cards.count(mac) > 0) kept.insert(mac);
  }
  guest_->own_cards = kept;
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::SetHostname(const std::string& hostname) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  if (!IsHostname(hostname)) return absl::InvalidArgumentError("not a hostname: " + hostname);
  guest_->hostname = hostname;
  guest_->static_hostname = hostname;
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::Set(const agent::Settings& settings) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  if (guest_->no_zones.count(settings.timezone()) > 0) {
    return absl::FailedPreconditionError("the guest has no time zone " + settings.timezone());
  }
  guest_->settings.MergeFrom(settings);
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::SetResources(const agent::SetResourcesRequest& request) {
  const uint32_t plugged = Given().first;
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  guest_->offline_mb = 0;
  if (request.cpus() == 0) return absl::OkStatus();
  if (request.cpus() > plugged) return absl::AbortedError("the guest has fewer CPUs");
  guest_->offline_cpus = plugged - request.cpus();
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::SetGroups(const agent::SetGroupsRequest& request) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  if (guest_->strangers.count(request.user()) > 0) return NoUser(request.user());
  for (const std::string& group : request.add()) guest_->groups.insert(group);
  for (const std::string& group : request.remove()) guest_->groups.erase(group);
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::SetAuthorizedKeys(const agent::SetAuthorizedKeysRequest& request) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  if (guest_->strangers.count(request.user()) > 0) return NoUser(request.user());
  for (const std::string& line : request.remove()) guest_->keys.erase(KeyWithoutComment(line));
  for (const std::string& line : request.add()) guest_->keys.insert(KeyWithoutComment(line));
  return absl::OkStatus();
}

absl::StatusOr<agent::SetStorageReply> FakeGuestAgent::SetStorage(
    const agent::SetStorageRequest& request) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  for (const std::string& tag : request.lost_shares()) {
    for (const auto& [target, mounted] : guest_->tags) {
      if (mounted == tag) guest_->mounted.erase(target), guest_->busy.erase(target);
    }
  }
  std::set<std::string> stale = guest_->mounted;
  for (const agent::Volume& volume : request.volumes()) stale.erase(volume.target());
  guest_->mounted.clear();
  for (const auto& [target, users] : guest_->busy) {
    if (stale.count(target) > 0) guest_->mounted.insert(target);
  }
  agent::SetStorageReply reply;
  for (const agent::Volume& volume : request.volumes()) {
    agent::VolumeState* state = reply.add_volumes();
    state->set_target(volume.target());
    const auto broken = guest_->broken.find(volume.target());
    state->set_holds(broken == guest_->broken.end());
    if (state->holds()) {
      guest_->mounted.insert(volume.target());
      guest_->tags[volume.target()] = volume.tag();
    } else {
      state->set_problem(broken->second);
    }
  }
  if (guest_->knows_shares) *reply.mutable_shares() = Shares(request.leaving_shares());
  if (guest_->drives.empty()) return reply;
  for (const agent::DriveWish& wish : request.drives()) Grant(wish, reply.add_drives());
  return reply;
}

agent::ScriptRun* FakeGuestAgent::Find(const std::string& run_id) const {
  const auto found =
      std::find_if(guest_->runs.begin(), guest_->runs.end(),
                   [&](const agent::ScriptRun& run) { return run.run_id() == run_id; });
  return found == guest_->runs.end() ? nullptr : &*found;
}

agent::RunScriptEvent FakeGuestAgent::OutputOf(const std::string& run_id, uint64_t offset) const {
  const std::string& all = guest_->outputs[run_id];
  agent::RunScriptEvent event;
  event.set_offset(offset);
  event.set_standard_output(all.substr(std::min<size_t>(offset, all.size())));
  return event;
}

absl::Status FakeGuestAgent::MayRun(const agent::RunScriptRequest& request) const {
  const std::string& id = request.run_id();
  if (id.empty() || id.size() > kMostRunId || !std::all_of(id.begin(), id.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-';
      })) {
    return absl::InvalidArgumentError("run_id: " + id);
  }
  std::string last;
  for (const agent::ScriptRun& run : guest_->runs) {
    if (run.kind() == request.kind()) last = run.run_id();
  }
  if (request.has_last_run_id() && request.last_run_id() != last && Find(id) == nullptr) {
    return absl::AbortedError("it has run meanwhile, as " + last);
  }
  return absl::OkStatus();
}

agent::Shares FakeGuestAgent::Shares(
    const google::protobuf::RepeatedPtrField<std::string>& leaving) const {
  agent::Shares shares;
  shares.set_virtiofs(guest_->has_virtiofs);
  for (const std::string& tag : leaving) {
    agent::ShareState* const state = shares.add_leaving();
    state->set_tag(tag);
    for (const std::string& target : guest_->mounted) {
      if (guest_->tags[target] != tag) continue;
      const auto users = guest_->busy.find(target);
      const bool busy = users != guest_->busy.end();
      state->set_used(absl::StrCat("mounted at ", target, busy ? ", in use by " : "",
                                   busy ? users->second : ""));
      state->set_idle(!busy);
    }
    const auto elsewhere = guest_->mounted_elsewhere.find(tag);
    if (elsewhere == guest_->mounted_elsewhere.end()) continue;
    state->set_used(absl::StrCat("mounted where ", elsewhere->second, " runs"));
    state->set_idle(false);
  }
  return shares;
}

// What is plugged in appears, and what is let go is gone from then on.
void FakeGuestAgent::Grant(const agent::DriveWish& wish, agent::DriveState* state) {
  agent::DriveState& drive = guest_->drives[wish.serial()];
  drive.set_size(std::max(drive.size(), wish.size()));
  if (wish.grow() && drive.cannot_grow().empty()) drive.set_grows(false);
  *state = drive;
  state->set_serial(wish.serial());
  if (wish.grow()) state->set_problem(drive.cannot_grow());
  if (!wish.release()) return;
  state->set_problem(drive.used());
  if (drive.used().empty()) guest_->drives.erase(wish.serial());
}

absl::StatusOr<agent::ScriptRun> FakeGuestAgent::RunScript(
    const agent::RunScriptRequest& request,
    const std::function<void(const agent::RunScriptEvent&)>& output) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  if (absl::Status may = MayRun(request); !may.ok()) return may;
  if (agent::ScriptRun* const known = Find(request.run_id()); known != nullptr) {
    if (known->ended_ms() == 0 && known->ending() == agent::ScriptRun::BY_ITSELF)
      known->set_ended_ms(known->started_ms() + 1);  // it was going on: now it ends
    const agent::ScriptRun run = *known;
    const agent::RunScriptEvent event = OutputOf(request.run_id(), request.offset());
    lock.unlock();
    if (!event.standard_output().empty() && output) output(event);
    return run;
  }
  if (request.kind() == "boot") guest_->boot_script_hash = request.content_hash();
  agent::ScriptRun run;
  run.set_kind(request.kind());
  run.set_content_hash(request.content_hash());
  run.set_boot_id(guest_->boot_id);
  run.set_run_id(request.run_id());
  run.set_started_ms(1000 + static_cast<int64_t>(guest_->runs.size()));
  run.set_ended_ms(run.started_ms() + 1);
  if (int& left = guest_->reboots[request.script()]; left > 0) {
    --left;
    run.clear_ended_ms();
    run.set_ending(agent::ScriptRun::INTERRUPTED);
    guest_->runs.push_back(run);
    guest_->executed.push_back(request.script());
    guest_->hostname = guest_->static_hostname;
    guest_->boot_id += "'";
    return absl::UnavailableError("the connection to the agent in the guest was lost");
  }
  auto status = guest_->exit_statuses.find(request.script());
  run.set_exit_status(status == guest_->exit_statuses.end() ? 0 : status->second);
  const std::string said = "output of " + request.script() + "\n";
  run.set_output_bytes(said.size());
  guest_->runs.push_back(run);
  guest_->outputs[run.run_id()] = said;
  guest_->executed.push_back(request.script());
  const agent::RunScriptEvent event = OutputOf(run.run_id(), request.offset());
  lock.unlock();
  if (output) output(event);
  return run;
}

absl::StatusOr<agent::ScriptRun> FakeGuestAgent::FollowRun(
    const agent::FollowRunRequest& request,
    const std::function<bool(const agent::RunScriptEvent&)>& output) {
  Lock lock(guest_->mutex);
  if (absl::Status there = Session(); !there.ok()) return there;
  const agent::ScriptRun* const run = Find(request.run_id());
  if (run == nullptr) return absl::NotFoundError("no run " + request.run_id());
  const agent::RunScriptEvent event = OutputOf(request.run_id(), request.offset());
  if (!event.standard_output().empty() && !output(event)) {
    return absl::CancelledError("the call to the agent in the guest was given up");
  }
  return *run;
}

absl::Status FakeGuestAgent::CancelRun(const std::string& run_id) {
  Lock lock(guest_->mutex);
  if (absl::Status there = Session(); !there.ok()) return there;
  if (Find(run_id) == nullptr) return absl::NotFoundError("no run " + run_id);
  guest_->cancelled.push_back(run_id);
  guest_->changed.notify_all();
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::SetBootScript(const agent::SetBootScriptRequest& request) {
  Lock lock(guest_->mutex);
  if (absl::Status begun = Begin(); !begun.ok()) return begun;
  guest_->boot_script_hash = request.content_hash();
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::Exec(const std::function<bool(agent::ExecInput*)>& next_input,
                                  const std::function<void(const agent::ExecOutput&)>& output) {
  {
    const Lock lock(guest_->mutex);
    if (absl::Status there = Session(); !there.ok()) return there;
  }
  agent::ExecInput input;
  if (!next_input(&input)) return absl::InvalidArgumentError("nothing to run");
  agent::ExecOutput ended;
  ended.set_exit_status(0);
  output(ended);
  return absl::OkStatus();
}

absl::Status FakeGuestAgent::Copy(const std::function<bool(agent::CopyMessage*)>& next_input,
                                  const std::function<void(const agent::CopyMessage&)>& output) {
  {
    const Lock lock(guest_->mutex);
    if (absl::Status there = Session(); !there.ok()) return there;
  }
  agent::CopyMessage message;
  if (!next_input(&message)) return absl::CancelledError("nothing to copy");
  agent::CopyMessage end;
  end.mutable_end()->set_error("there are no files in this guest");
  output(end);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FakeGuestAgent::ReadHostKeys() {
  const Lock lock(guest_->mutex);
  if (absl::Status there = Session(); !there.ok()) return there;
  return guest_->host_keys;
}

void FakeGuestAgent::Dial(uint16_t, std::function<void(absl::StatusOr<int>)> done) {
  Lock lock(guest_->mutex);
  const absl::Status there = Session();
  lock.unlock();
  done(there.ok() ? absl::FailedPreconditionError("nothing listens in the guest") : there);
}

}  // namespace rum
