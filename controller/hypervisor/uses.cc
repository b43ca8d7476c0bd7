#include "controller/hypervisor/uses.h"

#include <libvirt/virterror.h>

#include <filesystem>
#include <functional>
#include <pugixml.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/backing_chain.h"
#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/named_paths.h"

namespace rum {
namespace {

using SnapshotHandle =
    std::unique_ptr<virDomainSnapshot, LibvirtDeleter<virDomainSnapshot, virDomainSnapshotFree>>;

absl::StatusOr<std::vector<DomainHandle>> AllDomains(virConnectPtr connection) {
  virDomainPtr* list = nullptr;
  const int count = virConnectListAllDomains(connection, &list, 0);
  if (count < 0) return LibvirtError("domains");
  std::vector<DomainHandle> domains;
  for (int i = 0; i < count; ++i) domains.emplace_back(list[i]);
  free(list);
  return domains;
}

// Calls `see` with each XML of a domain that is or will be used; false: one of them cannot be had.
bool SeeDefinitions(virDomainPtr domain, const std::function<void(const std::string&)>& see) {
  const int active = virDomainIsActive(domain);
  const int persistent = virDomainIsPersistent(domain);
  if (active < 0 || persistent < 0) return false;
  for (const bool live : {false, true}) {
    if (live ? active == 0 : persistent == 0) continue;
    const std::string xml =
        TakeText(virDomainGetXMLDesc(domain, live ? 0 : VIR_DOMAIN_XML_INACTIVE));
    if (xml.empty()) return false;
    see(xml);
  }
  if (virDomainHasManagedSaveImage(domain, 0) != 1) return true;
  const std::string xml = TakeText(virDomainManagedSaveGetXMLDesc(domain, 0));
  if (!xml.empty()) see(xml);
  return !xml.empty();
}

class Asker {
 public:
  Asker(virConnectPtr connection, bool remote) : connection_(connection), remote_(remote) {}

  Uses Ask() {
    AskPools();
    AskDomains();
    for (const auto& [path, below] : below_) {
      Use use{path, true, {}, {}};
      Follow(path, &use);
      uses_.all.push_back(std::move(use));
    }
    return std::move(uses_);
  }

 private:
  void Unknown(const absl::Status& why) { uses_.unknown.emplace_back(why.message()); }
  std::string Real(const std::string& path) const { return RealPath(path, remote_); }

  void AskPools() {
    virStoragePoolPtr* list = nullptr;
    const int count =
        virConnectListAllStoragePools(connection_, &list, VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE);
    if (count < 0) return Unknown(LibvirtError("storage pools"));
    std::vector<PoolHandle> pools;
    for (int i = 0; i < count; ++i) pools.emplace_back(list[i]);
    free(list);
    for (const PoolHandle& pool : pools) AskPool(pool.get());
  }

  void AskPool(virStoragePoolPtr pool) {
    const std::string name = absl::StrCat("storage pool ", virStoragePoolGetName(pool));
    const std::string xml = TakeText(virStoragePoolGetXMLDesc(pool, 0));
    pugi::xml_document document;
    if (xml.empty() || !document.load_buffer(xml.data(), xml.size())) {
      return Unknown(LibvirtError(name));
    }
    // Of volumes that are no files libvirt knows no layers.
    const std::string type = document.child("pool").attribute("type").value();
    if (type != "dir" && type != "fs" && type != "netfs") return;
    if (virStoragePoolRefresh(pool, 0) < 0) return Unknown(LibvirtError(name));
    virStorageVolPtr* list = nullptr;
    const int count = virStoragePoolListAllVolumes(pool, &list, 0);
    if (count < 0) return Unknown(LibvirtError(name));
    for (int i = 0; i < count; ++i) {
      const VolumeHandle volume(list[i]);
      AskVolume(volume.get(), name);
    }
    free(list);
  }

  void AskVolume(virStorageVolPtr volume, const std::string& pool) {
    const std::string xml = TakeText(virStorageVolGetXMLDesc(volume, 0));
    if (xml.empty()) {
      if (LastLibvirtCode() == VIR_ERR_NO_STORAGE_VOL) return;  // it went meanwhile
      return Unknown(LibvirtError(absl::StrCat(pool, ": ", virStorageVolGetName(volume))));
    }
    pugi::xml_document document;
    document.load_buffer(xml.data(), xml.size());
    const pugi::xml_node node = document.child("volume");
    std::set<std::string>* below =
        &below_[Real(node.child("target").child("path").text().as_string())];
    const pugi::xml_node store = node.child("backingStore");
    const std::string backing = store.child("path").text().as_string();
    if (backing.empty()) return;
    below->insert(backing);
    const std::string format = store.child("format").attribute("type").value();
    if (format == "raw") asked_[Real(backing)];  // it is a layer over nothing
  }

  void AskDomains() {
    const absl::StatusOr<std::vector<DomainHandle>> domains = AllDomains(connection_);
    if (!domains.ok()) return Unknown(domains.status());
    for (const DomainHandle& domain : *domains) {
      const std::string name = absl::StrCat("domain ", virDomainGetName(domain.get()));
      const auto see = [&](const std::string& xml) { See(name, xml); };
      if (!SeeDefinitions(domain.get(), see) && !IsGone(domain.get())) Unknown(LibvirtError(name));
      AskSnapshots(domain.get(), name);
    }
  }

