#include "controller/hypervisor/resources_xml.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/definition.h"
#include "controller/hypervisor/xml_tree.h"

namespace rum {
namespace {

using pugi::xml_node;

constexpr unsigned kMostCpusByDefault = 255;  // more need an IOMMU
constexpr char kMostCpus[] = "most-cpus";     // of rum's metadata: the room that rum wrote

void SetMib(xml_node node, uint64_t mib) {
  node.text().set(absl::StrCat(mib).c_str());
  Set(node, "unit", "MiB");
}

uint64_t Less(uint64_t all, uint64_t part) { return all > part ? all - part : 0; }

bool IsTest(xml_node domain) { return Is(domain, "type", "test"); }

uint64_t SizeOf(xml_node device) { return MemoryMib(device.child("target").child("size")); }

// What a machine boots with, and what can be added while it runs.
struct Wanted {
  uint64_t boot = 0;
  uint64_t added = 0;
};

Wanted WantedMemory(const DomainParts& parts) {
  const Resources& resources = parts.config.resources();
  Wanted wanted = {resources.memory_mb(), 0};
  if (parts.connection != ConnectionKind::kTest && resources.max_memory_mb() > wanted.boot)
    wanted.added = WholeBlocks(resources.max_memory_mb() - wanted.boot);
  return wanted;
}

// The cells of a NUMA guest make up what it boots with: each gets its share of another amount.
void EditCells(xml_node domain, uint64_t memory_mb) {
  std::vector<xml_node> cells;
  uint64_t sum = 0;
  for (xml_node cell : domain.child("cpu").child("numa").children("cell")) {
    if (!cell.attribute("memory")) return;
    cells.push_back(cell);
    sum += MemoryMib(cell);
  }
  const xml_node own = OwnMemory(domain);
  for (xml_node module : domain.child("devices").children("memory")) {
    const uint64_t size = module == own ? 0 : SizeOf(module);
    memory_mb = size < memory_mb ? memory_mb - size : memory_mb;
  }
  uint64_t rest = memory_mb;
  for (size_t i = 0; sum > 0 && i < cells.size(); ++i) {
    const uint64_t share = i + 1 == cells.size() ? rest : MemoryMib(cells[i]) * memory_mb / sum;
    Set(cells[i], "unit", "MiB");
    Set(cells[i], "memory", absl::StrCat(share));
    rest -= share;
  }
}

// A device that adds memory needs a cell to add it to.
void AddCell(xml_node domain, uint64_t memory_mb, unsigned cpus) {
  xml_node numa = Child(Child(domain, "cpu"), "numa");
  if (numa.child("cell")) return;
  xml_node cell = Add(numa, "cell");
  Set(cell, "id", "0");
  Set(cell, "cpus", cpus == 1 ? "0" : absl::StrCat("0-", cpus - 1));
  Set(cell, "memory", absl::StrCat(memory_mb));
  Set(cell, "unit", "MiB");
}

void EditDevice(xml_node domain, uint64_t added) {
  xml_node device = OwnMemory(domain);
  if (!device) {
    device = Add(Child(domain, "devices"), "memory");
    Set(device, "model", "virtio-mem");
    Add(device, "target");
    Set(Add(device, "alias"), "name", kMemoryAlias);
  }
  xml_node target = Child(device, "target");
  SetMib(Child(target, "size"), added);
  Child(target, "node").text().set("0");
  xml_node block = Child(target, "block");
  block.text().set(absl::StrCat(kMemoryBlockMib * 1024).c_str());
  Set(block, "unit", "KiB");
  SetMib(Child(target, "requested"), 0);
}

// With what came with it.
void RemoveDevice(xml_node domain) {
  const xml_node device = OwnMemory(domain);
  if (!device) return;
  xml_node devices = domain.child("devices");
  devices.remove_child(device);
  if (devices.child("memory")) return;  // somebody else's needs the rest
  domain.remove_child("maxMemory");
  // One cell that says no more than its CPUs and memory is what a machine without any has.
  const xml_node numa = domain.child("cpu").child("numa");
  const xml_node cell = numa.child("cell");
  if (cell && !cell.next_sibling("cell") && !cell.attribute("memAccess") &&
      !cell.find_child([](xml_node node) { return node.type() == pugi::node_element; })) {
    domain.child("cpu").remove_child(numa);
  }
}

void EditMemory(xml_node domain, const DomainParts& parts) {
  const Wanted wanted = WantedMemory(parts);
  Child(domain, "memory");
  const xml_node device = OwnMemory(domain);
  const bool same_room =
      SizeOf(device) == wanted.added && MemoryMib(device.child("target").child("requested")) == 0;
  if (same_room && MemoryOf(domain) == wanted.boot) return;
  const uint64_t total = wanted.boot + wanted.added;
  if (wanted.added == 0) RemoveDevice(domain);
  EditCells(domain, wanted.boot);
  if (wanted.added > 0) {
    AddCell(domain, wanted.boot, std::max(1u, domain.child("vcpu").text().as_uint()));
    EditDevice(domain, wanted.added);
    Set(Child(domain, "maxMemory"), "slots",
        absl::StrCat(std::max(1u, domain.child("maxMemory").attribute("slots").as_uint())));
    Child(domain, "currentMemory");
  }
  for (const char* name : {"maxMemory", "memory", "currentMemory"}) {
    xml_node node = domain.child(name);
    if (!node) continue;
    if (std::strcmp(name, "maxMemory") == 0 && MemoryMib(node) >= total) continue;
    SetMib(node, std::strcmp(name, "currentMemory") == 0 ? wanted.boot : total);
  }
}

// libvirt takes a topology only of just as many CPUs as there may be.
void FitTopology(xml_node topology, unsigned cpus) {
  if (!topology) return;
  unsigned around_cores = 1;
  for (const char* name : {"sockets", "dies", "clusters", "threads"}) {
    around_cores *= std::max(1u, topology.attribute(name).as_uint(1));
  }
  if (around_cores * topology.attribute("cores").as_uint(1) == cpus) return;
  if (cpus % around_cores == 0) {
    Set(topology, "cores", absl::StrCat(cpus / around_cores));
    return;
  }
  for (const char* name : {"sockets", "dies", "clusters", "threads"}) {
    if (topology.attribute(name)) Set(topology, name, "1");
  }
  Set(topology, "cores", absl::StrCat(cpus));
}

// Nor cells of other CPUs than there may be.
void FitCells(xml_node numa, unsigned cpus) {
  std::vector<xml_node> cells;
  for (xml_node cell : numa.children("cell")) {
    if (cell.attribute("cpus")) cells.push_back(cell);
  }
  if (cells.empty() || cpus < cells.size()) return;
  unsigned first = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    const unsigned end = cpus * (i + 1) / cells.size();
    Set(cells[i], "cpus",
        end - first == 1 ? absl::StrCat(first) : absl::StrCat(first, "-", end - 1));
    first = end;
  }
}

// Of an emulated machine the room costs: with more than one CPU that there may be, its kernel does
// not trust the time stamp counter, and reads a slower clock.
unsigned MostByDefault(const DomainParts& parts) {
  const unsigned cpus = parts.config.resources().cpus();
  if (parts.connection == ConnectionKind::kTest || parts.domain_type != "kvm") return cpus;
  return std::max(cpus, std::min(parts.host_cpus, kMostCpusByDefault));
}

// What somebody else gave a machine room for, or took from it, stays while that holds its CPUs.
bool IsTheirs(xml_node vcpu, unsigned cpus, const OwnMetadata& said) {
  const unsigned now = vcpu.text().as_uint();
  if (now == 0 || now == said.most_cpus) return false;
  return vcpu.attribute("current") ? cpus <= now : said.most_cpus > 0;
}

void EditCpus(xml_node domain, const DomainParts& parts, const OwnMetadata& said) {
  const Resources& resources = parts.config.resources();
  const unsigned cpus = resources.cpus();
  xml_node vcpu = Child(domain, "vcpu");
  const unsigned room = vcpu.text().as_uint();
  const bool asked = resources.max_cpus() > 0;
  const bool theirs = !asked && IsTheirs(vcpu, cpus, said);
  const unsigned theirs_most = vcpu.attribute("current") ? room : cpus;
  const unsigned most = asked    ? std::max(cpus, resources.max_cpus())
                        : theirs ? theirs_most
                                 : MostByDefault(parts);
  if (!theirs) {
    SetOrRemove(domain.child("metadata").child("rum:machine"), kMostCpus,
                most > cpus ? absl::StrCat(most) : "");
  }
  if (CpusOf(domain) == cpus && room == most) return;
  domain.remove_child("vcpus");  // it says which of them are on
  SetOrRemove(vcpu, "current", most > cpus ? absl::StrCat(cpus) : "");
  if (room == most) return;
  vcpu.text().set(absl::StrCat(most).c_str());
  FitTopology(domain.child("cpu").child("topology"), most);
  FitCells(domain.child("cpu").child("numa"), most);
}

// virtiofsd reads and writes the guest's memory itself. A cell of a NUMA guest may say otherwise.
bool SharesMemory(xml_node domain) {
  for (xml_node cell : domain.child("cpu").child("numa").children("cell")) {
    if (cell.attribute("memAccess") && !Is(cell, "memAccess", "shared")) return false;
  }
  const xml_node backing = domain.child("memoryBacking");
  const xml_node source = backing.child("source");
  const bool of_file =
      backing.child("hugepages") || Is(source, "type", "memfd") || Is(source, "type", "file");
  return of_file && Is(backing.child("access"), "mode", "shared");
}

}  // namespace

