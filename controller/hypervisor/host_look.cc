#include "controller/hypervisor/host_look.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/pool_disks.h"

namespace rum {
namespace {

using control::LibvirtLook;

// libvirt's numbers: 1,000,000 * major + 1,000 * minor + release.
std::string VersionText(unsigned long number) {
  return absl::StrCat(number / 1000000, ".", number / 1000 % 1000, ".", number % 1000);
}

LibvirtLook::Network DefaultNetwork(virConnectPtr connection) {
  const NetworkHandle network(virNetworkLookupByName(connection, "default"));
  if (network) return virNetworkIsActive(network.get()) == 1 ? LibvirtLook::ON : LibvirtLook::OFF;
  return LastLibvirtCode() == VIR_ERR_NO_NETWORK ? LibvirtLook::ABSENT
                                                 : LibvirtLook::NETWORK_UNSPECIFIED;
}

}  // namespace

LibvirtLook LookAtLibvirt(const std::string& uri) {
  LibvirtLook look;
  look.set_uri(uri);
  Connection connection(uri, [](const std::string&) {});
  const absl::StatusOr<ConnectionHandle> open = connection.Get();
  if (!open.ok()) {
    // It is the doctor who asks.
    look.set_error(absl::StrReplaceAll(std::string(open.status().message()), {{kAskDoctor, ""}}));
    return look;
  }
  const ConnectionFacts facts = connection.facts();
  look.set_uri(facts.uri);
  look.set_domain_type(facts.auto_type);
  unsigned long number = 0;
  if (virConnectGetLibVersion(open->get(), &number) == 0)
    look.set_libvirt_version(VersionText(number));
  if (facts.kind != ConnectionKind::kTest && virConnectGetVersion(open->get(), &number) == 0)
    look.set_qemu_version(VersionText(number));
  if (facts.kind == ConnectionKind::kSystem) look.set_default_network(DefaultNetwork(open->get()));
  if (!facts.remote) look.set_disk_folder(DiskFolder(facts));
  return look;
}

}  // namespace rum
