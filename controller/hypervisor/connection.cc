#include "controller/hypervisor/connection.h"

#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/threads.h"
#include "controller/hypervisor/event_loop.h"
#include "controller/hypervisor/libvirt_handles.h"

namespace rum {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{2000};

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

// https://libvirt.org/formatdomain.html#hypervisor-features: <tcg> since libvirt 8.0; QEMU knows
// the option since 5.0.
bool HasTcgCache(virConnectPtr connection) {
  unsigned long libvirt = 0;  // NOLINT(google-runtime-int): libvirt's type
  unsigned long qemu = 0;     // NOLINT(google-runtime-int)
  return virConnectGetLibVersion(connection, &libvirt) == 0 && libvirt >= 8000000 &&
         virConnectGetVersion(connection, &qemu) == 0 && qemu >= 5000000;
}

// QEMU's balloon tells the host of pages that no guest uses, and libvirt knows it.
bool HasFreePages(virConnectPtr connection) {
  unsigned long libvirt = 0;  // NOLINT(google-runtime-int): libvirt's type
  unsigned long qemu = 0;     // NOLINT(google-runtime-int)
  return virConnectGetLibVersion(connection, &libvirt) == 0 && libvirt >= 6009000 &&
         virConnectGetVersion(connection, &qemu) == 0 && qemu >= 5001000;
}

ConnectionFacts FactsOf(virConnectPtr connection) {
  ConnectionFacts facts;
  facts.uri = TakeText(virConnectGetURI(connection));
  const char* driver = virConnectGetType(connection);
  if (driver != nullptr && absl::EqualsIgnoreCase(driver, "test")) {
    facts.kind = ConnectionKind::kTest;
    facts.has_files = false;
  } else if (!absl::EndsWith(facts.uri.substr(0, facts.uri.find('?')), "/session")) {
    facts.kind = ConnectionKind::kSystem;
  }
  const size_t host = facts.uri.find("://");
  facts.remote = host != std::string::npos && facts.uri.compare(host, 4, ":///") != 0;
  facts.auto_type = AutoType(connection, facts);
  facts.tcg_cache = facts.kind != ConnectionKind::kTest && HasTcgCache(connection);
  facts.free_pages = facts.kind != ConnectionKind::kTest && HasFreePages(connection);
  virNodeInfo node;
  if (virNodeGetInfo(connection, &node) == 0) facts.host_cpus = node.cpus;
  return facts;
}

}  // namespace

// Outlives the connection for as long as libvirt may call back.
struct Connection::Listener {
  std::mutex mutex;
  std::function<void(const std::string&)> on_event;

