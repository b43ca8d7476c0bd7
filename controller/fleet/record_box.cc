#include "controller/fleet/record_box.h"

#include <utility>

#include "absl/time/clock.h"
#include "controller/decide/trust.h"
#include "state/surroundings.h"

namespace rum {
namespace {

std::vector<ConsentedValue> ImagesAsked(const Config* config, const Surroundings& around) {
  std::vector<ConsentedValue> images;
  if (config == nullptr) return images;
  for (const Ask& ask : Withhold(*config, Consent(), around).asks) {
    if (ask.field == kImageField) images.push_back(ConsentTo(ask, 0));
  }
  return images;
}

}  // namespace

RecordBox::RecordBox(const MachineIdentity& born, StateStore* store,
                     std::function<std::string()> config_path,
                     std::function<void(const MachineRecord&)> on_load)
    : born_(born),
      store_(store),
      config_path_(std::move(config_path)),
      on_load_(std::move(on_load)),
      record_(Fresh()) {}

MachineRecord RecordBox::Fresh() const {
  MachineRecord record;
  record.set_format(1);
  record.set_id(born_.id);
  record.set_name(born_.name);
  record.set_config_path(config_path_());
  record.set_identity_rule(1);
  record.set_consent_known(true);
  record.set_networks_known(true);
  return record;
}

// What a record of an older build lacks is as its defaults are: no change of the file.
MachineRecord RecordBox::TakenOver(MachineRecord record) const {
  const auto fill = [](Config* config) {
    if (config->reconcile().restart().empty()) config->mutable_reconcile()->set_restart("on-crash");
  };
  if (record.has_desired()) fill(record.mutable_desired());
  if (record.has_applied()) fill(record.mutable_applied());
  if (!record.consent_known()) {
    const std::string path = config_path_();
    const Config* const had = ConfigOf(record);
    // An image that counts as consented may be looked into, and is meant as it is.
    const std::vector<ConsentedValue> images = ImagesAsked(had, LookAround(path, {had}));
    TakeConsentOver(LookAround(path, {had}, images), absl::ToUnixMillis(absl::Now()), &record);
  }
  return record;
}

void RecordBox::TakeUp(MachineRecord record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (loaded_ || record.id() != born_.id) return;
  record_ = TakenOver(std::move(record));
  loaded_ = true;
  on_load_(record_);
}

absl::Status RecordBox::Ready() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (loaded_) return absl::OkStatus();
  absl::StatusOr<MachineRecord> record = store_->Load(born_.id);
  if (record.ok()) {
    record_ = TakenOver(*std::move(record));
  } else if (absl::IsDataLoss(record.status())) {
    load_error_ = std::string(record.status().message());
  } else if (!absl::IsNotFound(record.status())) {
    return record.status();
  }
  loaded_ = true;
  on_load_(record_);
  return absl::OkStatus();
}

MachineRecord RecordBox::Get() {
  (void)Ready();
  const std::lock_guard<std::mutex> lock(mutex_);
  return record_;
}

std::string RecordBox::load_error() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return load_error_;
}

bool RecordBox::made() {
  if (!Ready().ok()) return true;
  const std::lock_guard<std::mutex> lock(mutex_);
  return record_.generation() > 0;
}

bool RecordBox::want_running() {
  (void)Ready();
  const std::lock_guard<std::mutex> lock(mutex_);
  return record_.want_running();
}

void RecordBox::Show(const MachineRecord& record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  record_ = record;
}

MachineRecord RecordBox::Amend(const std::function<void(MachineRecord*)>& amend) {
  const std::lock_guard<std::mutex> lock(mutex_);
  amend(&record_);
  return record_;
}

absl::Status RecordBox::SaveWord(const MachineRecord& record) {
  const bool empty = record.generation() == 0 && record.consented().empty();
  absl::Status saved = empty ? store_->Remove(record.id()) : store_->Save(record);
  if (saved.ok()) Show(record);
  return saved;
}

absl::Status RecordBox::Forget() {
  if (absl::Status forgotten = store_->Remove(born_.id); !forgotten.ok()) return forgotten;
  MachineRecord fresh = Fresh();
  const std::lock_guard<std::mutex> lock(mutex_);
  fresh.set_last_event(record_.last_event());
  record_ = std::move(fresh);
  return absl::OkStatus();
}

absl::Status RecordBox::Save(const MachineRecord& record) {
  absl::Status saved = store_->Save(record);
  if (saved.ok()) Show(record);
  return saved;
}

}  // namespace rum
