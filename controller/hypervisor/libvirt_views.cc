// What people look at: the serial console, and what machines use.
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/base/fd.h"
#include "controller/hypervisor/agent_channel.h"
#include "controller/hypervisor/libvirt_hypervisor.h"

namespace rum {
namespace {

struct StatsDeleter {
  void operator()(virDomainStatsRecordPtr* records) const { virDomainStatsRecordListFree(records); }
};
using StatsList = std::unique_ptr<virDomainStatsRecordPtr[], StatsDeleter>;

// One domain's numbers by libvirt's names for them, see virConnectGetAllDomainStats().
class Numbers {
 public:
  explicit Numbers(const virDomainStatsRecord& record) : record_(record) {}

  std::optional<uint64_t> Get(const std::string& name) const {
    const virTypedParameter* one = Find(name);
    if (one == nullptr) return std::nullopt;
    switch (one->type) {
      case VIR_TYPED_PARAM_ULLONG:
        return one->value.ul;
      case VIR_TYPED_PARAM_UINT:
        return one->value.ui;
      case VIR_TYPED_PARAM_INT:
        return one->value.i < 0 ? 0 : static_cast<uint64_t>(one->value.i);
      case VIR_TYPED_PARAM_LLONG:
        return one->value.l < 0 ? 0 : static_cast<uint64_t>(one->value.l);
      default:
        return std::nullopt;
    }
  }
  uint64_t Or0(const std::string& name) const { return Get(name).value_or(0); }
  std::string Text(const std::string& name) const {
    const virTypedParameter* one = Find(name);
    return one != nullptr && one->type == VIR_TYPED_PARAM_STRING ? one->value.s : "";
  }

 private:
  const virTypedParameter* Find(const std::string& name) const {
    for (int i = 0; i < record_.nparams; ++i) {
      if (name == record_.params[i].field) return &record_.params[i];
    }
    return nullptr;
  }
  const virDomainStatsRecord& record_;
};

constexpr uint64_t kKib = 1024;
// As many as a definition can have, whatever the count says.
constexpr uint64_t kMostDevices = 1024;

std::optional<uint64_t> Bytes(const std::optional<uint64_t>& kib) {
  return kib.has_value() ? std::optional<uint64_t>(*kib * kKib) : std::nullopt;
}

Usage UsageOf(const Numbers& numbers) {
  Usage usage;
  usage.cpus = static_cast<uint32_t>(numbers.Or0("vcpu.current"));
  usage.cpu_time = absl::Nanoseconds(static_cast<int64_t>(numbers.Or0("cpu.time")));
  usage.memory = numbers.Or0("balloon.current") * kKib;
  usage.memory_on_host = numbers.Or0("balloon.rss") * kKib;
  usage.memory_in_guest = Bytes(numbers.Get("balloon.available"));
  const auto usable = numbers.Get("balloon.usable");
  usage.memory_available = Bytes(usable.has_value() ? usable : numbers.Get("balloon.unused"));
  for (uint64_t i = 0; i < std::min(numbers.Or0("block.count"), kMostDevices); ++i) {
    const std::string of = absl::StrCat("block.", i, ".");
    usage.disks.push_back({numbers.Text(of + "name"), numbers.Text(of + "path"),
                           numbers.Or0(of + "capacity"), numbers.Or0(of + "physical"),
                           numbers.Or0(of + "allocation"), numbers.Or0(of + "rd.bytes"),
                           numbers.Or0(of + "wr.bytes")});
  }
  for (uint64_t i = 0; i < std::min(numbers.Or0("net.count"), kMostDevices); ++i) {
    const std::string of = absl::StrCat("net.", i, ".");
    const std::string name = numbers.Text(of + "name");
    if (name.empty()) continue;  // a user-mode card: the host has no end of it that counts
    usage.cards.push_back({name, numbers.Or0(of + "rx.bytes"), numbers.Or0(of + "tx.bytes")});
  }
  return usage;
}

// The last `most` bytes of a file that goes on growing.
absl::StatusOr<std::string> EndOfFile(const std::string& path, size_t most) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat facts {};
  if (!file.ok() || fstat(file.get(), &facts) != 0) {
    const int error = errno;
    if (error == ENOENT) return absl::NotFoundError("the machine was not started yet");
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(error)));
  }
  if (!S_ISREG(facts.st_mode)) return absl::NotFoundError(path + " is no regular file");
  std::string bytes(std::min<size_t>(most, static_cast<size_t>(facts.st_size)), '\0');
  const ssize_t n = pread(file.get(), bytes.data(), bytes.size(),
                          facts.st_size - static_cast<off_t>(bytes.size()));
  if (n < 0) return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  bytes.resize(static_cast<size_t>(n));
  return bytes;
}

}  // namespace

