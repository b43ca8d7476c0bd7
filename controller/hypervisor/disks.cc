#include "controller/hypervisor/disks.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "controller/hypervisor/base_image.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/seed.h"
#include "controller/hypervisor/volume_names.h"

namespace rum {
namespace {

std::string NewNonce() {
  std::random_device random;
  return absl::StrFormat("%08x%08x", random(), random());
}

absl::StatusOr<std::string> ReadAgent(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) {
    return absl::FailedPreconditionError(
        absl::StrCat("rum-agent at ", path, ": ", std::strerror(errno)));
  }
  return bytes.str();
}

ByteSource FromString(const std::string& bytes) {
  size_t at = 0;
  return [&bytes, at](size_t max) mutable -> absl::StatusOr<std::string> {
    std::string chunk = bytes.substr(at, max);
    at += chunk.size();
    return chunk;
  };
}

ByteSource FromFile(std::ifstream* file, const std::string& path) {
  return [file, path](size_t max) -> absl::StatusOr<std::string> {
    std::string chunk(max, 0);
    file->read(chunk.data(), max);
    chunk.resize(file->gcount());
    if (file->bad()) return absl::UnavailableError(absl::StrCat(path, ": cannot be read"));
    return chunk;
  };
}

const VolumeFacts* ByPath(const std::vector<VolumeFacts>& all, const std::string& path) {
  for (const VolumeFacts& volume : all) {
    if (volume.path == path) return &volume;
  }
  return nullptr;
}

const VolumeFacts* ByName(const std::vector<VolumeFacts>& all, const std::string& name) {
  for (const VolumeFacts& volume : all) {
    if (volume.name == name) return &volume;
  }
  return nullptr;
}

// A root disk whose definition somebody took away: the newest.
const VolumeFacts* OrphanRoot(const std::vector<VolumeFacts>& all, const std::string& domain) {
  const VolumeFacts* found = nullptr;
  for (const VolumeFacts& volume : all) {
    std::optional<OwnVolume> own = ParseVolumeName(domain, volume.name);
    if (!own.has_value() || own->kind != VolumeKind::kRoot) continue;
    if (found == nullptr || std::atof(volume.changed.c_str()) > std::atof(found->changed.c_str())) {
      found = &volume;
    }
  }
  return found;
}

}  // namespace

Disks::Disks(MachineIdentity machine, ConnectionFacts connection, Volumes volumes)
    : machine_(std::move(machine)),
      connection_(std::move(connection)),
      volumes_(std::move(volumes)) {}

absl::StatusOr<DiskSet> Disks::Make(const PresentDisks& present, const std::string& agent_binary,
                                    Config* config) {
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_.List();
  if (!all.ok()) return all.status();
  all_ = *std::move(all);
  DiskSet disks;
  absl::Status made = MakeRoot(present, config, &disks);
  if (made.ok()) made = MakeDrives(present, config, &disks);
  if (made.ok()) made = MakeSeed(present, agent_binary, *config, &disks);
  if (made.ok()) return disks;
  TakeBack(disks);
  return made;
}

void Disks::TakeBack(const DiskSet& disks) {
  // What cannot be deleted now goes with a later RemoveUnused() or RemoveAll().
  for (const std::string& name : disks.made) volumes_.Delete(name).IgnoreError();
}

absl::Status Disks::MakeRoot(const PresentDisks& present, Config* config, DiskSet* disks) {
  if (present.fresh != Fresh::kNothing) return NewRoot(present, *config, disks);
  const VolumeFacts* root = nullptr;
  if (present.definition.has_value()) {
    disks->nonce = present.definition->disk_nonce;
    disks->root_path = present.definition->root_path;
    disks->base_path = present.definition->base_path;
    disks->base_mark = present.definition->base_mark;
    root = ByPath(all_, disks->root_path);
    if (root == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the root disk ", disks->root_path, " is gone; `rum up --reset` makes a new one"));
    }
  } else {
    root = OrphanRoot(all_, machine_.domain_name());
    if (root == nullptr) return NewRoot(present, *config, disks);
    if (!root->backing_path.empty() && present.image_files.count(root->backing_path) == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("this machine has a root disk on another image, ", root->path,
                       "; `rum up --reset` replaces it"));
    }
    disks->base_path = root->backing_path;
    disks->base_mark = ImageMark(root->backing_path);
    disks->nonce = ParseVolumeName(machine_.domain_name(), root->name)->part;
    disks->root_path = root->path;
  }
  Resources* resources = config->mutable_resources();
  if (root->capacity > resources->disk()) resources->set_disk(root->capacity);
  if (present.running || root->capacity == resources->disk()) return absl::OkStatus();
  return volumes_.Grow(root->name, resources->disk());
}

