#ifndef RUM_CONTROLLER_HYPERVISOR_USES_H_
#define RUM_CONTROLLER_HYPERVISOR_USES_H_

#include <libvirt/libvirt.h>

#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "controller/hypervisor/standing.h"

namespace rum {

// Asks a libvirt who stands on files: the definitions of all domains, running ones and saved ones,
// all snapshots, and the volumes of all active pools, each with its chain of layers. `remote`: its
// files are another host's. Looks at folders anew, as files come behind libvirt's back.
Uses AskUses(virConnectPtr connection, bool remote);

// Domains, defined or running, by the libvirt networks that their cards are on.
absl::StatusOr<std::map<std::string, std::set<std::string>>> AskCards(virConnectPtr connection);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_USES_H_
