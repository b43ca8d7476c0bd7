#include "controller/hypervisor/pool_disks.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "controller/hypervisor/base_image.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/seed.h"
#include "state/identity.h"
#include "state/size.h"

namespace rum {
namespace {

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

std::string RandomDigits() {
  std::random_device random;
  return absl::StrFormat("%08x", random());
}

// A name of rum's making, as the builds before the ledger made them too: 16 hex digits.
bool IsNonce(const std::string& part) {
  return part.size() == 16 && std::all_of(part.begin(), part.end(),
                                          [](unsigned char c) { return absl::ascii_isxdigit(c); });
}

// The file that a volume stands on in the end; empty: none.
std::string BottomOf(const std::vector<VolumeFacts>& all, const VolumeFacts& volume) {
  std::string path = volume.backing_path;
  const VolumeFacts* below = ByPath(all, path);
  for (size_t i = 0; below != nullptr && !below->backing_path.empty() && i < all.size(); ++i) {
    path = below->backing_path;
    below = ByPath(all, path);
  }
  return path;
}

}  // namespace

std::string DiskFolder(const ConnectionFacts& connection) {
  if (connection.kind == ConnectionKind::kSystem && std::getenv("RUM_DATA_DIR") == nullptr) {
    return "/var/lib/libvirt/images/rum";
  }
  return DataDir() + "/disks";
}

PoolDisks::PoolDisks(const MachineIdentity& machine, ConnectionHandle connection,
                     ConnectionFacts facts)
    : Disks(std::make_unique<Ledger>(machine.id, facts.uri)),
      machine_(machine),
      handle_(std::move(connection)),
      connection_(std::move(facts)) {}

absl::Status PoolDisks::Open(bool make) {
  absl::StatusOr<Volumes> volumes = Volumes::Open(handle_, DiskFolder(connection_), make);
  if (!volumes.ok()) return volumes.status();
  volumes_ = *std::move(volumes);
  return absl::OkStatus();
}

absl::StatusOr<bool> PoolDisks::NeedsImage(bool defined, Fresh fresh) {
  if (fresh != Fresh::kNothing) return true;
  if (defined) return false;
  const absl::Status open = Open(false);
  if (absl::IsNotFound(open)) return true;
  if (!open.ok()) return open;
  if (!ledger()->readable().ok()) return ledger()->readable();
  const absl::StatusOr<bool> has = HasRoot();
  if (!has.ok()) return has.status();
  return !*has;
}

absl::StatusOr<DiskSet> PoolDisks::Make(const PresentDisks& present,
                                        const std::string& agent_binary, Config* config) {
  if (absl::Status open = Open(true); !open.ok()) return open;
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_->List();
  if (!all.ok()) return all.status();
  all_ = *std::move(all);
  for (const std::string& path : ledger()->volumes()) {
    const bool here = volumes_->PathOf(std::filesystem::path(path).filename().string()) == path;
    if (!here || ByPath(all_, path) != nullptr) continue;
    if (absl::Status gone = ledger()->ForgetVolume(path); !gone.ok()) return gone;
  }
  if (absl::Status noted = NoteOldDrives(present); !noted.ok()) return noted;
  DiskSet disks;
  absl::Status made = MakeRoot(present, config, &disks);
  if (made.ok()) made = MakeDrives(present, config, &disks);
  if (made.ok()) made = MakeSeed(present, agent_binary, *config, &disks);
  if (made.ok()) return disks;
  TakeBack(disks);
  return made;
}

std::string PoolDisks::FreeName(VolumeKind kind, const std::string& part) const {
  std::string name = VolumeName(machine_.domain_name(), kind, part);
  while (ByName(all_, name) != nullptr) {
    name = VolumeName(machine_.domain_name(), kind, absl::StrCat(part, "-", RandomDigits()));
  }
  return name;
}

absl::StatusOr<std::string> PoolDisks::MakeVolume(
    const std::string& name, DiskSet* disks,
    const std::function<absl::StatusOr<std::string>()>& make) {
  const std::string path = volumes_->PathOf(name);
  if (absl::Status noted = ledger()->AddVolume(path); !noted.ok()) return noted;
  absl::StatusOr<std::string> made = make();
  if (made.ok()) {
    disks->made.push_back(name);
    return made;
  }
  // What is there under that name is somebody else's; or libvirt went, and it may be ours.
  if (!absl::IsUnavailable(made.status())) ledger()->ForgetVolume(path).IgnoreError();
  return made;
}

absl::Status PoolDisks::CheckFree(const std::string& what, const VolumeFacts& volume) {
  const Uses uses = volumes_->AskUses(connection_.remote);
  std::string why = WhoStandsOn(Real(volume.path), uses);
  if (why.empty() && !uses.unknown.empty()) {
    why = absl::StrCat("it cannot be known what stands on it: ", uses.unknown.front());
  }
  if (why.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      what, " ", volume.path, " is there without a definition of this machine, but ", why,
      ": rum does not write on it. Define the domain again with that (virsh define), or move the "
      "file away"));
}

