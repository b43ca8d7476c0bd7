#ifndef RUM_CONTROLLER_HYPERVISOR_LIVE_DOMAIN_H_
#define RUM_CONTROLLER_HYPERVISOR_LIVE_DOMAIN_H_

#include <libvirt/libvirt.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "state/config.pb.h"

namespace rum {

// What the changes of devices of a running domain share.

// Its definition for the next start and what runs, as libvirt has them now, with their passwords.
absl::StatusOr<std::string> DefinitionXml(virDomainPtr domain);
absl::StatusOr<std::string> LiveXmlOf(virDomainPtr domain);

// Edits rum's configuration in the metadata of what runs; the definition for the next start has its
// own.
absl::Status NoteLive(virDomainPtr domain, const std::function<void(Config*)>& edit);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_LIVE_DOMAIN_H_
