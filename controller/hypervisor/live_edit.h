#ifndef RUM_CONTROLLER_HYPERVISOR_LIVE_EDIT_H_
#define RUM_CONTROLLER_HYPERVISOR_LIVE_EDIT_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "controller/hypervisor/hypervisor.h"

namespace rum {

// What libvirt is told to change a domain that runs, from the XML of its definitions. All are pure.
// InvalidArgument: not a domain's XML.

// The disk of rum's drive as `definition` has it, to be plugged into the domain that runs as
// `live`: without an address, and under a name that is free there. NotFound: it has none.
absl::StatusOr<std::string> DriveToPlug(const std::string& definition, const std::string& live,
                                        const std::string& drive);
// The disk of rum's drive as `live` has it. NotFound: it has none.
absl::StatusOr<std::string> DriveToUnplug(const std::string& live, const std::string& drive);

// The same of rum's shared folder with that tag. AlreadyExists: `live` has just that one.
// FailedPrecondition: it has another one of that tag, which is not rum's.
absl::StatusOr<std::string> FolderToAttach(const std::string& definition, const std::string& live,
                                           const std::string& tag);
absl::StatusOr<std::string> FolderToDetach(const std::string& live, const std::string& tag);

// One of CardsOf() (domain_xml.h), and libvirt's network that it is on; empty: it is on none.
struct LiveCard {
  std::string xml;
  std::string network;
};
// The card of rum's as `definition` has it, to be plugged into the domain that runs as `live`: at
// the same place, by which a guest may name it, if that is free there. NotFound: it has none.
// FailedPrecondition: somebody else's card of `live` would have the same address.
absl::StatusOr<LiveCard> CardToPlug(const std::string& definition, const std::string& live,
                                    const std::string& card);
// The card of rum's as `live` has it, also where somebody put it on another network. NotFound: it
// has none.
absl::StatusOr<LiveCard> CardToUnplug(const std::string& live, const std::string& card);

// rum's metadata of `live` with its configuration edited, as virDomainSetMetadata() takes them, for
// the namespace kMetadataUri; empty: nothing is to change. FailedPrecondition: it has none.
absl::StatusOr<std::string> MetadataWith(const std::string& live,
                                         const std::function<void(Config* config)>& edit);
inline constexpr char kMetadataPrefix[] = "rum";
inline constexpr char kMetadataUri[] = "https://rum.dev/xmlns/domain/1";

// nullopt: no place that takes a device while it runs can be told.
std::optional<PlugPorts> PortsOf(const std::string& live);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_LIVE_EDIT_H_
