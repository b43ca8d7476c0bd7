// Of LibvirtHypervisor: the vCPUs and the memory of a machine that runs.
#include <libvirt/libvirt.h>

#include <algorithm>
#include <pugixml.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "controller/hypervisor/libvirt_hypervisor.h"
#include "controller/hypervisor/own_devices.h"
#include "controller/hypervisor/xml_tree.h"

namespace rum {
namespace {

// An idle guest takes or gives a gibibyte in three seconds. One that does not begin in so long has
// no driver for it, and one that began and does not move has stopped, also on a busy host.
constexpr absl::Duration kBegins = absl::Seconds(5);
constexpr absl::Duration kStandstill = absl::Seconds(15);
constexpr absl::Duration kMostResize = absl::Minutes(2);
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(100);

// How much of the memory comes by the device.
uint64_t AddedFor(uint64_t memory_mb, const Room& room) {
  return memory_mb > room.boot_mb ? WholeBlocks(memory_mb - room.boot_mb) : 0;
}

// The device of the live definition, asked for so much.
absl::StatusOr<std::string> DeviceXml(virDomainPtr domain, uint64_t asked_mb) {
  const std::string xml = TakeText(virDomainGetXMLDesc(domain, 0));
  if (xml.empty()) return LibvirtError("reading the definition");
  pugi::xml_document document;
  document.load_buffer(xml.data(), xml.size());
  for (pugi::xml_node device : document.child("domain").child("devices").children("memory")) {
    if (!Is(device.child("alias"), "name", kMemoryAlias)) continue;
    pugi::xml_node requested = Child(device.child("target"), "requested");
    requested.text().set(absl::StrCat(asked_mb).c_str());
    Set(requested, "unit", "MiB");
    std::ostringstream out;
    device.print(out);
    return out.str();
  }
  return absl::FailedPreconditionError("the machine was started without room for memory");
}

}  // namespace

absl::StatusOr<FoundDomain> LibvirtHypervisor::FindRunning(const MachineIdentity& machine) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<FoundDomain> found = Find(*connection, machine);
  if (found.ok() && !found->running) return absl::FailedPreconditionError("the machine is off");
  return found;
}

absl::Status LibvirtHypervisor::PlugCpus(const MachineIdentity& machine, uint32_t cpus) {
  std::lock_guard<std::mutex> lock(changing_);
  return connection_.Judge(PlugCpusNow(machine, cpus));
}

absl::Status LibvirtHypervisor::PlugCpusNow(const MachineIdentity& machine, uint32_t cpus) {
  absl::StatusOr<FoundDomain> found = FindRunning(machine);
  if (!found.ok()) return found.status();
  if (cpus > found->live->room.cpus) {
    return absl::FailedPreconditionError(
        absl::StrCat("the machine was started with room for ", found->live->room.cpus, " vCPUs"));
  }
  if (cpus <= found->live->config.resources().cpus()) return absl::OkStatus();
  if (!found->live->room.plugs_cpus) return absl::FailedPreconditionError(Room::kPlugMayKill);
  if (virDomainSetVcpusFlags(found->domain.get(), cpus, VIR_DOMAIN_AFFECT_LIVE) == 0)
    return absl::OkStatus();
  return LibvirtError("plugging vCPUs");
}

// What the room was after it.
absl::StatusOr<Room> LibvirtHypervisor::AskForMemory(const MachineIdentity& machine,
                                                     uint64_t memory_mb) {
  std::lock_guard<std::mutex> lock(changing_);
  absl::StatusOr<FoundDomain> found = FindRunning(machine);
  if (!found.ok()) return found.status();
  const Room room = found->live->room;
  const uint64_t added = AddedFor(memory_mb, room);
  if (added > room.addable_mb) {
    return absl::FailedPreconditionError(absl::StrCat("the machine was started with room for ",
                                                      room.boot_mb + room.addable_mb, " MiB"));
  }
  if (added != room.asked_mb) {
    const absl::StatusOr<std::string> device = DeviceXml(found->domain.get(), added);
    if (!device.ok()) return device.status();
    if (virDomainUpdateDeviceFlags(found->domain.get(), device->c_str(), VIR_DOMAIN_AFFECT_LIVE) !=
        0)
      return LibvirtError("changing the memory");
  }
  // libvirt's number is the balloon's alone.
  const uint64_t balloon = std::min(memory_mb, room.boot_mb);
  if (balloon != room.balloon_mb &&
      virDomainSetMemoryFlags(found->domain.get(), balloon * 1024, VIR_DOMAIN_AFFECT_LIVE) != 0)
    return LibvirtError("changing the memory");
  return room;
}

absl::StatusOr<Room> LibvirtHypervisor::ResizeMemory(const MachineIdentity& machine,
                                                     uint64_t memory_mb) {
  absl::StatusOr<Room> room = AskForMemory(machine, memory_mb);
  if (!room.ok()) return connection_.Judge(room.status());
  const uint64_t added = AddedFor(memory_mb, *room);
  const uint64_t balloon = std::min(memory_mb, room->boot_mb);
  const absl::Time begin = SteadyNow();
  for (absl::Time until = begin + kBegins;;) {
    absl::StatusOr<FoundDomain> found = FindRunning(machine);
    if (!found.ok()) return connection_.Judge(found.status());
    const Room now = found->live->room;
    const bool there = now.added_mb == added && now.balloon_mb == balloon;
    if (now.added_mb != room->added_mb || now.balloon_mb != room->balloon_mb)
      until = std::min(SteadyNow() + kStandstill, begin + kMostResize);
    if (there || SteadyNow() >= until) return now;
    room = now;
    absl::SleepFor(kBetweenLooks);
  }
}

}  // namespace rum
