#include "controller/hypervisor/ledger.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/volume_names.h"
#include "controller/images/durable_file.h"
#include "state/file.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

using Names = google::protobuf::RepeatedPtrField<std::string>;

bool AddName(const std::string& name, Names* names) {
  if (std::find(names->begin(), names->end(), name) != names->end()) return false;
  *names->Add() = name;
  return true;
}

bool Drop(const std::string& name, Names* names) {
  const auto at = std::find(names->begin(), names->end(), name);
  if (at == names->end()) return false;
  names->erase(at);
  return true;
}

// The path of a volume beside `path` under a name of rum's.
std::string Beside(const std::string& path, const std::string& domain, VolumeKind kind,
                   const std::string& part) {
  return (fs::path(path).parent_path() / VolumeName(domain, kind, part)).string();
}

}  // namespace

std::set<std::string> OwnVolumes(const std::string& domain, const DomainFacts& facts) {
  if (facts.own_volumes.has_value()) return *facts.own_volumes;
  std::set<std::string> own;
  // The definition says under which name the disk was made, also where another file stands on it
  // now.
  if (!facts.root_path.empty() && !facts.disk_nonce.empty()) {
    own.insert(Beside(facts.root_path, domain, VolumeKind::kRoot, facts.disk_nonce));
  }
  const std::string seed = fs::path(facts.seed_path).filename().string();
  const auto parsed = ParseVolumeName(domain, seed);
  if (parsed.has_value() && parsed->kind == VolumeKind::kSeed) own.insert(facts.seed_path);
  for (const auto& [name, path] : facts.drive_paths) {
    if (path == Beside(path, domain, VolumeKind::kDrive, DriveSerial(name))) own.insert(path);
  }
  return own;
}

std::set<std::string> OwnNetworks(const DomainFacts& facts) {
  if (facts.own_volumes.has_value()) return facts.own_networks;
  std::set<std::string> own;
  for (const Interface& interface : facts.config.network().interfaces()) {
    const std::string name = OwnNetworkName(facts.machine_id, interface.network());
    const auto& used = facts.networks;
    if (std::find(used.begin(), used.end(), name) != used.end()) own.insert(name);
  }
  return own;
}

Ledger::Ledger(const std::string& machine_id, const std::string& uri)
    : path_(absl::StrCat(StateDir(), "/made/", machine_id, ".json")) {
  // One that is damaged is as one that was lost: the definition says it too.
  const absl::Status read = LoadJson(path_, &things_);
  if (!absl::IsNotFound(read) && !absl::IsDataLoss(read)) readable_ = read;
  for (MadeThere& there : *things_.mutable_there()) {
    if (there.uri() == uri) there_ = &there;
  }
  if (there_ == nullptr) {
    there_ = things_.add_there();
    there_->set_uri(uri);
  }
}

absl::Status Ledger::Learn(const std::string& domain, const DomainFacts& facts,
                           const std::function<bool(const std::string& path)>& is_gone) {
  if (path_.empty()) return absl::OkStatus();
  const MadeThere before = *there_;
  for (const std::string& path : OwnVolumes(domain, facts)) {
    if (!is_gone(path)) AddName(path, there_->mutable_volumes());
  }
  for (const std::string& name : OwnNetworks(facts)) AddName(name, there_->mutable_networks());
  return Keep(!google::protobuf::util::MessageDifferencer::Equals(before, *there_));
}

absl::Status Ledger::SawDisks(const std::string& root, const std::string& nonce,
                              const std::map<std::string, std::string>& drives) {
  if (path_.empty()) return absl::OkStatus();
  const MadeThere before = *there_;
  if (!root.empty()) {
    there_->set_root(root);
    there_->set_nonce(nonce);
  }
  for (const auto& [name, path] : drives) (*there_->mutable_drives())[name] = path;
  return Keep(!google::protobuf::util::MessageDifferencer::Equals(before, *there_));
}

absl::Status Ledger::AddVolume(const std::string& path) {
  return Keep(AddName(path, there_->mutable_volumes()));
}

absl::Status Ledger::AddNetwork(const std::string& name) {
  return Keep(AddName(name, there_->mutable_networks()));
}

absl::Status Ledger::ForgetVolume(const std::string& path) {
  bool changed = Drop(path, there_->mutable_volumes());
  if (there_->root() == path) {
    there_->clear_root();
    there_->clear_nonce();
    changed = true;
  }
  for (const auto& [name, where] : drives()) {
    if (where == path) changed = there_->mutable_drives()->erase(name) > 0 || changed;
  }
  return Keep(changed);
}

absl::Status Ledger::ForgetNetwork(const std::string& name) {
  return Keep(Drop(name, there_->mutable_networks()));
}

std::set<std::string> Ledger::volumes() const {
  return {there_->volumes().begin(), there_->volumes().end()};
}

std::set<std::string> Ledger::networks() const {
  return {there_->networks().begin(), there_->networks().end()};
}

std::map<std::string, std::string> Ledger::drives() const {
  return {there_->drives().begin(), there_->drives().end()};
}

// What could not be saved is saved with the next.
absl::Status Ledger::Keep(bool changed) {
  unsaved_ = unsaved_ || changed;
  if (!unsaved_) return absl::OkStatus();
  absl::Status saved = Save();
  unsaved_ = !saved.ok();
  return saved;
}

absl::Status Ledger::Save() {
  if (!readable_.ok()) return readable_;
  const bool empty = std::all_of(
      things_.there().begin(), things_.there().end(),
      [](const MadeThere& there) { return there.volumes().empty() && there.networks().empty(); });
  if (empty) return RemoveFile(path_);
  if (absl::Status made = MakeFolders(fs::path(path_).parent_path()); !made.ok()) return made;
  things_.set_format(1);
  return SaveJson(things_, path_);
}

}  // namespace rum
