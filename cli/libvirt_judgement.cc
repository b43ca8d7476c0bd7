#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/host_cures.h"
#include "cli/host_judgement.h"
#include "controller/base/bytes_text.h"

namespace rum {
namespace {

constexpr char kSystemUri[] = "qemu:///system";
constexpr uint64_t kGib = uint64_t{1} << 30;

std::string StartDaemon(const LibvirtFacts& libvirt, const Who& who) {
  if (libvirt.modular) {
    return who.systemd ? "sudo systemctl enable --now virtqemud.socket virtnetworkd.socket "
                         "virtstoraged.socket"
                       : "sudo virtqemud -d && sudo virtnetworkd -d && sudo virtstoraged -d";
  }
  return who.systemd ? "sudo systemctl enable --now libvirtd"
                     : "sudo virtlogd -d; sudo libvirtd -d";
}

// Of one that machines are not made in the worst is to be known.
Finding::Level LevelOf(const LibvirtFacts& libvirt) {
  return libvirt.wanted ? Finding::BROKEN : Finding::NOTE;
}

std::string BreaksOf(const LibvirtFacts& libvirt) {
  return libvirt.wanted ? "no machine can be made or asked for"
                        : absl::StrCat("only machines whose file names ", libvirt.uri, " need it");
}

Finding JudgeSystemSocket(const LibvirtFacts& libvirt, const Who& who) {
  const std::string check = "libvirt " + libvirt.uri;
  const SocketFacts& socket = libvirt.socket;
  switch (socket.access) {
    case Access::kForbidden: {
      const std::string group =
          socket.group.empty() || socket.group == "root" ? "libvirt" : socket.group;
      return Ails(check, LevelOf(libvirt),
                  absl::StrCat("it runs, but its socket ", socket.path, " is for the group ", group,
                               ", which ", who.name, " is not in"),
                  BreaksOf(libvirt), {JoinGroup(group, who), "# log in again"});
    }
    case Access::kAbsent:
    case Access::kNobodyListens:
      return Ails(
          check, LevelOf(libvirt),
          absl::StrCat("its daemon does not run: ", socket.access == Access::kAbsent
                                                        ? "there is no socket " + socket.path
                                                        : "nobody listens at " + socket.path),
          BreaksOf(libvirt), {StartDaemon(libvirt, who)});
    case Access::kOpen:
      break;
  }
  return Fine(check, "its socket " + socket.path + " answers");
}

Finding JudgeAnswer(const LibvirtFacts& libvirt, const Who& who) {
  const std::string check = "libvirt " + libvirt.uri;
  const control::LibvirtLook& look = *libvirt.look;
  if (look.error().empty()) {
    return Fine(check,
                absl::StrCat(libvirt.wanted ? "your default; " : "", "libvirt ",
                             look.libvirt_version(), look.qemu_version().empty() ? "" : ", QEMU ",
                             look.qemu_version(), ", machines of type ", look.domain_type()));
  }
  if (!libvirt.socket.path.empty() && libvirt.socket.access != Access::kOpen)
    return JudgeSystemSocket(libvirt, who);
  const bool denied = absl::StrContains(look.error(), "polkit") ||
                      absl::StrContains(look.error(), "authenti") ||
                      absl::StrContains(look.error(), "ccess denied");
  if (denied && libvirt.uri == kSystemUri) {
    return Ails(check, LevelOf(libvirt),
                absl::StrCat("it does not let ", who.name, " in: ", look.error()),
                BreaksOf(libvirt), {JoinGroup("libvirt", who), "# log in again"});
  }
  return Ails(
      check, LevelOf(libvirt), look.error(), BreaksOf(libvirt),
      {libvirt.uri == kSystemUri ? StartDaemon(libvirt, who)
                                 : "# what it says itself: virsh -c " + libvirt.uri + " version"});
}

}  // namespace

Finding JudgeLibvirt(const LibvirtFacts& libvirt, const Who& who) {
  const std::string check = "libvirt " + libvirt.uri;
  const bool local = libvirt.uri == kSystemUri || libvirt.uri == "qemu:///session";
  if (local && !libvirt.installed) {
    return Ails(check, LevelOf(libvirt), "libvirt's daemon is not installed", BreaksOf(libvirt),
                {InstallLibvirt(who)});
  }
  if (libvirt.hangs) {
    return Ails(check, LevelOf(libvirt), "it takes connections and does not answer",
                libvirt.wanted ? "commands wait for it" : BreaksOf(libvirt),
                {libvirt.uri != kSystemUri ? "# end your libvirtd, a new one starts by itself"
                 : who.systemd             ? "sudo systemctl restart libvirtd"
                                           : "# restart libvirtd"});
  }
  if (libvirt.look.has_value()) return JudgeAnswer(libvirt, who);
  if (!libvirt.socket.path.empty()) return JudgeSystemSocket(libvirt, who);
  return Ails(check, Finding::NOTE, "it could not be asked without rum-controller", "", {});
}

std::vector<Finding> JudgeDefaultNetwork(const LibvirtFacts& libvirt) {
  const std::string check = "default network";
  if (!libvirt.look.has_value()) return {};
  switch (libvirt.look->default_network()) {
    case control::LibvirtLook::ON:
      return {Fine(check, "is up")};
    case control::LibvirtLook::OFF:
      return {Fine(check, "is off; rum starts it with the first machine that needs it")};
    case control::LibvirtLook::ABSENT:
      return {Ails(check, LevelOf(libvirt), "libvirt has no network \"default\"",
                   "under qemu:///system no machine starts, unless its file says `network.nat = "
                   "false`",
                   {"sudo virsh -c qemu:///system net-define "
                    "/usr/share/libvirt/networks/default.xml"})};
    default:
      return {};
  }
}

std::vector<Finding> JudgeDiskSpace(const LibvirtFacts& libvirt, const FolderFacts& cache) {
  std::vector<Finding> findings;
  const auto judge = [&](const std::string& check, const std::string& folder, uint64_t free_bytes,
                         const std::string& cure) {
    const std::string seen =
        absl::StrCat(BytesText(static_cast<double>(free_bytes)), " are free for ", folder);
    if (free_bytes >= 10 * kGib) {
      findings.push_back(Fine(check, seen));
      return;
    }
    findings.push_back(Ails(check, free_bytes < kGib ? Finding::BROKEN : Finding::WARNING, seen,
                            free_bytes < kGib ? "a machine's disk does not fit"
                                              : "disks grow as guests write, and guests stand "
                                                "still when there is no more",
                            {cure}));
  };
  if (libvirt.free_bytes.has_value()) {
    judge("room for disks", libvirt.look.has_value() ? libvirt.look->disk_folder() : libvirt.uri,
          *libvirt.free_bytes, "rum list  # and `rum destroy` what is not needed");
  }
  if (cache.free_bytes.has_value())
    judge("room for images", cache.path, *cache.free_bytes, "rum image prune");
  return findings;
}

}  // namespace rum
