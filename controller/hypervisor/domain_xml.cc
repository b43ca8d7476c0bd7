#include "controller/hypervisor/domain_xml.h"

#include <pwd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/own_devices.h"

namespace rum {

std::string ThisUser() {
  const uid_t uid = geteuid();
  passwd entry{};
  passwd* found = nullptr;
  char buffer[16384];
  const bool named =
      getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr;
  return named ? absl::StrCat(uid, " ", entry.pw_name) : absl::StrCat(uid);
}

std::string DomainUuid(const MachineIdentity& identity) {
  std::string hex = Sha256Hex("uuid:" + identity.domain_name()).substr(0, 32);
  hex[12] = '8';  // RFC 9562: a UUID of one's own making
  hex[16] = 'a';
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

std::string CardMac(const MachineIdentity& identity, const std::string& card) {
  return MacOf(identity.domain_name(), card);
}

std::vector<std::string> CardsOf(const Config& config) {
  std::vector<std::string> cards;
  if (config.network().nat()) cards.push_back("nat");
  for (const Interface& interface : config.network().interfaces()) {
    cards.push_back("network:" + interface.network());
  }
  return cards;
}

std::string ChannelPath(const MachineIdentity& identity, ConnectionKind connection) {
  if (connection != ConnectionKind::kSession) return "";
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder = config != nullptr && *config != '\0' ? config
                             : home != nullptr                    ? absl::StrCat(home, "/.config")
                                                                  : "";
  // libvirt numbers its domains and takes 20 bytes of their names.
  const std::string libvirts =
      absl::StrCat(folder, "/libvirt/qemu/channel/target/domain-99999-",
                   identity.domain_name().substr(0, 20), "/", kForwardChannel);
  if (libvirts.size() < sizeof(sockaddr_un::sun_path)) return "";
  return absl::StrCat(RuntimeDir(), "/", identity.id);
}

// Under the system's libvirt the log is root's, and lies where nothing keeps its daemon from
// writing.
std::string ConsoleLogPath(const MachineIdentity& identity, ConnectionKind connection) {
  switch (connection) {
    case ConnectionKind::kSession:
      return absl::StrCat(StateDir(), "/consoles/", identity.id, ".log");
    case ConnectionKind::kSystem:
      return geteuid() != 0
                 ? ""
                 : absl::StrCat("/var/log/libvirt/qemu/", identity.domain_name(), "-console.log");
    case ConnectionKind::kTest:
      break;
  }
  return "";
}

}  // namespace rum
