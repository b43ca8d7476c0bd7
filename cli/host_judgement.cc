#include "cli/host_judgement.h"

#include <sys/un.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent-api/protocol.h"
#include "cli/host_cures.h"
#include "cli/ssh_words.h"
#include "controller/service/launch.h"

namespace rum {
namespace {

constexpr char kEmulated[] = "guests run under emulation, some ten times slower; all else works";

// For now and for after a restart.
std::string SetKernelNumber(const std::string& name, uint64_t value) {
  return absl::StrCat("echo ", name, "=", value, " | sudo tee -a /etc/sysctl.d/60-rum.conf && ",
                      "sudo sysctl -q -p /etc/sysctl.d/60-rum.conf");
}

// One that is short, and the user's.
std::string UseRuntimeFolder(const RuntimeFacts& runtime, const Who& who) {
  return absl::StrCat("export RUM_RUNTIME_DIR=",
                      ShortShellWord(runtime.usual.empty() ? absl::StrCat("/tmp/rum-", who.id)
                                                           : runtime.usual + "/rum"));
}

Finding JudgeAbsentKvm(const KvmFacts& kvm) {
  if (kvm.cpu_virtualizes) {
    return Ails("kvm", Finding::WARNING, "there is no /dev/kvm, though the CPU could", kEmulated,
                {"sudo modprobe kvm_intel || sudo modprobe kvm_amd"});
  }
  return Ails("kvm", Finding::WARNING,
              "there is no /dev/kvm, and the CPU shows neither vmx nor svm", kEmulated,
              {"# switch virtualization (VT-x, AMD-V) on in the firmware; where this host is a VM "
               "itself, nested virtualization is for who runs it"});
}

}  // namespace

Finding JudgeKvm(const KvmFacts& kvm, const Who& who) {
  using State = KvmFacts::State;
  switch (kvm.state) {
    case State::kAbsent:
      return JudgeAbsentKvm(kvm);
    case State::kForbidden:
      if (kvm.group.empty() || kvm.group == "root") {
        return Ails("kvm", Finding::WARNING, "/dev/kvm is root's alone", kEmulated,
                    {"sudo chgrp kvm /dev/kvm", "sudo chmod 660 /dev/kvm", JoinGroup("kvm", who),
                     "# log in again"});
      }
      return Ails(
          "kvm", Finding::WARNING,
          absl::StrCat("/dev/kvm is for the group ", kvm.group, ", which ", who.name, " is not in"),
          kEmulated, {JoinGroup(kvm.group, who), "# log in again"});
    case State::kNoMachine:
    case State::kNoRun: {
      const std::string seen =
          kvm.state == State::kNoMachine
              ? "/dev/kvm opens, but makes no virtual machine"
              : "a trap: /dev/kvm opens and makes machines, but their CPU does not run";
      if (!kvm.cpu_virtualizes) {
        return Ails("kvm", Finding::WARNING,
                    seen + "; rum leaves it alone, as the CPU shows neither vmx nor svm", kEmulated,
                    {"# this host is a VM itself: nested virtualization is for who runs it"});
      }
      return Ails("kvm", Finding::BROKEN, seen,
                  "rum takes KVM for usable, and guests hang or do not start",
                  {"# in rum.toml: [advanced] domain_type = \"qemu\""});
    }
    case State::kRuns:
      break;
  }
  if (kvm.cpu_virtualizes) return Fine("kvm", "a machine of a few bytes ran in it");
  return Ails("kvm", Finding::NOTE,
              "a machine of a few bytes ran in it, but the CPU shows neither vmx nor svm",
              "rum takes it for a trap and emulates; `advanced.domain_type` decides otherwise",
              {"# in rum.toml: [advanced] domain_type = \"kvm\""});
}

Finding JudgeQemu(const ProgramFacts& qemu, const Who& who) {
  if (!qemu.path.empty()) return Fine("qemu", absl::StrCat(qemu.path, " ", qemu.version));
  return Ails("qemu", Finding::BROKEN, "no QEMU for this machine's kind of CPU is installed",
              "no machine starts", {InstallLibvirt(who)});
}

Finding JudgeVirtiofsd(const ProgramFacts& virtiofsd, bool system_wanted, const Who& who) {
  if (!virtiofsd.path.empty())
    return Fine("virtiofsd", absl::StrCat(virtiofsd.path, " ", virtiofsd.version));
  if (!system_wanted)
    return Fine("virtiofsd", "not installed, and not needed: qemu:///session shares by 9p");
  const bool debian = std::find(who.distribution.begin(), who.distribution.end(), "debian") !=
                      who.distribution.end();
  return Ails("virtiofsd", Finding::WARNING, "virtiofsd is not installed",
              "machines with [[mounts]] do not start under qemu:///system",
              {debian ? "sudo apt-get install -y qemu-system-common"
                      : "# install virtiofsd from your distribution"});
}

Finding JudgeRuntime(const RuntimeFacts& runtime, const Who& who) {
  if (!runtime.foreign.empty()) {
    return Ails("runtime folder", Finding::BROKEN, runtime.foreign,
                "no command reaches a controller",
                {runtime.usual.empty()
                     ? "unset XDG_RUNTIME_DIR RUM_RUNTIME_DIR"
                     : absl::StrCat("export XDG_RUNTIME_DIR=", ShortShellWord(runtime.usual))});
  }
  if (runtime.socket.size() >= sizeof(sockaddr_un::sun_path)) {
    const std::string shorter =
        runtime.usual.empty() ? absl::StrCat("/tmp/rum-", who.id) : runtime.usual + "/rum";
    return Ails("runtime folder", Finding::BROKEN,
                absl::StrCat("the path of the controller's socket has ", runtime.socket.size(),
                             " bytes, and 107 are possible: ", runtime.socket),
                "no controller starts", {UseRuntimeFolder(runtime, who)});
  }
  if (runtime.folder.problem != FolderFacts::Problem::kNone) {
    return Ails("runtime folder", Finding::BROKEN,
                absl::StrCat(runtime.folder.path, " cannot be made: ", who.name,
                             " may not write in ", runtime.folder.nearest),
                "no controller starts", {UseRuntimeFolder(runtime, who)});
  }
  if (runtime.named) return Fine("runtime folder", runtime.socket);
  if (!runtime.usual.empty()) {
    return Ails("runtime folder", Finding::WARNING,
                absl::StrCat("XDG_RUNTIME_DIR is not set here, and ", runtime.usual, " is there"),
                "shells that have it meet another controller, and another qemu:///session",
                {absl::StrCat("export XDG_RUNTIME_DIR=", ShortShellWord(runtime.usual))});
  }
  return Fine("runtime folder", absl::StrCat(runtime.socket, ", as this host has none"));
}

Finding JudgeFolder(const FolderFacts& folder, const Who& who) {
  using Problem = FolderFacts::Problem;
  const std::string check = absl::StrCat(folder.what, " folder");
  const std::string breaks = "rum cannot write there, and no machine is made";
  switch (folder.problem) {
    case Problem::kNone:
      return Fine(check, folder.path);
    case Problem::kReadOnly:
      return Ails(check, Finding::BROKEN,
                  absl::StrCat(folder.nearest, " is on a filesystem that is mounted read-only"),
                  breaks,
                  {absl::StrCat("sudo mount -o remount,rw ", ShortShellWord(folder.mount_point))});
    case Problem::kForbidden:
      return Ails(check, Finding::BROKEN,
                  absl::StrCat(who.name, " may not write in ", folder.nearest), breaks,
                  {absl::StrCat("sudo install -d -m 700 -o ", ShortShellWord(who.name), " ",
                                ShortShellWord(folder.path))});
    case Problem::kNoFolder:
      break;
  }
  return Ails(check, Finding::BROKEN, absl::StrCat(folder.nearest, " is not a folder"), breaks,
              {absl::StrCat("mv ", ShortShellWord(folder.nearest), " ",
                            ShortShellWord(folder.nearest + ".moved"))});
}

Finding JudgeProgram(const ControllerFacts& controller, const Who& who) {
  if (controller.program.empty()) {
    return Ails("rum-controller", Finding::BROKEN,
                absl::StrCat("it is not there: looked for at ", controller.looked_for),
                "no command about a machine works",
                {"# install rum's package again, or put rum-controller beside rum"});
  }
  if (controller.broken.empty()) return Fine("rum-controller", controller.program);
  const bool library = absl::StrContains(controller.broken, "shared librar");
  return Ails("rum-controller", Finding::BROKEN,
              absl::StrCat(controller.program, " does not start: ", controller.broken),
              "no command about a machine works",
              {library ? InstallLibvirt(who) : "# install rum's package again"});
}

Finding JudgeAgent(const ControllerFacts& controller) {
  constexpr char kCure[] = "unset RUM_AGENT  # and install rum's package again, if that is not it";
  if (controller.agent.empty()) {
    return Ails("rum-agent", Finding::BROKEN, "the agent that guests get was not found",
                "no controller starts", {kCure});
  }
  if (controller.agent_version == kAgentVersion)
    return Fine("rum-agent", absl::StrCat(controller.agent, " ", controller.agent_version));
  if (controller.agent_version.empty()) {
    return Ails("rum-agent", Finding::BROKEN,
                absl::StrCat(controller.agent, " does not run here, or is no rum-agent"),
                "machines start, and nothing in them answers", {kCure});
  }
  return Ails("rum-agent", Finding::WARNING,
              absl::StrCat(controller.agent, " is of version ", controller.agent_version,
                           ", and this rum of ", kAgentVersion),
              "guests get an agent that does not know what this rum asks for", {kCure});
}

Finding JudgeController(const ControllerFacts& controller) {
  if (controller.state == ControllerFacts::State::kSilent) {
    return Ails("controller", Finding::BROKEN, controller.why, "no command about a machine works",
                {"rum controller stop"});
  }
  if (controller.state == ControllerFacts::State::kNotRunning)
    return Fine("controller", "none runs; the first command that needs one starts it");
  if (controller.version != kVersion || controller.outdated) {
    return Ails(
        "controller", Finding::NOTE,
        controller.outdated
            ? std::string("its program was replaced since it was started")
            : absl::StrCat("it is of version ", controller.version, ", and this rum of ", kVersion),
        "the next command that needs it puts another in its place", {"rum controller restart"});
  }
  return Fine("controller", absl::StrCat("runs, version ", controller.version));
}

Finding JudgeInotify(const InotifyFacts& inotify) {
  constexpr uint64_t kNeeded = 4;  // a controller's own, and some for shells and editors
  constexpr uint64_t kNeededWatches = 512;
  const auto nearly = [](uint64_t used, uint64_t most) { return used + most / 10 >= most; };
  if (inotify.most_instances == 0) return Fine("inotify", "its limits cannot be read");
  const std::string seen =
      absl::StrCat(inotify.instances, " of ", inotify.most_instances, " instances and ",
                   inotify.watches, " of ", inotify.most_watches, " watches are in use");
  const std::string breaks =
      "a changed rum.toml, and what is changed in a shared folder, is seen late";
  if (inotify.instances + kNeeded > inotify.most_instances ||
      nearly(inotify.instances, inotify.most_instances)) {
    return Ails("inotify", Finding::WARNING, seen, breaks,
                {SetKernelNumber("fs.inotify.max_user_instances",
                                 std::max<uint64_t>(512, 2 * inotify.most_instances))});
  }
  if (inotify.watches + kNeededWatches > inotify.most_watches ||
      nearly(inotify.watches, inotify.most_watches)) {
    return Ails("inotify", Finding::WARNING, seen, breaks,
                {SetKernelNumber("fs.inotify.max_user_watches",
                                 std::max<uint64_t>(524288, 2 * inotify.most_watches))});
  }
  return Fine("inotify", seen);
}

Finding JudgeService(const ServiceFacts& service, const Who& who) {
  constexpr char kBreaks[] =
      "after a restart of this host nobody looks after machines until a command of yours does";
  if (!who.systemd)
    return Fine("user service", "no systemd: a controller lives as long as it has to");
  if (!service.unit || !service.enabled) {
    return Ails("user service", Finding::NOTE,
                service.unit ? "rum.service is there, but not enabled"
                             : "the controller is no service of systemd's",
                kBreaks, {"rum controller enable"});
  }
  if (!service.lingers && who.id != 0) {
    return Ails("user service", Finding::NOTE,
                "rum.service is enabled, and starts when you log in, not before", kBreaks,
                {absl::StrCat("loginctl enable-linger ", ShortShellWord(who.name))});
  }
  return Fine("user service", "rum.service is enabled");
}

Finding JudgeClock(const ClockFacts& clock, const Who& who) {
  constexpr int64_t kDay = 24 * 3600;
  const std::string set = who.systemd ? "sudo timedatectl set-ntp true"
                                      : "# set the clock: sudo date -s 'YYYY-MM-DD HH:MM'";
  if (clock.now_s + kDay < clock.program_s) {
    return Ails(
        "clock", Finding::WARNING, "it shows a time before this rum was written to the disk",
        "downloads fail, as certificates are not valid yet; guests take the time over", {set});
  }
  if (clock.synchronized) return Fine("clock", "synchronized");
  return Ails("clock", Finding::NOTE, "nothing keeps it synchronized",
              "guests take this host's time over, right or wrong", {set});
}

Finding JudgeCgroup(const CgroupFacts& cgroup, bool system_wanted) {
  if (system_wanted && (cgroup.kind == CgroupFacts::Kind::kNone || !cgroup.writable_for_root)) {
    return Ails("cgroups", Finding::WARNING,
                cgroup.kind == CgroupFacts::Kind::kNone ? "no cgroups are mounted at /sys/fs/cgroup"
                                                        : "/sys/fs/cgroup is read-only",
                "libvirt's system daemon may not start machines: it puts each into a group",
                {"sudo mount -o remount,rw /sys/fs/cgroup || "
                 "sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup"});
  }
  if (cgroup.delegated.has_value()) {
    for (const char* needed : {"cpu", "memory", "pids"}) {
      if (absl::StrContains(absl::StrCat(" ", *cgroup.delegated, " "),
                            absl::StrCat(" ", needed, " "))) {
        continue;
      }
      return Ails(
          "cgroups", Finding::NOTE,
          absl::StrCat("the controller ", needed, " is not delegated to you"),
          "libvirt cannot limit what your machines of qemu:///session take",
          {"printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo install -D -m "
           "644 /dev/stdin /etc/systemd/system/user@.service.d/delegate.conf",
           "sudo systemctl daemon-reload", "# log in again"});
    }
  }
  return Fine("cgroups", cgroup.kind == CgroupFacts::Kind::kUnified ? "version 2"
                         : cgroup.kind == CgroupFacts::Kind::kFirst ? "version 1"
                                                                    : "none, and none needed");
}

Finding JudgeSecurity(const SecurityFacts& security) {
  const std::string names = security.apparmor && security.selinux ? "AppArmor and SELinux"
                            : security.apparmor                   ? "AppArmor"
                            : security.selinux                    ? "SELinux"
                                                                  : "";
  if (names.empty()) return Fine("confinement", "neither AppArmor nor SELinux is in force");
  if (!security.log_readable) {
    return Fine("confinement",
                names + " is in force; the kernel's log, with its denials, is not yours to read");
  }
  if (security.denials == 0)
    return Fine("confinement", names + " is in force and has denied guests nothing");
  const bool selinux = absl::StrContains(security.last_denial, "avc:");
  return Ails("confinement", Finding::WARNING,
              absl::StrCat(names, " denied guests of libvirt something ", security.denials,
                           " times, lastly: ", security.last_denial),
              "a machine with such a file does not start, or reads errors",
              {selinux ? "sudo ausearch -m avc -ts recent | audit2why"
                       : "# let QEMU have the file, in /etc/apparmor.d/local/abstractions/"
                         "libvirt-qemu (`/the/path rwk,`), then: sudo systemctl reload apparmor"});
}

doctor::Report JudgeHost(const HostFacts& facts) {
  doctor::Report report;
  report.set_version(1);
  report.set_worst(Finding::FINE);
  const Who& who = facts.who;
  const bool system_wanted =
      std::any_of(facts.libvirts.begin(), facts.libvirts.end(), [](const LibvirtFacts& libvirt) {
        return libvirt.wanted && libvirt.uri == "qemu:///system";
      });
  AddFinding(JudgeProgram(facts.controller, who), &report);
  if (facts.controller.broken.empty()) AddFinding(JudgeAgent(facts.controller), &report);
  AddFinding(JudgeQemu(facts.qemu, who), &report);
  for (const LibvirtFacts& libvirt : facts.libvirts) {
    AddFinding(JudgeLibvirt(libvirt, who), &report);
    for (const Finding& finding : JudgeDefaultNetwork(libvirt)) AddFinding(finding, &report);
  }
  AddFinding(JudgeKvm(facts.kvm, who), &report);
  AddFinding(JudgeVirtiofsd(facts.virtiofsd, system_wanted, who), &report);
  AddFinding(JudgeRuntime(facts.runtime, who), &report);
  const FolderFacts* cache = nullptr;
  for (const FolderFacts& folder : facts.folders) {
    AddFinding(JudgeFolder(folder, who), &report);
    if (folder.what == "cache") cache = &folder;
  }
  for (const LibvirtFacts& libvirt : facts.libvirts) {
    if (!libvirt.wanted || cache == nullptr) continue;
    for (const Finding& finding : JudgeDiskSpace(libvirt, *cache)) AddFinding(finding, &report);
  }
  AddFinding(JudgeController(facts.controller), &report);
  AddFinding(JudgeService(facts.service, who), &report);
  AddFinding(JudgeInotify(facts.inotify), &report);
  AddFinding(JudgeClock(facts.clock, who), &report);
  AddFinding(JudgeCgroup(facts.cgroup, system_wanted), &report);
  AddFinding(JudgeSecurity(facts.security), &report);
  return report;
}

void AddFinding(const Finding& finding, doctor::Report* report) {
  *report->add_findings() = finding;
  report->set_worst(std::max(report->worst(), finding.level()));
}

int ExitCode(const doctor::Report& report) {
  if (report.worst() == Finding::BROKEN) return 1;
  return report.worst() == Finding::WARNING ? 4 : 0;
}

}  // namespace rum