// A root disk whose definition somebody took away: where it was last, else the newest that rum
// made, else the newest of a build that did not write down what it made. Null: there is none.
absl::StatusOr<const VolumeFacts*> PoolDisks::OrphanRoot() {
  const VolumeFacts* found = ByPath(all_, ledger()->root());
  for (const bool own : {true, false}) {
    for (const VolumeFacts& volume : all_) {
      if (found != nullptr && found->path == ledger()->root()) break;
      const auto parsed = ParseVolumeName(machine_.domain_name(), volume.name);
      if (!parsed.has_value() || parsed->kind != VolumeKind::kRoot) continue;
      if (IsOwn(volume) != own || !IsNonce(parsed->part)) continue;
      const bool newer =
          found == nullptr || std::atof(volume.changed.c_str()) > std::atof(found->changed.c_str());
      if (newer) found = &volume;
    }
    if (found != nullptr) break;
  }
  if (found == nullptr) return nullptr;
  if (absl::Status free = CheckFree("the root disk", *found); !free.ok()) return free;
  return found;
}

absl::Status PoolDisks::Fit(const PresentDisks& present, const std::string& what,
                            const std::string& remedy, const std::string& path, uint64_t* size) {
  const VolumeFacts* volume = ByPath(all_, path);
  const uint64_t there = volume != nullptr ? volume->capacity : present.size_of(path);
  if (volume == nullptr && there == 0) {
    return absl::FailedPreconditionError(absl::StrCat(what, " ", path, " is gone; ", remedy));
  }
  if (there == 0) return absl::OkStatus();  // nobody can say
  // Somebody may have grown it under the machine, whose definition goes on as it began.
  if (present.in_use.count(path) > 0) return absl::OkStatus();
  if (there > DiskSize(*size)) *size = there;
  if (DiskSize(*size) <= there) return absl::OkStatus();
  return volume != nullptr ? volumes_->Grow(volume->name, DiskSize(*size))
                           : volumes_->GrowFile(path, DiskSize(*size));
}

absl::Status PoolDisks::MakeRoot(const PresentDisks& present, Config* config, DiskSet* disks) {
  if (present.fresh != Fresh::kNothing) return NewRoot(present, *config, disks);
  if (present.definition.has_value()) {
    disks->nonce = present.definition->disk_nonce;
    disks->root_path = present.places.root;
    disks->base_path = present.definition->base_path;
    disks->base_mark = present.definition->base_mark;
  } else {
    const absl::StatusOr<const VolumeFacts*> root = OrphanRoot();
    if (!root.ok()) return root.status();
    if (*root == nullptr) return NewRoot(present, *config, disks);
    if (absl::Status taken = TakeUpRoot(present, **root, disks); !taken.ok()) return taken;
  }
  uint64_t size = config->resources().disk();
  absl::Status fits =
      Fit(present, "the root disk", "`rum up --reset` makes a new one", disks->root_path, &size);
  config->mutable_resources()->set_disk(size);
  return fits;
}

absl::Status PoolDisks::TakeUpRoot(const PresentDisks& present, const VolumeFacts& root,
                                   DiskSet* disks) {
  disks->root_path = root.path;
  disks->base_path = BottomOf(all_, root);
  if (!disks->base_path.empty() && present.image_files.count(disks->base_path) == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("this machine has a root disk on another image, ", root.path,
                     "; `rum up --reset` replaces it"));
  }
  disks->base_mark = ImageMark(disks->base_path);
  const auto parsed = ParseVolumeName(machine_.domain_name(), root.name);
  disks->nonce = root.path == ledger()->root() ? ledger()->nonce() : "";
  if (disks->nonce.empty() && parsed.has_value()) disks->nonce = parsed->part;
  return absl::OkStatus();
}

absl::StatusOr<bool> PoolDisks::HasRoot() {
  absl::StatusOr<std::vector<VolumeFacts>> all = volumes_->List();
  if (!all.ok()) return all.status();
  all_ = *std::move(all);
  const absl::StatusOr<const VolumeFacts*> root = OrphanRoot();
  if (!root.ok()) return root.status();
  return *root != nullptr;
}

absl::Status PoolDisks::NewRoot(const PresentDisks& present, const Config& config, DiskSet* disks) {
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
  disks->nonce = NewDiskNonce();
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
      layer ? MakeVolume(name, disks,
                         [&] {
                           return volumes_->Create(name, "qcow2", DiskSize(size),
                                                   Backing{base->path, base->format});
                         })
            : CopyOf(*base, DiskSize(size), name, disks);
  if (!path.ok()) return path.status();
  disks->root_path = *path;
  return absl::OkStatus();
}

