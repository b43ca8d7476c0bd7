#ifndef RUM_CONTROLLER_HYPERVISOR_LIVE_DOMAIN_H_
#define RUM_CONTROLLER_HYPERVISOR_LIVE_DOMAIN_H_

#include <libvirt/libvirt.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "state/config.pb.h"

namespace rum {

// A domain's definition, of what runs or for the next start, as libvirt has it now, also its
// passwords.
absl::StatusOr<std::string> XmlOf(virDomainPtr domain, bool live);

// Edits rum's configuration in the metadata of what runs; the definition for the next start has its
// own.
absl::Status NoteLive(virDomainPtr domain, const std::function<void(Config*)>& edit);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_LIVE_DOMAIN_H_
