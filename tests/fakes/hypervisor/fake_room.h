#ifndef RUM_TESTS_FAKES_HYPERVISOR_FAKE_ROOM_H_
#define RUM_TESTS_FAKES_HYPERVISOR_FAKE_ROOM_H_

#include <algorithm>

#include "controller/hypervisor/hypervisor.h"

namespace rum {

// The room of an emulated machine that starts with this definition.
inline Room FakeRoom(const Config& definition) {
  const Resources& resources = definition.resources();
  Room room;
  room.cpus = std::max(resources.cpus(), resources.max_cpus());
  room.boot_mb = room.balloon_mb = resources.memory_mb();
  if (resources.max_memory_mb() > room.boot_mb)
    room.addable_mb = WholeBlocks(resources.max_memory_mb() - room.boot_mb);
  room.gives_back = true;
  return room;
}

// What a guest without needs of its own makes of the wish. False: there is no room for it.
inline bool FakeResize(uint64_t memory_mb, DomainState* domain) {
  Room& room = domain->room;
  const uint64_t added = memory_mb > room.boot_mb ? WholeBlocks(memory_mb - room.boot_mb) : 0;
  if (added > room.addable_mb) return false;
  room.asked_mb = room.added_mb = added;
  room.balloon_mb = std::min(memory_mb, room.boot_mb);
  domain->live.mutable_resources()->set_memory_mb(room.balloon_mb + added);
  return true;
}

}  // namespace rum

#endif  // RUM_TESTS_FAKES_HYPERVISOR_FAKE_ROOM_H_
