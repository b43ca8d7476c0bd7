#include "controller/hypervisor/volumes.h"

#include <libvirt/virterror.h>

#include <pugixml.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

constexpr char kPool[] = "rum";

std::string TextOf(const pugi::xml_document& document) {
  std::ostringstream out;
  document.save(out, "  ", pugi::format_default | pugi::format_no_declaration);
  return out.str();
}

std::string PoolXml(const std::string& folder) {
  pugi::xml_document document;
  pugi::xml_node pool = document.append_child("pool");
  pool.append_attribute("type").set_value("dir");
  pool.append_child("name").text().set(kPool);
  pool.append_child("target").append_child("path").text().set(folder.c_str());
  return TextOf(document);
}

std::string VolumeXml(const std::string& name, const std::string& format, uint64_t capacity,
                      const std::optional<Backing>& backing) {
  pugi::xml_document document;
  pugi::xml_node volume = document.append_child("volume");
  volume.append_child("name").text().set(name.c_str());
  pugi::xml_node size = volume.append_child("capacity");
  size.append_attribute("unit").set_value("bytes");
  size.text().set(absl::StrCat(capacity).c_str());
  if (format != "raw") volume.append_child("allocation").text().set("0");
  pugi::xml_node target = volume.append_child("target");
  target.append_child("format").append_attribute("type").set_value(format.c_str());
  if (backing.has_value()) {
    pugi::xml_node base = volume.append_child("backingStore");
    base.append_child("path").text().set(backing->path.c_str());
    base.append_child("format").append_attribute("type").set_value(backing->format.c_str());
  }
  return TextOf(document);
}

std::string PathOfVolume(virStorageVolPtr volume) { return TakeText(virStorageVolGetPath(volume)); }

std::string PoolFolder(virStoragePoolPtr pool) {
  const std::string xml = TakeText(virStoragePoolGetXMLDesc(pool, 0));
  pugi::xml_document document;
  document.load_buffer(xml.data(), xml.size());
  return document.child("pool").child("target").child("path").text().as_string();
}

VolumeFacts FactsOf(virStorageVolPtr volume) {
  VolumeFacts facts;
  facts.name = virStorageVolGetName(volume);
  facts.path = PathOfVolume(volume);
  const std::string xml = TakeText(virStorageVolGetXMLDesc(volume, 0));
  pugi::xml_document document;
  document.load_buffer(xml.data(), xml.size());
  pugi::xml_node node = document.child("volume");
  facts.capacity = node.child("capacity").text().as_ullong();
  facts.backing_path = node.child("backingStore").child("path").text().as_string();
  facts.changed = node.child("target").child("timestamps").child("mtime").text().as_string();
  return facts;
}

}  // namespace

Volumes::Volumes(ConnectionHandle connection, PoolHandle pool, std::string folder)
    : connection_(std::move(connection)), pool_(std::move(pool)), folder_(std::move(folder)) {}

absl::StatusOr<Volumes> Volumes::Open(ConnectionHandle connection, const std::string& folder,
                                      bool make) {
  PoolHandle pool(virStoragePoolLookupByName(connection.get(), kPool));
  if (!pool) {
    if (LastLibvirtCode() != VIR_ERR_NO_STORAGE_POOL) return LibvirtError("storage pool rum");
    if (!make) return absl::NotFoundError("there is no storage pool rum");
    pool.reset(virStoragePoolDefineXML(connection.get(), PoolXml(folder).c_str(), 0));
    if (!pool) return LibvirtError("storage pool rum");
  }
  if (virStoragePoolIsActive(pool.get()) != 1) {
    // A folder that is there already is fine; one that cannot be made fails at the start, with the
    // reason.
    virStoragePoolBuild(pool.get(), 0);
    if (virStoragePoolCreate(pool.get(), 0) < 0) {
      absl::Status error = LibvirtError(absl::StrCat("storage pool rum at ", folder));
      if (virStoragePoolIsActive(pool.get()) != 1) return error;
    }
  }
  // Files may have come and gone behind libvirt's back.
  if (virStoragePoolRefresh(pool.get(), 0) < 0) return LibvirtError("storage pool rum");
  return Volumes(std::move(connection), std::move(pool), folder);
}

absl::StatusOr<std::vector<VolumeFacts>> Volumes::List() {
  virStorageVolPtr* raw = nullptr;
  const int count = virStoragePoolListAllVolumes(pool_.get(), &raw, 0);
  if (count < 0) return LibvirtError("storage pool rum");
  std::vector<VolumeFacts> all;
  for (int i = 0; i < count; ++i) {
    VolumeHandle volume(raw[i]);
    all.push_back(FactsOf(volume.get()));
  }
  free(raw);
  return all;
}