  static bool IsGone(virDomainPtr domain) {
    char uuid[VIR_UUID_BUFLEN];
    if (virDomainGetUUID(domain, reinterpret_cast<unsigned char*>(uuid)) != 0) return false;
    const DomainHandle again(
        virDomainLookupByUUID(virDomainGetConnect(domain), reinterpret_cast<unsigned char*>(uuid)));
    return !again && LastLibvirtCode() == VIR_ERR_NO_DOMAIN;
  }

  void AskSnapshots(virDomainPtr domain, const std::string& name) {
    virDomainSnapshotPtr* list = nullptr;
    const int count = virDomainListAllSnapshots(domain, &list, 0);
    if (count < 0) {
      // Some drivers have none.
      if (LastLibvirtCode() != VIR_ERR_NO_SUPPORT && !IsGone(domain)) {
        Unknown(LibvirtError(absl::StrCat("snapshots of ", name)));
      }
      return;
    }
    std::vector<SnapshotHandle> snapshots;
    for (int i = 0; i < count; ++i) snapshots.emplace_back(list[i]);
    free(list);
    for (const SnapshotHandle& snapshot : snapshots) {
      const std::string by =
          absl::StrCat("snapshot ", virDomainSnapshotGetName(snapshot.get()), " of ", name);
      const std::string xml = TakeText(virDomainSnapshotGetXMLDesc(snapshot.get(), 0));
      if (xml.empty()) {
        Unknown(LibvirtError(by));
      } else {
        See(by, xml);
      }
    }
  }

  void See(const std::string& by, const std::string& xml) {
    const absl::StatusOr<NamedPaths> named = ReadNamedPaths(xml);
    if (!named.ok()) return Unknown(named.status());
    Use use{by, false, {}, named->words};
    for (const std::string& path : named->paths) use.paths.insert(Real(path));
    std::set<std::string> layers = named->layers;
    for (const auto& [pool, volume] : named->volumes) {
      const std::string path = PathOf(pool, volume);
      if (path.empty()) {
        Unknown(LibvirtError(absl::StrCat(by, ": volume ", volume, " of pool ", pool)));
        continue;
      }
      use.paths.insert(Real(path));
      layers.insert(path);
    }
    for (const std::string& layer : layers) Follow(layer, &use);
    uses_.all.push_back(std::move(use));
  }

  std::string PathOf(const std::string& pool, const std::string& volume) {
    const PoolHandle in(virStoragePoolLookupByName(connection_, pool.c_str()));
    if (!in) return "";
    const VolumeHandle found(virStorageVolLookupByName(in.get(), volume.c_str()));
    return found ? TakeText(virStorageVolGetPath(found.get())) : "";
  }

  // Adds all that the image at `top` is a layer over.
  void Follow(const std::string& top, Use* use) {
    std::set<std::string> seen;
    std::vector<std::string> open = {Real(top)};
    while (!open.empty()) {
      const std::string path = open.back();
      open.pop_back();
      if (!seen.insert(path).second) continue;
      for (const std::string& name : Below(path, *use, path == Real(top))) {
        if (!absl::StartsWith(name, "/")) {
          use->words.push_back(name);
          continue;
        }
        use->paths.insert(Real(name));
        open.push_back(Real(name));
      }
    }
  }

  std::set<std::string> Below(const std::string& path, const Use& use, bool top) {
    const auto known = below_.find(path);
    if (known != below_.end()) return known->second;
    if (remote_) {
      uses_.unknown.push_back(
          absl::StrCat(path, " of ", use.by, " is in no active storage pool of the other host"));
      return {};
    }
    const auto asked = asked_.find(path);
    if (asked != asked_.end()) return asked->second;
    std::error_code error;
    // A chain that is broken already ends there.
    const bool gone = !top && !std::filesystem::exists(path, error) && !error;
    const absl::StatusOr<std::set<std::string>> below =
        gone ? std::set<std::string>() : FilesBelow(path);
    if (!below.ok()) {
      uses_.unknown.push_back(
          absl::StrCat("of ", use.by, ": ", std::string(below.status().message())));
    }
    return asked_[path] = below.ok() ? *below : std::set<std::string>();
  }

  virConnectPtr const connection_;
  const bool remote_;
  std::map<std::string, std::set<std::string>> below_;  // of the pools' volumes, by path
  std::map<std::string, std::set<std::string>> asked_;  // of other files
  Uses uses_;
};

}  // namespace

Uses AskUses(virConnectPtr connection, bool remote) { return Asker(connection, remote).Ask(); }

absl::StatusOr<std::map<std::string, std::set<std::string>>> AskCards(virConnectPtr connection) {
  absl::StatusOr<std::vector<DomainHandle>> domains = AllDomains(connection);
  if (!domains.ok()) return domains.status();
  std::map<std::string, std::set<std::string>> cards;
  for (const DomainHandle& domain : *domains) {
    const std::string name = virDomainGetName(domain.get());
    absl::Status read;
    const bool seen = SeeDefinitions(domain.get(), [&](const std::string& xml) {
      const absl::StatusOr<NamedPaths> named = ReadNamedPaths(xml);
      read.Update(named.status());
      if (!named.ok()) return;
      for (const std::string& network : named->networks) cards[network].insert(name);
    });
    if (!seen) return LibvirtError(absl::StrCat("domain ", name));
    if (!read.ok()) return read;
  }
  return cards;
}

}  // namespace rum