absl::StatusOr<bool> Disks::HasRoot() {
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_.List();
  if (!all.ok()) return all.status();
  return OrphanRoot(*all, machine_.domain_name()) != nullptr;
}

absl::Status Disks::NewRoot(const PresentDisks& present, const Config& config, DiskSet* disks) {
  if (present.image.empty()) {
    return absl::AbortedError("the root disk went away meanwhile: `rum up` makes a new one");
  }
  absl::StatusOr<BaseImage> base = ProbeBaseImage(present.image);
  if (!base.ok()) return base.status();
  const uint64_t size =
      config.resources().disk() == 0 ? base->virtual_size : config.resources().disk();
  if (size < base->virtual_size) {
    return absl::InvalidArgumentError(absl::StrCat("resources.disk (", size,
                                                   " bytes) is smaller than the image ", base->path,
                                                   " (", base->virtual_size, " bytes)"));
  }
  disks->nonce = NewNonce();
  // A layer is quick and small, but QEMU must be able to read what is below it: a system libvirt
  // runs it as a user of its own, another host does not have the file.
  const bool layer =
      !connection_.remote && (connection_.kind == ConnectionKind::kSession || base->world_readable);
  if (layer) {
    disks->base_path = base->path;
    disks->base_mark = base->mark;
  }
  const std::string name = VolumeName(machine_.domain_name(), VolumeKind::kRoot, disks->nonce);
  absl::StatusOr<std::string> path =
      layer ? volumes_.Create(name, "qcow2", size, Backing{base->path, base->format})
            : CopyOf(*base, size, disks->nonce);
  if (!path.ok()) return path.status();
  disks->made.push_back(name);
  disks->root_path = *path;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Disks::CopyOf(const BaseImage& base, uint64_t capacity,
                                          const std::string& nonce) {
  if (base.has_backing) {
    return absl::InvalidArgumentError(absl::StrCat(
        "image.base ", base.path, ": it is a layer over another file and cannot be copied alone"));
  }
  const std::string domain = machine_.domain_name();
  const std::string copy = VolumeName(domain, VolumeKind::kCopy, nonce);
  absl::StatusOr<std::string> made =
      volumes_.Create(copy, base.format, base.virtual_size, std::nullopt);
  if (!made.ok()) return made.status();
  std::ifstream file(base.path, std::ios::binary);
  absl::Status uploaded = volumes_.Upload(copy, FromFile(&file, base.path));
  if (!uploaded.ok()) return uploaded;
  // A root disk is whole once it has its name: the upload may break off, the copy inside libvirt
  // may not.
  const std::string root = VolumeName(domain, VolumeKind::kRoot, nonce);
  absl::StatusOr<std::string> path = volumes_.CreateFrom(root, capacity, copy);
  if (!path.ok()) return path.status();
  if (absl::Status deleted = volumes_.Delete(copy); !deleted.ok()) return deleted;
  return path;
}

absl::Status Disks::MakeSeed(const PresentDisks& present, const std::string& agent_binary,
                             const Config& config, DiskSet* disks) {
  absl::StatusOr<std::string> agent = ReadAgent(agent_binary);
  if (!agent.ok()) return agent.status();
  const std::map<std::string, std::string> files =
      SeedFiles({machine_, config, disks->nonce, *std::move(agent)});
  const std::string name = VolumeName(machine_.domain_name(), VolumeKind::kSeed, SeedHash(files));
  if (const VolumeFacts* there = ByName(all_, name); there != nullptr) {
    disks->seed_path = there->path;
    if (present.used.count(there->path) > 0) return absl::OkStatus();
    // Nobody points to it: it may have been left half-written.
    if (absl::Status deleted = volumes_.Delete(name); !deleted.ok()) return deleted;
  }
  absl::StatusOr<std::string> iso = MakeIso(files);
  if (!iso.ok()) return iso.status();
  absl::StatusOr<std::string> path = volumes_.Create(name, "raw", iso->size(), std::nullopt);
  if (!path.ok()) return path.status();
  disks->made.push_back(name);
  disks->seed_path = *path;
  return volumes_.Upload(name, FromString(*iso));
}

absl::Status Disks::RenewDrives(const Config& config) {
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_.List();
  if (!all.ok()) return all.status();
  for (const VolumeFacts& volume : *all) {
    const std::optional<OwnVolume> own = ParseVolumeName(machine_.domain_name(), volume.name);
    if (!own.has_value() || own->kind != VolumeKind::kDrive) continue;
    if (absl::Status deleted = volumes_.Delete(volume.name); !deleted.ok()) return deleted;
  }
  for (const auto& [name, drive] : config.drives()) {
    const std::string volume =
        VolumeName(machine_.domain_name(), VolumeKind::kDrive, DriveSerial(name));
    absl::Status made = volumes_.Create(volume, "qcow2", drive.size(), std::nullopt).status();
    if (!made.ok()) return made;
  }
  return absl::OkStatus();
}

absl::Status Disks::MakeDrives(const PresentDisks& present, Config* config, DiskSet* disks) {
  for (auto& [drive_name, drive] : *config->mutable_drives()) {
    const std::string name =
        VolumeName(machine_.domain_name(), VolumeKind::kDrive, DriveSerial(drive_name));
    const VolumeFacts* there = ByName(all_, name);
    if (there == nullptr) {
      absl::StatusOr<std::string> path = volumes_.Create(name, "qcow2", drive.size(), std::nullopt);
      if (!path.ok()) return path.status();
      disks->made.push_back(name);
      disks->drive_paths[drive_name] = *path;
      continue;
    }
    disks->drive_paths[drive_name] = there->path;
    if (present.fresh == Fresh::kDiskAndDrives) continue;  // RenewDrives() sees to it
    if (there->capacity > drive.size()) drive.set_size(there->capacity);
    if (present.running || there->capacity == drive.size()) continue;
    if (absl::Status grown = volumes_.Grow(name, drive.size()); !grown.ok()) return grown;
  }
  return absl::OkStatus();
}

absl::Status Disks::RemoveUnused(const std::set<std::string>& used) {
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_.List();
  if (!all.ok()) return all.status();
  absl::Status result;
  for (const VolumeFacts& volume : *all) {
    std::optional<OwnVolume> own = ParseVolumeName(machine_.domain_name(), volume.name);
    if (!own.has_value() || own->kind == VolumeKind::kDrive || used.count(volume.path) > 0)
      continue;
    result.Update(volumes_.Delete(volume.name));
  }
  return result;
}

absl::StatusOr<std::vector<std::string>> Disks::RemoveAll() {
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_.List();
  if (!all.ok()) return all.status();
  std::vector<std::string> removed;
  absl::Status result;
  for (const VolumeFacts& volume : *all) {
    std::optional<OwnVolume> own = ParseVolumeName(machine_.domain_name(), volume.name);
    if (!own.has_value()) continue;
    absl::Status deleted = volumes_.Delete(volume.name);
    result.Update(deleted);
    const char* what = own->kind == VolumeKind::kDrive  ? "drive "
                       : own->kind == VolumeKind::kSeed ? "seed "
                                                        : "disk ";
    if (deleted.ok()) removed.push_back(absl::StrCat(what, volume.path));
  }
  if (!result.ok()) return result;
  absl::StatusOr<bool> gone = volumes_.RemovePoolIfEmpty();
  if (!gone.ok()) return gone.status();
  if (*gone) removed.push_back("storage pool rum");
  return removed;
}

DiskSet NominalDisks(const MachineIdentity& machine, const PresentDisks& present,
                     const Config& config) {
  DiskSet disks;
  disks.nonce = present.definition.has_value() ? present.definition->disk_nonce : NewNonce();
  const std::string domain = machine.domain_name();
  auto path = [&](VolumeKind kind, const std::string& part) {
    return absl::StrCat("/rum/", VolumeName(domain, kind, part));
  };
  disks.root_path = path(VolumeKind::kRoot, disks.nonce);
  disks.seed_path =
      path(VolumeKind::kSeed, SeedHash(SeedFiles({machine, config, disks.nonce, ""})));
  for (const auto& [name, drive] : config.drives()) {
    disks.drive_paths[name] = path(VolumeKind::kDrive, DriveSerial(name));
  }
  return disks;
}

}  // namespace rum
