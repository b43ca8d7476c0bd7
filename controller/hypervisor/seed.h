#ifndef RUM_CONTROLLER_HYPERVISOR_SEED_H_
#define RUM_CONTROLLER_HYPERVISOR_SEED_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "state/config.pb.h"
#include "state/identity.h"

namespace rum {

// The CD from which cloud-init makes the user and starts the agent at every boot (NoCloud, label
// CIDATA).
struct SeedParts {
  MachineIdentity identity;
  Config config;
  std::string
      disk_nonce;  // with the machine's id it is the instance: a new root disk is a new instance
  std::string agent_binary;  // the bytes of the static rum-agent
};

// The files of the seed by name. Pure.
std::map<std::string, std::string> SeedFiles(const SeedParts& parts);

// Hash of names and contents: seeds with equal hashes do the same. 16 hex digits.
std::string SeedHash(const std::map<std::string, std::string>& files);

// An ISO 9660 image with Rock Ridge and Joliet names. Equal files give equal bytes.
absl::StatusOr<std::string> MakeIso(const std::map<std::string, std::string>& files);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_SEED_H_
