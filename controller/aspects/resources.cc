#include "controller/aspects/resources.h"

#include "controller/aspects/worlds.h"

namespace rum {

const agent::Resources* ResourcesInGuest(const Scene& scene) {
  const auto& guest = scene.observed.guest;
  return guest.has_value() && guest->has_resources() ? &guest->resources() : nullptr;
}

bool IsOldAgent(const Scene& scene) {
  return scene.observed.guest.has_value() && !scene.observed.guest->has_resources();
}

absl::Status WriteDefinition(const Worlds& worlds) {
  return WithContext("definition", worlds.hypervisor.Define(worlds.machine, worlds.desired,
                                                            Fresh::kNothing, worlds.onlooker));
}

}  // namespace rum
