// Of LibvirtHypervisor: what becomes of the network cards of a machine while it runs.
#include <google/protobuf/util/message_differencer.h>
#include <libvirt/libvirt.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/libvirt_hypervisor.h"
#include "controller/hypervisor/live_domain.h"
#include "controller/hypervisor/live_edit.h"

namespace rum {
namespace {

constexpr char kNat[] = "nat";

const Interface* InterfaceOf(const Network& network, const std::string& card) {
  for (const Interface& interface : network.interfaces()) {
    if (absl::StrCat("network:", interface.network()) == card) return &interface;
  }
  return nullptr;
}

bool HasCard(const Network& network, const std::string& card) {
  return card == kNat ? network.nat() : InterfaceOf(network, card) != nullptr;
}

bool IsSameCard(const Network& one, const Network& other, const std::string& card) {
  if (!HasCard(one, card) || !HasCard(other, card)) return false;
  return card == kNat || google::protobuf::util::MessageDifferencer::Equals(
                             *InterfaceOf(one, card), *InterfaceOf(other, card));
}

// As `defined` has the card, among the others of `live`, in the order of the former.
void AdoptCard(const Network& defined, const std::string& card, Network* live) {
  if (card == kNat) return live->set_nat(true);
  Network adopted = *live;
  adopted.clear_interfaces();
  for (const Interface& next : defined.interfaces()) {
    const std::string name = absl::StrCat("network:", next.network());
    const Interface* const kept = name == card ? &next : InterfaceOf(*live, name);
    if (kept != nullptr) *adopted.add_interfaces() = *kept;
  }
  for (const Interface& other : live->interfaces()) {
    if (InterfaceOf(defined, absl::StrCat("network:", other.network())) == nullptr)
      *adopted.add_interfaces() = other;
  }
  *live = adopted;
}

// nullopt: it has none.
absl::StatusOr<std::optional<LiveCard>> CardThatRuns(virDomainPtr domain, const std::string& card) {
  const absl::StatusOr<std::string> live = LiveXmlOf(domain);
  if (!live.ok()) return live.status();
  absl::StatusOr<LiveCard> there = CardToUnplug(*live, card);
  if (absl::IsNotFound(there.status())) return std::optional<LiveCard>();
  if (!there.ok()) return there.status();
  return std::optional<LiveCard>(*std::move(there));
}

absl::Status UnplugCard(virDomainPtr domain, const std::string& card) {
  absl::StatusOr<std::optional<LiveCard>> there = CardThatRuns(domain, card);
  if (!there.ok() || !there->has_value()) return there.status();
  // libvirt waits for the guest, though not for ever.
  if (virDomainDetachDeviceFlags(domain, (*there)->xml.c_str(), VIR_DOMAIN_AFFECT_LIVE) != 0)
    return LibvirtError("unplugging the network card");
  there = CardThatRuns(domain, card);
  if (!there.ok() || !there->has_value()) return there.status();
  return absl::UnavailableError("the guest has not let go of the network card yet");
}

}  // namespace

// What is there otherwise goes first, and what is noted of it comes after that: a card that is
// noted and not there is one that is missing.
absl::Status LibvirtHypervisor::PlugCard(const ConnectionHandle& connection,
                                         const MachineIdentity& machine, const FoundDomain& found,
                                         const std::string& card) {
  virDomainPtr domain = found.domain.get();
  const Network& defined = found.persistent->config.network();
  if (!HasCard(defined, card))
    return absl::AbortedError("the network card has left the definition meanwhile");
  if (IsSameCard(defined, found.live->config.network(), card)) return absl::OkStatus();
  const absl::StatusOr<std::string> definition = DefinitionXml(domain);
  if (!definition.ok()) return definition.status();
  const absl::StatusOr<std::string> live = LiveXmlOf(domain);
  if (!live.ok()) return live.status();
  const absl::StatusOr<LiveCard> next = CardToPlug(*definition, *live, card);
  if (!next.ok()) return next.status();
  const absl::StatusOr<std::optional<LiveCard>> now = CardThatRuns(domain, card);
  if (!now.ok()) return now.status();
  Ledger ledger(machine.id, connection_.facts().uri);
  if (!ledger.readable().ok()) return ledger.readable();
  Networks networks(machine, connection, connection_.facts().remote, &ledger);
  const bool on_network = connection_.facts().kind == ConnectionKind::kSystem;
  if (on_network && !next->network.empty()) {
    const bool leaves = now->has_value() && (*now)->network == next->network;
    if (absl::Status may = networks.MayChange(next->network, leaves ? 1 : 0); !may.ok()) return may;
  }
  if (absl::Status gone = UnplugCard(domain, card); !gone.ok()) return gone;
  const absl::Status noted = NoteLive(
      domain, [&](Config* config) { AdoptCard(defined, card, config->mutable_network()); });
  if (!noted.ok()) return noted;
  if (on_network && !next->network.empty()) {
    if (absl::Status started = networks.Start({next->network}); !started.ok()) return started;
  }
  if (virDomainAttachDeviceFlags(domain, next->xml.c_str(), VIR_DOMAIN_AFFECT_LIVE) == 0)
    return absl::OkStatus();
  return LibvirtError("plugging the network card in");
}

absl::Status LibvirtHypervisor::ChangeCard(const MachineIdentity& machine,
                                           const CardChange& change) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  std::lock_guard<std::mutex> lock(changing_);
  return connection_.Judge(ChangeCardNow(*connection, machine, change));
}

absl::Status LibvirtHypervisor::ChangeCardNow(const ConnectionHandle& connection,
                                              const MachineIdentity& machine,
                                              const CardChange& change) {
  absl::StatusOr<FoundDomain> found = Find(connection, machine);
  if (!found.ok()) return found.status();
  if (!found->live.has_value()) return absl::FailedPreconditionError("the machine is off");
  if (!found->persistent.has_value())
    return absl::FailedPreconditionError("the machine is not defined");
  const absl::Status done = change.what == CardChange::kPlug
                                ? PlugCard(connection, machine, *found, change.card)
                                : UnplugCard(found->domain.get(), change.card);
  if (!done.ok()) return done;
  // The network that it was on may be nobody's any more.
  const std::unique_ptr<Disks> disks = disks_(machine, connection, connection_.facts());
  if (!disks->ledger()->readable().ok()) return disks->ledger()->readable();
  RemoveUnused(connection, machine, false, disks.get());
  return absl::OkStatus();
}

}  // namespace rum
