#ifndef RUM_CONTROLLER_HYPERVISOR_LIBVIRT_HANDLES_H_
#define RUM_CONTROLLER_HYPERVISOR_LIBVIRT_HANDLES_H_

#include <libvirt/libvirt.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace rum {

template <typename T, int (*kFree)(T*)>
struct LibvirtDeleter {
  void operator()(T* object) const { kFree(object); }
};

using DomainHandle = std::unique_ptr<virDomain, LibvirtDeleter<virDomain, virDomainFree>>;
using NetworkHandle = std::unique_ptr<virNetwork, LibvirtDeleter<virNetwork, virNetworkFree>>;
using PoolHandle =
    std::unique_ptr<virStoragePool, LibvirtDeleter<virStoragePool, virStoragePoolFree>>;
using VolumeHandle =
    std::unique_ptr<virStorageVol, LibvirtDeleter<virStorageVol, virStorageVolFree>>;
using StreamHandle = std::unique_ptr<virStream, LibvirtDeleter<virStream, virStreamFree>>;

// A string that libvirt allocated; empty for NULL.
inline std::string TakeText(char* text) {
  std::string result = text == nullptr ? "" : text;
  free(text);
  return result;
}

// This thread's last libvirt error behind `doing`, in words for people, then libvirt's own:
// "start: libvirt or QEMU failed at it (libvirt: internal error: ...)". Never Ok.
absl::Status LibvirtError(const std::string& doing);

// The same of a VIR_ERR_ code and libvirt's text.
absl::Status StatusOfLibvirt(const std::string& doing, int code, const std::string& message);
// Ends the message of a libvirt that is not reached: who goes on asking why.
inline constexpr char kAskDoctor[] = " `rum doctor` finds out";
// Explains that no connection could be made to one; `name`: its URI.
absl::Status UnreachableLibvirt(const std::string& name, int code, const std::string& message);

// The VIR_ERR_ code of this thread's last error.
int LastLibvirtCode();

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_LIBVIRT_HANDLES_H_
