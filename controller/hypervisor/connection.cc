#include "controller/hypervisor/connection.h"

#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/hypervisor/event_loop.h"
#include "controller/hypervisor/libvirt_handles.h"

namespace rum {
namespace {

// A paravirtual /dev/kvm of a nested cloud makes VMs and lets them hang; its CPU shows neither
// flag.
bool CpuVirtualizes() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (!absl::StartsWith(line, "flags")) continue;
    line += ' ';
    return absl::StrContains(line, " vmx ") || absl::StrContains(line, " svm ");
  }
  return false;
}

bool LibvirtOffersKvm(virConnectPtr connection) {
  return !TakeText(virConnectGetDomainCapabilities(connection, nullptr, nullptr, nullptr, "kvm", 0))
              .empty();
}

std::string AutoType(virConnectPtr connection, const ConnectionFacts& facts) {
  if (facts.kind == ConnectionKind::kTest) return "qemu";
  if (facts.remote) return LibvirtOffersKvm(connection) ? "kvm" : "qemu";
  if (!CpuVirtualizes()) return "qemu";
  if (facts.kind == ConnectionKind::kSystem) return LibvirtOffersKvm(connection) ? "kvm" : "qemu";
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) return "qemu";
  close(kvm);
  return "kvm";
}

ConnectionFacts FactsOf(virConnectPtr connection) {
  ConnectionFacts facts;
  facts.uri = TakeText(virConnectGetURI(connection));
  const char* driver = virConnectGetType(connection);
  if (driver != nullptr && absl::EqualsIgnoreCase(driver, "test")) {
    facts.kind = ConnectionKind::kTest;
  } else if (!absl::EndsWith(facts.uri.substr(0, facts.uri.find('?')), "/session")) {
    facts.kind = ConnectionKind::kSystem;
  }
  const size_t host = facts.uri.find("://");
  facts.remote = host != std::string::npos && facts.uri.compare(host, 4, ":///") != 0;
  facts.auto_type = AutoType(connection, facts);
  return facts;
}

}  // namespace

// Outlives the connection for as long as libvirt may call back.
struct Connection::Listener {
  std::mutex mutex;
  std::function<void(const std::string&)> on_event;

  void Tell(virDomainPtr domain) {
    const char* name = virDomainGetName(domain);
    std::lock_guard<std::mutex> lock(mutex);
    if (on_event && name != nullptr) on_event(name);
  }
  static void Tell(virDomainPtr domain, void* opaque) {
    (*static_cast<std::shared_ptr<Listener>*>(opaque))->Tell(domain);
  }
  static void Release(void* opaque) { delete static_cast<std::shared_ptr<Listener>*>(opaque); }

  // The ids of the callbacks; a driver that lacks an event has one less.
  static std::vector<int> Register(const std::shared_ptr<Listener>& self,
                                   virConnectPtr connection) {
    std::vector<int> ids;
    auto add = [&](int event, auto callback) {
      auto* opaque = new std::shared_ptr<Listener>(self);
      const int id = virConnectDomainEventRegisterAny(
          connection, nullptr, event, VIR_DOMAIN_EVENT_CALLBACK(callback), opaque, Release);
      if (id < 0) return Release(opaque);
      ids.push_back(id);
    };
    add(
        VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        +[](virConnectPtr, virDomainPtr domain, int, int, void* opaque) {
          Tell(domain, opaque);
          return 0;
        });
    add(
        VIR_DOMAIN_EVENT_ID_REBOOT,
        +[](virConnectPtr, virDomainPtr domain, void* opaque) { Tell(domain, opaque); });
    auto device = +[](virConnectPtr, virDomainPtr domain, const char*, void* opaque) {
      Tell(domain, opaque);
    };
    add(VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, device);
    add(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, device);
    return ids;
  }

  // A hint only that the guest opened or closed the agent's port; other drivers than QEMU's have no
  // such thing: -1.
  static int RegisterQemu(const std::shared_ptr<Listener>& self, virConnectPtr connection) {
    auto* opaque = new std::shared_ptr<Listener>(self);
    const int id = virConnectDomainQemuMonitorEventRegister(
        connection, nullptr, "VSERPORT_CHANGE",
        [](virConnectPtr, virDomainPtr domain, const char*, long long, unsigned int, const char*,
           void* opaque) { Tell(domain, opaque); },
        opaque, Release, 0);
    if (id < 0) Release(opaque);
    return id;
  }
};

Connection::Connection(std::string uri, std::function<void(const std::string&)> on_event)
    : uri_(std::move(uri)), listener_(std::make_shared<Listener>()) {
  listener_->on_event = std::move(on_event);
}

Connection::~Connection() {
  std::lock_guard<std::mutex> lock(listener_->mutex);
  listener_->on_event = nullptr;
}

absl::StatusOr<ConnectionHandle> Connection::Get() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (connection_ && virConnectIsAlive(connection_.get()) == 1) return connection_;
  connection_.reset();
  absl::StatusOr<ConnectionHandle> opened = Open();
  if (!opened.ok()) return opened.status();
  connection_ = *opened;
  facts_ = FactsOf(connection_.get());
  return connection_;
}

ConnectionFacts Connection::facts() {
  std::lock_guard<std::mutex> lock(mutex_);
  return facts_;
}

absl::Status Connection::Judge(const absl::Status& status) {
  if (status.ok()) return status;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!connection_ || virConnectIsAlive(connection_.get()) == 1) return status;
  return absl::UnavailableError(status.message());
}

absl::StatusOr<ConnectionHandle> Connection::Open() {
  StartLibvirtEventLoop();
  virConnectPtr raw = virConnectOpen(uri_.empty() ? nullptr : uri_.c_str());
  if (raw == nullptr) {
    const std::string name = uri_.empty() ? "its default URI" : uri_;
    absl::Status error = LibvirtError("cannot reach libvirt at " + name);
    return absl::UnavailableError(error.message());
  }
  const std::vector<int> callbacks = Listener::Register(listener_, raw);
  const int qemu_callback = Listener::RegisterQemu(listener_, raw);
  // Local drivers have no wire to keep alive and say so with an error.
  if (virConnectSetKeepAlive(raw, 5, 3) < 0) virResetLastError();
  // Callbacks hold the connection: it only goes when they do.
  return ConnectionHandle(raw, [callbacks, qemu_callback](virConnectPtr connection) {
    for (int id : callbacks) virConnectDomainEventDeregisterAny(connection, id);
    if (qemu_callback >= 0) virConnectDomainQemuMonitorEventDeregister(connection, qemu_callback);
    virConnectClose(connection);
  });
}

}  // namespace rum
