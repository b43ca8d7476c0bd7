#ifndef RUM_CONTROLLER_HYPERVISOR_NETWORKS_H_
#define RUM_CONTROLLER_HYPERVISOR_NETWORKS_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/hypervisor/connection.h"
#include "controller/hypervisor/hypervisor.h"
#include "controller/hypervisor/ledger.h"
#include "controller/hypervisor/network_xml.h"
#include "state/config.pb.h"
#include "state/identity.h"

namespace rum {

// Lists those of all that this libvirt has.
absl::StatusOr<std::set<std::string>> NetworkNames(virConnectPtr connection);

// The host-only networks of one machine. A [[network.interfaces]] that is noted as joined is on
// libvirt's network of that name; any other name stands for a network of the machine's own.
class Networks {
 public:
  // `ledger` outlives it.
  Networks(MachineIdentity machine, ConnectionHandle connection, bool remote, Ledger* ledger);

  // Makes the persistent definitions of the networks that `config` asks for; the libvirt name of
  // each by its name in the file. FailedPrecondition: a fixed address lies in a subnet that is in
  // use, or a network has the name that one of the machine's would have.
  absl::StatusOr<std::map<std::string, std::string>> Make(const Config& config);
  // Starts those of `names` that are inactive and libvirt's default or our own; one of our own that
  // runs with an old definition, and nobody is on it, begins anew. The machine is off.
  absl::Status Start(const std::vector<std::string>& names);
  // FailedPrecondition: Start() could not make it what its definition says, as more are on it than
  // the `leaving` that will have left by then.
  absl::Status MayChange(const std::string& name, int leaving);
  // libvirt has its network "default", and it is off.
  absl::StatusOr<bool> DefaultIsOff();
  // Stops it again, if no machine is on it, nor will be when it starts; true: it did.
  absl::StatusOr<bool> StopDefault();
  // Removes those that rum made but for `used`, and says which; one on which a domain has a card
  // stays.
  Removal Remove(const std::set<std::string>& used);

 private:
  absl::StatusOr<std::vector<Subnet>> UsedByOthersThan(const std::string& name);
  absl::StatusOr<bool> Joins(const Interface& interface);
  absl::StatusOr<HostNetwork> Wanted(const Interface& interface);
  absl::StatusOr<bool> RunsAsDefined(virNetworkPtr network);
  absl::Status StartOne(const std::string& name);
  bool IsOwn(const std::string& name) const { return ledger_->networks().count(name) > 0; }
  absl::Status RemoveOne(const std::string& name);

  MachineIdentity machine_;
  ConnectionHandle connection_;
  bool remote_;
  Ledger* ledger_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_NETWORKS_H_