void EditResources(xml_node domain, const DomainParts& parts, const OwnMetadata& said) {
  EditCpus(domain, parts, said);
  EditMemory(domain, parts);
}

xml_node OwnMemory(xml_node domain) {
  for (xml_node device : domain.child("devices").children("memory")) {
    if (Is(device.child("alias"), "name", kMemoryAlias)) return device;
  }
  return {};
}

Room ReadRoom(xml_node domain) {
  const xml_node device = OwnMemory(domain);
  const xml_node target = device.child("target");
  const xml_node current = target.child("current");  // of a running machine
  Room room;
  room.cpus = domain.child("vcpu").text().as_uint();
  room.plugs_cpus = !Is(domain, "type", "qemu");
  room.addable_mb = SizeOf(device);
  room.asked_mb = MemoryMib(target.child("requested"));
  room.added_mb = current ? MemoryMib(current) : room.asked_mb;
  room.boot_mb = Less(MemoryMib(domain.child("memory")), room.addable_mb);
  const xml_node balloon = domain.child("devices").child("memballoon");
  room.gives_back = Is(balloon, "model", "virtio") && Is(balloon, "autodeflate", "on");
  room.sharing = SharesMemory(domain) ? Sharing::kLive : Sharing::kNoSharedMemory;
  // Of a running machine libvirt counts what was added in, too.
  const xml_node now = domain.child("currentMemory");
  const uint64_t counted = current ? room.added_mb : 0;
  room.balloon_mb = room.boot_mb;
  if (now) room.balloon_mb = std::min(room.boot_mb, Less(MemoryMib(now), counted));
  return room;
}

void ReadResources(xml_node domain, Resources* resources) {
  const Room room = ReadRoom(domain);
  resources->set_cpus(CpusOf(domain));
  resources->set_memory_mb(room.balloon_mb + room.added_mb);
  if (resources->max_cpus() > 0) resources->set_max_cpus(room.cpus);
  if (IsTest(domain)) return;  // it has no such device
  const uint64_t most = room.boot_mb + room.addable_mb;
  const uint64_t said = resources->max_memory_mb();
  const bool confirmed = said <= most && most - said < kMemoryBlockMib;
  if (!confirmed && room.addable_mb == 0) resources->clear_max_memory_mb();
  if (!confirmed && room.addable_mb > 0) resources->set_max_memory_mb(most);
}

}  // namespace rum
