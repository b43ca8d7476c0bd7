#include "cli/host_cures.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/ssh_words.h"

namespace rum {
namespace {

bool IsLike(const Who& who, const char* distribution) {
  return std::find(who.distribution.begin(), who.distribution.end(), distribution) !=
         who.distribution.end();
}

}  // namespace

doctor::Finding Fine(const std::string& check, const std::string& seen) {
  doctor::Finding finding;
  finding.set_check(check);
  finding.set_level(doctor::Finding::FINE);
  finding.set_seen(seen);
  return finding;
}

doctor::Finding Ails(const std::string& check, doctor::Finding::Level level,
                     const std::string& seen, const std::string& breaks,
                     std::initializer_list<std::string> cures) {
  doctor::Finding finding = Fine(check, seen);
  finding.set_level(level);
  finding.set_breaks(breaks);
  for (const std::string& cure : cures) finding.add_cures(cure);
  return finding;
}

std::string InstallLibvirt(const Who& who) {
  if (IsLike(who, "debian") || IsLike(who, "ubuntu"))
    return "sudo apt-get install -y libvirt-daemon-system qemu-system-x86 qemu-utils";
  if (IsLike(who, "fedora") || IsLike(who, "rhel"))
    return "sudo dnf install -y libvirt-daemon-kvm qemu-img virtiofsd";
  if (IsLike(who, "arch")) return "sudo pacman -S --needed libvirt qemu-base dnsmasq virtiofsd";
  if (IsLike(who, "suse") || IsLike(who, "opensuse"))
    return "sudo zypper install -y libvirt-daemon-qemu qemu-x86 qemu-tools";
  if (IsLike(who, "alpine")) return "sudo apk add libvirt-daemon libvirt-qemu qemu-system-x86_64";
  return "# install libvirt's daemon with its QEMU driver, and QEMU, from your distribution";
}

std::string JoinGroup(const std::string& group, const Who& who) {
  return absl::StrCat("sudo usermod -aG ", ShortShellWord(group), " ", ShortShellWord(who.name));
}

}  // namespace rum