absl::StatusOr<std::string> PoolDisks::CopyOf(const BaseImage& base, uint64_t capacity,
                                              const std::string& root, DiskSet* disks) {
  if (base.has_backing) {
    return absl::InvalidArgumentError(absl::StrCat(
        "image.base ", base.path, ": it is a layer over another file and cannot be copied alone"));
  }
  const std::string copy = VolumeName(machine_.domain_name(), VolumeKind::kCopy, disks->nonce);
  absl::StatusOr<std::string> made = MakeVolume(copy, disks, [&] {
    return volumes_->Create(copy, base.format, base.virtual_size, std::nullopt);
  });
  if (!made.ok()) return made.status();
  std::ifstream file(base.path, std::ios::binary);
  absl::Status uploaded = volumes_->Upload(copy, FromFile(&file, base.path));
  if (!uploaded.ok()) return uploaded;
  // A root disk is whole once it has its name: the upload may break off, the copy inside libvirt
  // may not. The upload goes with RemoveUnused().
  return MakeVolume(root, disks, [&] { return volumes_->CreateFrom(root, capacity, copy); });
}

absl::Status PoolDisks::MakeSeed(const PresentDisks& present, const std::string& agent_binary,
                                 const Config& config, DiskSet* disks) {
  absl::StatusOr<std::string> agent = ReadAgent(agent_binary);
  if (!agent.ok()) return agent.status();
  const std::map<std::string, std::string> files =
      SeedFiles({machine_, config, disks->nonce, *std::move(agent)});
  const std::string hash = SeedHash(files);
  for (const VolumeFacts& volume : all_) {
    if (present.used.count(volume.path) == 0) continue;
    const auto parsed = ParseVolumeName(machine_.domain_name(), volume.name);
    if (!parsed.has_value() || parsed->kind != VolumeKind::kSeed) continue;
    if (parsed->part != hash && !absl::StartsWith(parsed->part, hash + "-")) continue;
    disks->seed_path = volume.path;
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> iso = MakeIso(files);
  if (!iso.ok()) return iso.status();
  // One that is there, and nobody points to it, may have been left half-written.
  const std::string name = FreeName(VolumeKind::kSeed, hash);
  absl::StatusOr<std::string> path = MakeVolume(
      name, disks, [&] { return volumes_->Create(name, "raw", iso->size(), std::nullopt); });
  if (!path.ok()) return path.status();
  disks->seed_path = *path;
  return volumes_->Upload(name, FromString(*iso));
}

// Builds before the ledger knew a drive that had left the file by its name alone. It is written
// down as long as the definition is one of theirs.
absl::Status PoolDisks::NoteOldDrives(const PresentDisks& present) {
  if (!present.definition.has_value() || present.definition->own_volumes.has_value()) {
    return absl::OkStatus();
  }
  std::map<std::string, std::string> drives;
  for (const VolumeFacts& volume : all_) {
    const auto parsed = ParseVolumeName(machine_.domain_name(), volume.name);
    if (!parsed.has_value() || parsed->kind != VolumeKind::kDrive) continue;
    const std::string name = parsed->part.substr(std::min<size_t>(4, parsed->part.size()));
    if (DriveSerial(name) == parsed->part) drives[name] = volume.path;
  }
  for (const auto& [name, path] : ledger()->drives()) drives.erase(name);
  return ledger()->SawDisks("", "", drives);
}

// Where the image of a drive is; empty: it has none.
absl::StatusOr<std::string> PoolDisks::DrivePlace(const PresentDisks& present,
                                                  const std::string& drive) {
  if (present.fresh == Fresh::kDiskAndDrives) return "";
  const auto now = present.places.drives.find(drive);
  if (now != present.places.drives.end()) return now->second;
  // One that had left the file, or whose definition somebody took away.
  const std::map<std::string, std::string> last = ledger()->drives();
  const auto seen = last.find(drive);
  const VolumeFacts* volume = seen == last.end() ? nullptr : ByPath(all_, seen->second);
  if (volume == nullptr) {
    volume =
        ByName(all_, VolumeName(machine_.domain_name(), VolumeKind::kDrive, DriveSerial(drive)));
    // People's copies have such names too: virt-clone's of "data" is that of a drive "data-clone".
    const bool all_known =
        present.definition.has_value() && present.definition->own_volumes.has_value();
    if (volume != nullptr && all_known && !IsOwn(*volume)) volume = nullptr;
  }
  if (volume == nullptr) return "";
  absl::Status free = CheckFree(absl::StrCat("the disk of drive ", drive, ","), *volume);
  if (!free.ok()) return free;
  return volume->path;
}

absl::Status PoolDisks::MakeDrives(const PresentDisks& present, Config* config, DiskSet* disks) {
  for (auto& [drive_name, drive] : *config->mutable_drives()) {
    absl::StatusOr<std::string> path = DrivePlace(present, drive_name);
    if (!path.ok()) return path.status();
    uint64_t size = drive.size();
    if (path->empty()) {
      const std::string name = FreeName(VolumeKind::kDrive, DriveSerial(drive_name));
      path = MakeVolume(name, disks, [&] {
        return volumes_->Create(name, "qcow2", DiskSize(size), std::nullopt);
      });
      if (!path.ok()) return path.status();
    } else {
      absl::Status fits = Fit(present, absl::StrCat("drives.", drive_name, ": its disk"),
                              "`rum up --reset --drives` makes all drives anew", *path, &size);
      if (!fits.ok()) return fits;
    }
    drive.set_size(size);
    disks->drive_paths[drive_name] = *path;
  }
  return absl::OkStatus();
}

}  // namespace rum
