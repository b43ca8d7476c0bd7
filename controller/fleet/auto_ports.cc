#include "controller/fleet/auto_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "state/identity.h"

namespace rum {
namespace {

constexpr uint32_t kFirst = 20000;
constexpr uint32_t kCount = 12000;  // Linux's ephemeral ports begin at 32768

uint32_t Beginning(const std::string& machine_id, const Port& port) {
  const std::string hex = Sha256Hex(absl::StrCat("port:", machine_id, ":", port.guest()));
  return static_cast<uint32_t>(std::stoul(hex.substr(0, 7), nullptr, 16)) % kCount;
}

}  // namespace

void FillAutoPorts(const std::string& machine_id, const MachineRecord& record,
                   const std::function<bool(const std::string&, uint16_t)>& is_free,
                   Config* config) {
  std::vector<AutoPort> known(record.auto_ports().begin(), record.auto_ports().end());
  std::set<uint32_t> taken;
  for (const Port& port : config->ports()) taken.insert(port.host());
  for (Port& port : *config->mutable_ports()) {
    if (!port.auto_()) continue;
    for (auto choice = known.begin(); choice != known.end(); ++choice) {
      if (choice->bind() != port.bind() || choice->guest() != port.guest()) continue;
      // Somebody wrote this port down for another forward meanwhile: choose again.
      if (taken.insert(choice->host()).second) port.set_host(choice->host());
      known.erase(choice);
      break;
    }
  }
  for (Port& port : *config->mutable_ports()) {
    if (!port.auto_() || port.host() != 0) continue;
    const uint32_t begin = Beginning(machine_id, port);
    for (uint32_t i = 0; i < kCount && port.host() == 0; ++i) {
      const uint32_t host = kFirst + (begin + i) % kCount;
      if (taken.count(host) == 0 && is_free(port.bind(), static_cast<uint16_t>(host))) {
        port.set_host(host);
        taken.insert(host);
      }
    }
  }
}

void RememberAutoPorts(const Config& config, MachineRecord* record) {
  record->clear_auto_ports();
  for (const Port& port : config.ports()) {
    if (!port.auto_() || port.host() == 0) continue;
    AutoPort* choice = record->add_auto_ports();
    choice->set_bind(port.bind());
    choice->set_guest(port.guest());
    choice->set_host(port.host());
  }
}

bool CanBind(const std::string& address, uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  const bool is_v4 = inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1;
  if (!is_v4 && inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) != 1) return false;
  const int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // as the listeners do
  const bool bound = is_v4 ? bind(fd, reinterpret_cast<const sockaddr*>(&v4), sizeof v4) == 0
                           : bind(fd, reinterpret_cast<const sockaddr*>(&v6), sizeof v6) == 0;
  // SO_REUSEADDR lets two bind; only one may listen.
  const bool free = bound && listen(fd, 1) == 0;
  if (fd >= 0) close(fd);
  return free;
}

}  // namespace rum