absl::StatusOr<int> LibvirtHypervisor::OpenConsole(const MachineIdentity& machine, bool force) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<FoundDomain> found = Find(*connection, machine);
  if (!found.ok()) return connection_.Judge(found.status());
  if (!found->running) return absl::UnavailableError("the machine is off");
  StreamHandle stream(virStreamNew(connection->get(), VIR_STREAM_NONBLOCK));
  const unsigned flags = force ? VIR_DOMAIN_CONSOLE_FORCE : 0;
  if (stream && virDomainOpenConsole(found->domain.get(), nullptr, stream.get(), flags) == 0)
    return SocketOfStream(std::move(stream));
  const absl::Status error = LibvirtError("opening the serial console");
  if (absl::StrContains(error.message(), "Active console session")) {
    return absl::AlreadyExistsError("somebody is at the serial console already");
  }
  if (absl::StrContains(error.message(), "cannot find console device")) {
    return absl::NotFoundError("the machine's definition has no serial console");
  }
  return error;
}

absl::StatusOr<std::string> LibvirtHypervisor::ConsoleLog(const MachineIdentity& machine,
                                                          size_t most) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  absl::StatusOr<FoundDomain> found = Find(*connection, machine);
  if (!found.ok()) return connection_.Judge(found.status());
  const std::optional<DomainFacts>& facts = found->running ? found->live : found->persistent;
  if (!facts.has_value()) return absl::NotFoundError("the machine is not defined");
  if (facts->console_log.empty() || connection_.facts().remote) {
    return absl::NotFoundError(
        "what the console says is not kept: the machine was made by an earlier rum, or its libvirt "
        "is another host's or root's");
  }
  return EndOfFile(facts->console_log, most);
}

// Ours alone: a log that somebody had libvirt write elsewhere stays. Older ones are libvirt's own,
// see virtlogd.conf.
void LibvirtHypervisor::RemoveConsoleLog(const FoundDomain& found, const MachineIdentity& machine) {
  const std::string path = ConsoleLogPath(machine, connection_.facts().kind);
  const std::string named = found.persistent.has_value() ? found.persistent->console_log : "";
  if (connection_.facts().remote || path.empty() || named != path) return;
  for (const char* suffix : {"", ".0", ".1", ".2"}) unlink((path + suffix).c_str());
}

absl::StatusOr<std::map<std::string, Usage>> LibvirtHypervisor::Usages(
    const std::vector<MachineIdentity>& machines) {
  absl::StatusOr<ConnectionHandle> connection = connection_.Get();
  if (!connection.ok()) return connection.status();
  std::map<std::string, std::string> ids;  // by UUID
  for (const MachineIdentity& machine : machines) ids[DomainUuid(machine)] = machine.id;
  constexpr unsigned kWhat = VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL |
                             VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_VCPU |
                             VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK;
  unsigned flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE;
  if (!IsTest()) flags |= VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
  virDomainStatsRecordPtr* records = nullptr;
  const int count =
      virConnectGetAllDomainStats(connection->get(), IsTest() ? 0 : kWhat, &records, flags);
  if (count < 0) return connection_.Judge(LibvirtError("asking what the machines use"));
  const StatsList list(records);
  std::map<std::string, Usage> usages;
  for (int i = 0; i < count; ++i) {
    char uuid[VIR_UUID_STRING_BUFLEN];
    if (virDomainGetUUIDString(records[i]->dom, uuid) != 0) continue;
    const auto id = ids.find(uuid);
    if (id != ids.end()) usages[id->second] = UsageOf(Numbers(*records[i]));
  }
  return usages;
}

}  // namespace rum