std::string Volumes::PathOf(const std::string& name) const {
  return absl::StrCat(PoolFolder(pool_.get()), "/", name);
}

absl::StatusOr<VolumeHandle> Volumes::Find(const std::string& name) {
  VolumeHandle volume(virStorageVolLookupByName(pool_.get(), name.c_str()));
  if (!volume) return LibvirtError("volume " + name);
  return volume;
}

absl::StatusOr<std::string> Volumes::Create(const std::string& name, const std::string& format,
                                            uint64_t capacity,
                                            const std::optional<Backing>& backing) {
  const std::string xml = VolumeXml(name, format, capacity, backing);
  VolumeHandle volume(virStorageVolCreateXML(pool_.get(), xml.c_str(), 0));
  if (volume) return PathOfVolume(volume.get());
  if (LastLibvirtCode() == VIR_ERR_STORAGE_VOL_EXIST) return absl::AlreadyExistsError(name);
  return LibvirtError("volume " + name);
}

absl::StatusOr<std::string> Volumes::CreateFrom(const std::string& name, uint64_t capacity,
                                                const std::string& source) {
  absl::StatusOr<VolumeHandle> from = Find(source);
  if (!from.ok()) return from.status();
  const std::string xml = VolumeXml(name, "qcow2", capacity, std::nullopt);
  VolumeHandle volume(virStorageVolCreateXMLFrom(pool_.get(), xml.c_str(), from->get(), 0));
  if (!volume) return LibvirtError("volume " + name);
  // Made at the size of its source, whatever was asked for.
  if (FactsOf(volume.get()).capacity < capacity &&
      virStorageVolResize(volume.get(), capacity, 0) < 0) {
    return LibvirtError("volume " + name);
  }
  return PathOfVolume(volume.get());
}

absl::Status Volumes::Upload(const std::string& name, const ByteSource& source) {
  absl::StatusOr<VolumeHandle> volume = Find(name);
  if (!volume.ok()) return volume.status();
  StreamHandle stream(virStreamNew(connection_.get(), 0));
  if (!stream || virStorageVolUpload(volume->get(), stream.get(), 0, 0, 0) < 0) {
    return LibvirtError("upload of " + name);
  }
  for (;;) {
    absl::StatusOr<std::string> chunk = source(256 * 1024);
    if (!chunk.ok()) {
      virStreamAbort(stream.get());
      return chunk.status();
    }
    if (chunk->empty()) break;
    for (size_t sent = 0; sent < chunk->size();) {
      const int n = virStreamSend(stream.get(), chunk->data() + sent, chunk->size() - sent);
      if (n < 0) {
        absl::Status error = LibvirtError("upload of " + name);
        virStreamAbort(stream.get());
        return error;
      }
      sent += n;
    }
  }
  if (virStreamFinish(stream.get()) < 0) return LibvirtError("upload of " + name);
  return absl::OkStatus();
}

absl::Status Volumes::Grow(const std::string& name, uint64_t capacity) {
  absl::StatusOr<VolumeHandle> volume = Find(name);
  if (!volume.ok()) return volume.status();
  if (virStorageVolResize(volume->get(), capacity, 0) < 0) return LibvirtError("volume " + name);
  return absl::OkStatus();
}

absl::Status Volumes::GrowFile(const std::string& path, uint64_t capacity) {
  VolumeHandle volume(virStorageVolLookupByPath(connection_.get(), path.c_str()));
  if (!volume || virStorageVolResize(volume.get(), capacity, 0) < 0) return LibvirtError(path);
  return absl::OkStatus();
}

absl::Status Volumes::Delete(const std::string& name) {
  absl::StatusOr<VolumeHandle> volume = Find(name);
  if (!volume.ok()) return absl::IsNotFound(volume.status()) ? absl::OkStatus() : volume.status();
  if (virStorageVolDelete(volume->get(), 0) < 0) return LibvirtError("volume " + name);
  return absl::OkStatus();
}

absl::StatusOr<bool> Volumes::RemovePoolIfEmpty() {
  // A pool of that name in another place is somebody else's.
  if (PoolFolder(pool_.get()) != folder_) return false;
  const int count = virStoragePoolNumOfVolumes(pool_.get());
  if (count < 0) return LibvirtError("storage pool rum");
  if (count > 0) return false;
  if (virStoragePoolDestroy(pool_.get()) < 0) return LibvirtError("storage pool rum");
  // The folder stays if something is in it that is no volume.
  virStoragePoolDelete(pool_.get(), 0);
  if (virStoragePoolUndefine(pool_.get()) < 0) return LibvirtError("storage pool rum");
  return true;
}

}  // namespace rum
