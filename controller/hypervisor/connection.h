#ifndef RUM_CONTROLLER_HYPERVISOR_CONNECTION_H_
#define RUM_CONTROLLER_HYPERVISOR_CONNECTION_H_

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

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
  bool has_files = true;   // disks are files and have sizes; libvirt's test driver makes up numbers
  std::string auto_type;   // what domain_type "auto" means there: "kvm" or "qemu"
  unsigned host_cpus = 0;  // that the host has; 0: it does not say
  bool free_pages = false;  // a definition may have guests tell of pages that they do not use
  bool tcg_cache = false;   // a definition may say how much translated code QEMU keeps
};

// Keeps one connection to libvirt: opened when first needed, opened again when it died, with its
// events. Thread-safe.
class Connection {
 public:
  // `on_event` hears the names and the UUIDs of domains about which libvirt reports anything, on
  // libvirt's event thread; and an empty name when the connection was lost, and when it is back:
  // anything may have happened to any domain.
  Connection(std::string uri, std::function<void(const std::string&)> on_event);
  ~Connection();  // no on_event afterwards
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Unavailable: "cannot reach libvirt at URI: ..."; also while another call has been opening it
  // for 10 s.
  absl::StatusOr<ConnectionHandle> Get();
  ConnectionFacts facts();  // of the last Get()
  // Turns an error that a dead connection caused into Unavailable, whatever code libvirt gave it.
  absl::Status Judge(const absl::Status& status);

 private:
  struct Listener;
  struct Loss;
  absl::StatusOr<ConnectionHandle> Open();
  absl::Status StartThreads();
  void Reconnect();
  std::string Name() const;

  const std::string uri_;
  const std::shared_ptr<Listener> listener_;
  const std::shared_ptr<Loss> loss_;
  std::mutex mutex_;
  std::condition_variable opened_;
  bool opening_ = false;
  ConnectionHandle connection_;
  ConnectionFacts facts_;
  std::thread reconnector_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_CONNECTION_H_
