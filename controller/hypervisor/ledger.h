#ifndef RUM_CONTROLLER_HYPERVISOR_LEDGER_H_
#define RUM_CONTROLLER_HYPERVISOR_LEDGER_H_

#include <functional>
#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "controller/hypervisor/domain_xml.h"
#include "controller/hypervisor/ledger.pb.h"

namespace rum {

// Knows which volumes and networks rum made for one machine in one libvirt: they are written down
// before they are made, in $RUM_STATE_DIR/made/ID.json, and in the domain's metadata. Nothing else
// is ever removed. A name says nothing: people make copies beside.
class Ledger {
 public:
  Ledger(const std::string& machine_id, const std::string& uri);
  // Makes that of a libvirt in which nothing is made: it learns nothing and writes nothing down.
  Ledger() : there_(things_.add_there()) {}

  // Ok, or why it cannot be read now. Nothing is to be decided by it then, and nothing is written:
  // it would be in the place of what is there.
  const absl::Status& readable() const { return readable_; }
  // Learns what a definition says that rum made; of one that was made before there were ledgers,
  // what it points to under the names that rum gave. What is no longer there (`is_gone`) is not
  // learned.
  absl::Status Learn(const std::string& domain, const DomainFacts& facts,
                     const std::function<bool(const std::string& path)>& is_gone);
  // Notes where the disks are now.
  absl::Status SawDisks(const std::string& root, const std::string& nonce,
                        const std::map<std::string, std::string>& drives);
  absl::Status AddVolume(const std::string& path);
  absl::Status AddNetwork(const std::string& name);
  absl::Status ForgetVolume(const std::string& path);
  absl::Status ForgetNetwork(const std::string& name);

  std::set<std::string> volumes() const;
  std::set<std::string> networks() const;
  bool HasVolume(const std::string& path) const { return volumes().count(path) > 0; }
  // Tells where the disks were last; empty: never seen.
  const std::string& root() const { return there_->root(); }
  const std::string& nonce() const { return there_->nonce(); }
  std::map<std::string, std::string> drives() const;

 private:
  absl::Status Keep(bool changed);
  absl::Status Save();

  const std::string path_;
  absl::Status readable_;
  bool unsaved_ = false;
  MadeThings things_;
  MadeThere* there_ = nullptr;  // in things_
};

// What a definition says that rum made: see Ledger::Learn().
std::set<std::string> OwnVolumes(const std::string& domain, const DomainFacts& facts);
std::set<std::string> OwnNetworks(const DomainFacts& facts);

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_LEDGER_H_
