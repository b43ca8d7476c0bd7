#include "controller/hypervisor/event_loop.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <mutex>
#include <thread>
#include <utility>

#include "agent-api/threads.h"

namespace rum {

absl::Status StartLibvirtEventLoop() {
  static auto* const mutex = new std::mutex;
  static bool prepared = false;
  static bool runs = false;
  const std::lock_guard<std::mutex> lock(*mutex);
  if (!std::exchange(prepared, true)) {
    virInitialize();
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
    virEventRegisterDefaultImpl();
  }
  if (runs) return absl::OkStatus();
  absl::StatusOr<std::thread> loop = StartThread([] {
    while (true) virEventRunDefaultImpl();
  });
  if (!loop.ok()) return loop.status();
  loop->detach();
  runs = true;
  return absl::OkStatus();
}

}  // namespace rum
