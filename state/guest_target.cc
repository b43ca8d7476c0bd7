#include "state/guest_target.h"

#include <climits>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "state/names.h"

namespace rum {
namespace {

constexpr char kSystem[] = "the guest does not live without what is there";
constexpr char kKernel[] = "it is the kernel's and systemd's, made anew at each boot";
constexpr char kBoot[] = "the guest starts from it";
constexpr char kAgent[] = "rum's agent is started from there";
constexpr char kKept[] = "rum keeps there what it has done in the guest";
constexpr char kCloudInit[] = "cloud-init keeps there what it has done in the guest";
constexpr char kPackages[] = "the guest's packages are known there";
constexpr char kLogin[] = "rum and sshd have the keys there by which you log in";
constexpr char kFile[] = "it is a file of the guest's";

// What must stay as the guest's image has it: a folder, and with `below` everything in it.
struct Kept {
  const char* path;
  bool below;
  const char* why;
};

const std::vector<Kept>& KeptPlaces() {
  static const std::vector<Kept> places = {{"/bin", true, kSystem},
                                           {"/sbin", true, kSystem},
                                           {"/lib", true, kSystem},
                                           {"/lib32", true, kSystem},
                                           {"/lib64", true, kSystem},
                                           {"/libx32", true, kSystem},
                                           {"/boot", true, kBoot},
                                           {"/efi", true, kBoot},
                                           {"/dev", true, kKernel},
                                           {"/proc", true, kKernel},
                                           {"/run", true, kKernel},
                                           {"/sys", true, kKernel},
                                           {"/var/run", true, kKernel},   // a link to /run
                                           {"/var/lock", true, kKernel},  // to /run/lock
                                           {"/etc", false, kSystem},
                                           {"/etc/cloud", true, kCloudInit},
                                           {"/etc/systemd", true, kAgent},
                                           {"/etc/ssh", true, kLogin},
                                           {"/etc/pam.d", true, kSystem},
                                           {"/etc/security", true, kSystem},
                                           {"/etc/sudoers.d", true, kSystem},
                                           {"/etc/udev", true, kSystem},
                                           {"/etc/passwd", true, kFile},
                                           {"/etc/shadow", true, kFile},
                                           {"/etc/group", true, kFile},
                                           {"/etc/gshadow", true, kFile},
                                           {"/etc/sudoers", true, kFile},
                                           {"/etc/hosts", true, kFile},
                                           {"/etc/hostname", true, kFile},
                                           {"/etc/fstab", true, kFile},
                                           {"/etc/machine-id", true, kFile},
                                           {"/etc/nsswitch.conf", true, kFile},
                                           {"/etc/resolv.conf", true, kFile},
                                           {"/root/.ssh", true, kLogin},
                                           {"/usr", false, kSystem},
                                           {"/usr/bin", true, kSystem},
                                           {"/usr/sbin", true, kSystem},
                                           {"/usr/lib", false, kSystem},
                                           {"/usr/lib32", true, kSystem},
                                           {"/usr/lib64", true, kSystem},
                                           {"/usr/libx32", true, kSystem},
                                           {"/usr/lib/modules", true, kSystem},
                                           {"/usr/lib/openssh", true, kSystem},
                                           {"/usr/lib/python3", true, kSystem},
                                           {"/usr/lib/sudo", true, kSystem},
                                           {"/usr/lib/systemd", true, kSystem},
                                           {"/usr/lib/udev", true, kSystem},
                                           {"/usr/libexec", false, kSystem},
                                           {"/usr/share", false, kSystem},
                                           {"/usr/local", false, kAgent},
                                           {"/usr/local/lib", false, kAgent},
                                           {"/usr/local/lib/rum", true, kAgent},
                                           {"/var", false, kKept},
                                           {"/var/lib", false, kKept},
                                           {"/var/lib/rum", true, kKept},
                                           {"/var/lib/cloud", true, kCloudInit},
                                           {"/var/lib/apk", true, kPackages},
                                           {"/var/lib/dpkg", true, kPackages},
                                           {"/var/lib/pacman", true, kPackages},
                                           {"/var/lib/rpm", true, kPackages},
                                           {"/var/lib/dbus", true, kSystem},
                                           {"/var/lib/systemd", true, kSystem}};
  return places;
}

// Folders of libraries have the machine in their names: /usr/lib/x86_64-linux-gnu.
bool IsLibraryFolder(const std::vector<std::string>& parts) {
  return parts.size() >= 3 && parts[0] == "usr" && parts[1] == "lib" &&
         (absl::EndsWith(parts[2], "-linux-gnu") || absl::EndsWith(parts[2], "-linux-gnueabihf"));
}

std::string WhyKept(const std::vector<std::string>& parts) {
  const std::string path = absl::StrCat("/", absl::StrJoin(parts, "/"));
  for (const Kept& kept : KeptPlaces()) {
    if (path == kept.path || (kept.below && absl::StartsWith(path, absl::StrCat(kept.path, "/")))) {
      return kept.why;
    }
  }
  if (IsLibraryFolder(parts)) return kSystem;
  if (parts.size() >= 3 && parts[0] == "home" && parts[2] == ".ssh") return kLogin;
  return "";
}

}  // namespace

std::string KeptTargetsPattern() {
  std::vector<std::string> below, alone;
  for (const Kept& kept : KeptPlaces()) {
    (kept.below ? below : alone).push_back(absl::StrReplaceAll(kept.path, {{".", "\\."}}));
  }
  return absl::StrCat("^(", absl::StrJoin(below, "|"),
                      R"(|/usr/lib/[^/]*-linux-gnu(eabihf)?|/home/[^/]+/\.ssh)(/.*)?$|^()",
                      absl::StrJoin(alone, "|"), ")/*$");
}

std::string TargetProblem(const std::string& target) {
  const std::string got = absl::StrCat(" (got ", Quoted(target), ")");
  if (target.empty() || target[0] != '/') return absl::StrCat("must be an absolute path", got);
  if (absl::c_any_of(target, [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    return absl::StrCat("must have no control characters, which fstab cannot hold", got);
  }
  std::vector<std::string> parts = absl::StrSplit(target, '/', absl::SkipEmpty());
  parts.erase(std::remove(parts.begin(), parts.end(), "."), parts.end());
  if (absl::c_linear_search(parts, "..")) {
    return absl::StrCat("must have no \"..\" in it: write where it leads", got);
  }
  if (target.size() >= PATH_MAX ||
      absl::c_any_of(parts, [](const std::string& part) { return part.size() > NAME_MAX; })) {
    return absl::StrCat("must have at most ", PATH_MAX - 1, " bytes, and ", NAME_MAX,
                        " in each of its names", got);
  }
  if (parts.empty()) return "must not be /, which is the guest's own disk";
  const std::string why = WhyKept(parts);
  return why.empty() ? "" : absl::StrCat("must not be ", Quoted(target), ": ", why);
}

}  // namespace rum