  void Tell(virDomainPtr domain) {
    const char* name = virDomainGetName(domain);
    char uuid[VIR_UUID_STRING_BUFLEN];
    const bool has_uuid = virDomainGetUUIDString(domain, uuid) == 0;
    std::lock_guard<std::mutex> lock(mutex);
    if (on_event && name != nullptr) on_event(name);
    if (on_event && has_uuid) on_event(uuid);
  }
  void TellAll() {
    std::lock_guard<std::mutex> lock(mutex);
    if (on_event) on_event("");
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
    add(
        VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE,
        +[](virConnectPtr, virDomainPtr domain, unsigned long long, void* opaque) {
          Tell(domain, opaque);
        });
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

// Brings a connection that was lost back, so that events are heard again before anybody asks.
struct Connection::Loss {
  std::mutex mutex;
  std::condition_variable changed;
  bool lost = false;
  bool ending = false;

  void Set(bool Loss::*what) {
    std::lock_guard<std::mutex> lock(mutex);
    this->*what = true;
    changed.notify_all();
  }
  // The callback must not close the connection, nor wait for anything. libvirt calls it under the
  // lock that unregistering takes, so that no call comes after that; whoever holds the connection
  // holds this until then. (A driver that cannot be lost, as that of tests, takes a callback and
  // forgets it: it would never release what it was given.)
  void Register(virConnectPtr connection) {
    if (virConnectRegisterCloseCallback(connection, OnClose, this, nullptr) < 0)
      virResetLastError();
  }
  static void OnClose(virConnectPtr, int, void* opaque) {
    static_cast<Loss*>(opaque)->Set(&Loss::lost);
  }
};

Connection::Connection(std::string uri, std::function<void(const std::string&)> on_event)
    : uri_(std::move(uri)),
      listener_(std::make_shared<Listener>()),
      loss_(std::make_shared<Loss>()) {
  listener_->on_event = std::move(on_event);
}

Connection::~Connection() {
  {
    std::lock_guard<std::mutex> lock(listener_->mutex);
    listener_->on_event = nullptr;
  }
  loss_->Set(&Loss::ending);
  if (reconnector_.joinable()) reconnector_.join();
}

void Connection::Reconnect() {
  std::unique_lock<std::mutex> lock(loss_->mutex);
  while (true) {
    loss_->changed.wait(lock, [this] { return loss_->lost || loss_->ending; });
    if (loss_->ending) return;
    loss_->lost = false;
    lock.unlock();
    listener_->TellAll();  // whoever asks now hears that libvirt is away
    bool back = Get().ok();
    lock.lock();
    for (auto pause = kFirstPause; !back && !loss_->ending;
         pause = std::min(pause * 2, kLongestPause)) {
      loss_->changed.wait_for(lock, pause, [this] { return loss_->ending; });
      if (loss_->ending) return;
      lock.unlock();
      back = Get().ok();
      lock.lock();
    }
    lock.unlock();
    listener_->TellAll();  // of what moved meanwhile there was no event
    lock.lock();
  }
}

absl::StatusOr<ConnectionHandle> Connection::Get() {
  std::unique_lock<std::mutex> lock(mutex_);
  // Opening has no deadline in libvirt: where one hangs, the others give up.
  if (!opened_.wait_for(lock, kPatience, [this] { return !opening_; })) {
    return absl::UnavailableError(absl::StrCat("libvirt at ", Name(), " does not answer"));
  }
  if (connection_ && virConnectIsAlive(connection_.get()) == 1) return connection_;
  const ConnectionHandle dead = std::exchange(connection_, nullptr);
  opening_ = true;
  lock.unlock();
  absl::StatusOr<ConnectionHandle> opened = Open();
  const ConnectionFacts facts = opened.ok() ? FactsOf(opened->get()) : ConnectionFacts();
  lock.lock();
  opening_ = false;
  opened_.notify_all();
  if (!opened.ok()) return opened.status();
  connection_ = *opened;
  facts_ = facts;
  return connection_;
}

std::string Connection::Name() const { return uri_.empty() ? "its default URI" : uri_; }

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

// One thread at a time is here.
absl::Status Connection::StartThreads() {
  if (absl::Status loop = StartLibvirtEventLoop(); !loop.ok()) return loop;
  if (reconnector_.joinable()) return absl::OkStatus();
  absl::StatusOr<std::thread> reconnector = StartThread([this] { Reconnect(); });
  if (!reconnector.ok()) return reconnector.status();
  reconnector_ = *std::move(reconnector);
  return absl::OkStatus();
}

absl::StatusOr<ConnectionHandle> Connection::Open() {
  if (absl::Status started = StartThreads(); !started.ok()) return started;
  virConnectPtr raw = virConnectOpen(uri_.empty() ? nullptr : uri_.c_str());
  if (raw == nullptr) {
    const virError* error = virGetLastError();
    const bool said = error != nullptr && error->message != nullptr;
    return UnreachableLibvirt(Name(), LastLibvirtCode(), said ? error->message : "");
  }
  const std::vector<int> callbacks = Listener::Register(listener_, raw);
  const int qemu_callback = Listener::RegisterQemu(listener_, raw);
  loss_->Register(raw);
  // A libvirt that says nothing for 20 s is lost, and every call to it fails. Local drivers have no
  // wire to keep alive and say so with an error.
  if (virConnectSetKeepAlive(raw, 5, 3) < 0) virResetLastError();
  // Callbacks hold the connection: it only goes when they do.
  return ConnectionHandle(raw, [callbacks, qemu_callback, loss = loss_](virConnectPtr connection) {
    for (int id : callbacks) virConnectDomainEventDeregisterAny(connection, id);
    if (qemu_callback >= 0) virConnectDomainQemuMonitorEventDeregister(connection, qemu_callback);
    if (virConnectUnregisterCloseCallback(connection, Loss::OnClose) < 0) virResetLastError();
    virConnectClose(connection);
  });
}

}  // namespace rum
