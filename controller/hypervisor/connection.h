#ifndef RUM_CONTROLLER_HYPERVISOR_CONNECTION_H_
#define RUM_CONTROLLER_HYPERVISOR_CONNECTION_H_

#include <libvirt/libvirt.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "controller/hypervisor/domain_xml.h"

namespace rum {

// An open connection; shared by the calls that use it, closed with the last of them.
using ConnectionHandle = std::shared_ptr<virConnect>;

// What a connection is to, as its URI and driver say.
struct ConnectionFacts {
  std::string uri;
  ConnectionKind kind = ConnectionKind::kSession;
  bool remote = false;
  std::string auto_type;  // what domain_type "auto" means there: "kvm" or "qemu"
};

// Keeps one connection to libvirt: opened when first needed, opened again when it died.
// Thread-safe.
class Connection {
 public:
  // `on_event` hears the names of domains about which libvirt reports anything, on libvirt's event
  // thread.
  Connection(std::string uri, std::function<void(const std::string&)> on_event);
  ~Connection();  // no on_event afterwards
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Unavailable: "cannot reach libvirt at URI: ...".
  absl::StatusOr<ConnectionHandle> Get();
  ConnectionFacts facts();  // of the last Get()
  // Turns an error that a dead connection caused into Unavailable, whatever code libvirt gave it.
  absl::Status Judge(const absl::Status& status);

 private:
  struct Listener;
  absl::StatusOr<ConnectionHandle> Open();

  const std::string uri_;
  std::shared_ptr<Listener> listener_;
  std::mutex mutex_;
  ConnectionHandle connection_;
  ConnectionFacts facts_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_CONNECTION_H_
