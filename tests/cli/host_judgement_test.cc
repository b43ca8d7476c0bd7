#include "cli/host_judgement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent-api/protocol.h"
#include "cli/doctor_text.h"
#include "controller/service/launch.h"

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Who Ada() { return {"ada", 1000, {"debian"}, true}; }

std::vector<std::string> Cures(const Finding& finding) {
  return {finding.cures().begin(), finding.cures().end()};
}

// A host where nothing is wrong.
HostFacts GoodHost() {
  HostFacts facts;
  facts.who = Ada();
  facts.kvm = {KvmFacts::State::kRuns, true, "kvm"};
  facts.qemu = {"/usr/bin/qemu-system-x86_64", "7.2.11"};
  facts.virtiofsd = {"/usr/libexec/virtiofsd", "1.10.0"};
  LibvirtFacts session;
  session.uri = "qemu:///session";
  session.wanted = session.installed = true;
  session.look.emplace();
  session.look->set_libvirt_version("9.0.0");
  session.look->set_qemu_version("7.2.11");
  session.look->set_domain_type("kvm");
  session.free_bytes = uint64_t{50} << 30;
  facts.libvirts = {session};
  facts.runtime = {{}, true, "/run/user/1000", "/run/user/1000/rum/controller.sock", ""};
  FolderFacts cache;
  cache.what = "cache";
  cache.path = "/home/ada/.cache/rum";
  cache.free_bytes = uint64_t{50} << 30;
  facts.folders = {cache};
  facts.controller.program = "/usr/lib/rum/rum-controller";
  facts.controller.agent = "/usr/lib/rum/rum-agent";
  facts.controller.agent_version = kAgentVersion;
  facts.inotify = {100000, 10, 128, 5};
  facts.service = {true, true, true};
  facts.clock = {2000000000, 1900000000, true};
  facts.cgroup = {CgroupFacts::Kind::kUnified, true, "cpu memory pids"};
  return facts;
}

LibvirtFacts System(Access access, const std::string& group = "libvirt") {
  LibvirtFacts libvirt;
  libvirt.uri = "qemu:///system";
  libvirt.wanted = libvirt.installed = true;
  libvirt.socket = {"/run/libvirt/libvirt-sock", access, group};
  return libvirt;
}

TEST(JudgeHost, WhereNothingIsWrongNothingIsSaid) {
  const doctor::Report report = JudgeHost(GoodHost());
  EXPECT_EQ(ExitCode(report), 0);
  EXPECT_EQ(report.version(), 1);
  EXPECT_EQ(RenderReport(report, true, {}), "Nothing stands in the way\n");
  for (const Finding& finding : report.findings()) {
    EXPECT_EQ(finding.level(), Finding::FINE) << finding.DebugString();
    EXPECT_NE(finding.seen(), "") << finding.check();
    EXPECT_THAT(finding.cures(), IsEmpty()) << finding.check();
  }
}

TEST(JudgeHost, TheWorstFindingDecides) {
  HostFacts facts = GoodHost();
  facts.service.enabled = false;
  EXPECT_EQ(ExitCode(JudgeHost(facts)), 0);  // good to know
  facts.kvm.state = KvmFacts::State::kForbidden;
  EXPECT_EQ(ExitCode(JudgeHost(facts)), 4);
  facts.qemu = {};
  EXPECT_EQ(ExitCode(JudgeHost(facts)), 1);
  EXPECT_THAT(RenderReport(JudgeHost(facts), true, {}),
              HasSubstr("1 thing is broken, 1 thing could be better\n"));
}

TEST(JudgeKvm, AbsentForbiddenATrapOrUsable) {
  KvmFacts kvm{KvmFacts::State::kAbsent, true, ""};
  EXPECT_THAT(Cures(JudgeKvm(kvm, Ada())),
              ElementsAre("sudo modprobe kvm_intel || sudo modprobe kvm_amd"));
  kvm.cpu_virtualizes = false;
  EXPECT_THAT(JudgeKvm(kvm, Ada()).seen(), HasSubstr("neither vmx nor svm"));
  EXPECT_EQ(JudgeKvm(kvm, Ada()).level(), Finding::WARNING);
  kvm = {KvmFacts::State::kForbidden, true, "kvm"};
  EXPECT_EQ(JudgeKvm(kvm, Ada()).seen(), "/dev/kvm is for the group kvm, which ada is not in");
  EXPECT_THAT(Cures(JudgeKvm(kvm, Ada())),
              ElementsAre("sudo usermod -aG kvm ada", "# log in again"));
  kvm.group = "root";
  EXPECT_EQ(Cures(JudgeKvm(kvm, Ada()))[0], "sudo chgrp kvm /dev/kvm");
  for (const auto state : {KvmFacts::State::kNoMachine, KvmFacts::State::kNoRun}) {
    // rum goes by the CPU's flags: with them it would walk into the trap.
    EXPECT_EQ(JudgeKvm({state, false, "kvm"}, Ada()).level(), Finding::WARNING);
    const Finding trap = JudgeKvm({state, true, "kvm"}, Ada());
    EXPECT_EQ(trap.level(), Finding::BROKEN);
    EXPECT_THAT(Cures(trap), ElementsAre("# in rum.toml: [advanced] domain_type = \"qemu\""));
  }
  EXPECT_EQ(JudgeKvm({KvmFacts::State::kRuns, true, "kvm"}, Ada()).level(), Finding::FINE);
  EXPECT_EQ(JudgeKvm({KvmFacts::State::kRuns, false, "kvm"}, Ada()).level(), Finding::NOTE);
}

TEST(JudgeQemu, IsInstalledByTheDistributionsOwnCommand) {
  Who who = Ada();
  EXPECT_THAT(Cures(JudgeQemu({}, who))[0], HasSubstr("apt-get install -y libvirt-daemon-system"));
  who.distribution = {"centos", "rhel", "fedora"};
  EXPECT_THAT(Cures(JudgeQemu({}, who))[0], HasSubstr("dnf install"));
  who.distribution = {"nobody-knows"};
  EXPECT_THAT(Cures(JudgeQemu({}, who))[0], testing::StartsWith("# "));
}

TEST(JudgeVirtiofsd, IsMissedOnlyWhereFoldersAreSharedByIt) {
  EXPECT_EQ(JudgeVirtiofsd({}, false, Ada()).level(), Finding::FINE);
  EXPECT_EQ(JudgeVirtiofsd({}, true, Ada()).level(), Finding::WARNING);
}

TEST(JudgeLibvirt, SaysWhyItIsNotReached) {
  LibvirtFacts libvirt = System(Access::kOpen);
  EXPECT_EQ(JudgeLibvirt(libvirt, Ada()).level(), Finding::FINE);
  libvirt = System(Access::kForbidden);
  EXPECT_EQ(JudgeLibvirt(libvirt, Ada()).seen(),
            "it runs, but its socket /run/libvirt/libvirt-sock is for the group libvirt, which ada "
            "is not in");
  EXPECT_THAT(Cures(JudgeLibvirt(libvirt, Ada())),
              ElementsAre("sudo usermod -aG libvirt ada", "# log in again"));
  libvirt = System(Access::kAbsent);
  EXPECT_THAT(Cures(JudgeLibvirt(libvirt, Ada())),
              ElementsAre("sudo systemctl enable --now libvirtd"));
  Who no_systemd = Ada();
  no_systemd.systemd = false;
  EXPECT_THAT(Cures(JudgeLibvirt(libvirt, no_systemd)),
              ElementsAre("sudo virtlogd -d; sudo libvirtd -d"));
  libvirt.modular = true;
  EXPECT_THAT(Cures(JudgeLibvirt(libvirt, Ada()))[0], HasSubstr("virtqemud.socket"));
  libvirt = System(Access::kNobodyListens);
  EXPECT_THAT(JudgeLibvirt(libvirt, Ada()).seen(), HasSubstr("nobody listens at /run/libvirt"));
  libvirt.installed = false;
  EXPECT_THAT(Cures(JudgeLibvirt(libvirt, Ada()))[0], HasSubstr("apt-get install"));
  libvirt = System(Access::kOpen);
  libvirt.hangs = true;
  EXPECT_THAT(Cures(JudgeLibvirt(libvirt, Ada())), ElementsAre("sudo systemctl restart libvirtd"));
  EXPECT_EQ(JudgeLibvirt(libvirt, Ada()).level(), Finding::BROKEN);
}

TEST(JudgeLibvirt, TheSocketExplainsWhatLibvirtSaysAndElseItsOwnWordsDo) {
  LibvirtFacts libvirt = System(Access::kForbidden);
  libvirt.look.emplace();
  libvirt.look->set_error("cannot reach libvirt at qemu:///system: Permission denied");
  EXPECT_THAT(JudgeLibvirt(libvirt, Ada()).seen(), HasSubstr("group libvirt"));
  libvirt.socket.access = Access::kOpen;
  libvirt.look->set_error("authentication unavailable: no polkit agent available");
  EXPECT_EQ(Cures(JudgeLibvirt(libvirt, Ada()))[0], "sudo usermod -aG libvirt ada");
  libvirt.look->set_error("something else");
  EXPECT_EQ(JudgeLibvirt(libvirt, Ada()).seen(), "something else");
  libvirt.look->clear_error();
  libvirt.look->set_libvirt_version("9.0.0");
  libvirt.look->set_domain_type("qemu");
  EXPECT_EQ(JudgeLibvirt(libvirt, Ada()).seen(),
            "your default; libvirt 9.0.0, machines of type qemu");
}

TEST(JudgeLibvirt, OneThatNobodyMakesMachinesInIsOnlyNoted) {
  for (const Access access : {Access::kAbsent, Access::kNobodyListens, Access::kForbidden}) {
    LibvirtFacts libvirt = System(access);
    libvirt.wanted = false;
    EXPECT_EQ(JudgeLibvirt(libvirt, Ada()).level(), Finding::NOTE);
  }
}

TEST(JudgeDefaultNetwork, OnlyWhereItCanBeAskedForAndBrokenOnlyIfAbsent) {
  LibvirtFacts libvirt = System(Access::kOpen);
  EXPECT_THAT(JudgeDefaultNetwork(libvirt), IsEmpty());
  libvirt.look.emplace();
  EXPECT_THAT(JudgeDefaultNetwork(libvirt), IsEmpty());
  libvirt.look->set_default_network(control::LibvirtLook::OFF);
  EXPECT_EQ(JudgeDefaultNetwork(libvirt)[0].level(), Finding::FINE);
  libvirt.look->set_default_network(control::LibvirtLook::ABSENT);
  EXPECT_EQ(JudgeDefaultNetwork(libvirt)[0].level(), Finding::BROKEN);
  EXPECT_THAT(Cures(JudgeDefaultNetwork(libvirt)[0])[0], HasSubstr("net-define"));
}

TEST(JudgeDiskSpace, LittleIsWarnedOfAndNoneIsBroken) {
  LibvirtFacts libvirt = System(Access::kOpen);
  FolderFacts cache;
  cache.free_bytes = uint64_t{3} << 30;
  libvirt.free_bytes = uint64_t{1} << 20;
  const std::vector<Finding> findings = JudgeDiskSpace(libvirt, cache);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].level(), Finding::BROKEN);
  EXPECT_EQ(findings[1].level(), Finding::WARNING);
  EXPECT_THAT(Cures(findings[1]), ElementsAre("rum image prune"));
}

TEST(JudgeRuntime, ForeignTooLongOrNotNamed) {
  RuntimeFacts runtime = {{}, true, "/run/user/1000", "/s", "/x belongs to root"};
  EXPECT_THAT(Cures(JudgeRuntime(runtime, Ada())),
              ElementsAre("export XDG_RUNTIME_DIR=/run/user/1000"));
  runtime = {{}, true, "", std::string(108, 'x'), ""};
  EXPECT_THAT(JudgeRuntime(runtime, Ada()).seen(),
              HasSubstr("has 108 bytes, and 107 are possible"));
  EXPECT_THAT(Cures(JudgeRuntime(runtime, Ada())),
              ElementsAre("export RUM_RUNTIME_DIR=/tmp/rum-1000"));
  runtime.socket.resize(107);
  EXPECT_EQ(JudgeRuntime(runtime, Ada()).level(), Finding::FINE);
  runtime.folder.path = "/run/user/1000/rum";
  runtime.folder.nearest = "/run/user";
  runtime.folder.problem = FolderFacts::Problem::kForbidden;
  EXPECT_EQ(JudgeRuntime(runtime, Ada()).seen(),
            "/run/user/1000/rum cannot be made: ada may not write in /run/user");
  EXPECT_THAT(Cures(JudgeRuntime(runtime, Ada())),
              ElementsAre("export RUM_RUNTIME_DIR=/tmp/rum-1000"));
  runtime = {{}, false, "/run/user/1000", "/s", ""};
  EXPECT_EQ(JudgeRuntime(runtime, Ada()).level(), Finding::WARNING);
  runtime.usual = "";
  EXPECT_EQ(JudgeRuntime(runtime, Ada()).level(), Finding::FINE);
}

TEST(JudgeFolder, ReadOnlyForbiddenOrNoFolder) {
  FolderFacts folder;
  folder.what = "state";
  folder.path = "/home/ada/it's/rum";
  folder.nearest = "/home/ada";
  folder.problem = FolderFacts::Problem::kReadOnly;
  folder.mount_point = "/home";
  EXPECT_THAT(Cures(JudgeFolder(folder, Ada())), ElementsAre("sudo mount -o remount,rw /home"));
  folder.problem = FolderFacts::Problem::kForbidden;
  EXPECT_THAT(Cures(JudgeFolder(folder, Ada())),
              ElementsAre("sudo install -d -m 700 -o ada '/home/ada/it'\\''s/rum'"));
  folder.problem = FolderFacts::Problem::kNoFolder;
  EXPECT_THAT(Cures(JudgeFolder(folder, Ada())), ElementsAre("mv /home/ada /home/ada.moved"));
  EXPECT_EQ(JudgeFolder(folder, Ada()).level(), Finding::BROKEN);
}

TEST(JudgeProgram, MissingOrWithoutItsLibraries) {
  ControllerFacts controller;
  controller.looked_for = "/usr/bin/rum-controller";
  EXPECT_THAT(JudgeProgram(controller, Ada()).seen(), HasSubstr("/usr/bin/rum-controller"));
  controller.program = "/usr/bin/rum-controller";
  controller.broken = "error while loading shared libraries: libvirt.so.0";
  EXPECT_THAT(Cures(JudgeProgram(controller, Ada()))[0], HasSubstr("apt-get install"));
  EXPECT_EQ(JudgeProgram(controller, Ada()).level(), Finding::BROKEN);
}

TEST(JudgeAgent, MissingBrokenOfAnotherVersionOrRight) {
  ControllerFacts controller;
  EXPECT_EQ(JudgeAgent(controller).level(), Finding::BROKEN);
  controller.agent = "/a";
  EXPECT_THAT(JudgeAgent(controller).seen(), HasSubstr("does not run here"));
  controller.agent_version = "0.0.1";
  EXPECT_EQ(JudgeAgent(controller).level(), Finding::WARNING);
  controller.agent_version = kAgentVersion;
  EXPECT_EQ(JudgeAgent(controller).level(), Finding::FINE);
}

TEST(JudgeController, NoneAnotherVersionOutdatedOrSilent) {
  ControllerFacts controller;
  EXPECT_EQ(JudgeController(controller).level(), Finding::FINE);
  controller.state = ControllerFacts::State::kRuns;
  controller.version = kVersion;
  EXPECT_EQ(JudgeController(controller).level(), Finding::FINE);
  controller.outdated = true;
  EXPECT_THAT(Cures(JudgeController(controller)), ElementsAre("rum controller restart"));
  controller.outdated = false;
  controller.version = "0.0.1";
  EXPECT_THAT(JudgeController(controller).seen(), HasSubstr("of version 0.0.1"));
  controller.state = ControllerFacts::State::kSilent;
  EXPECT_EQ(JudgeController(controller).level(), Finding::BROKEN);
}

TEST(JudgeInotify, WhatIsNearlyUsedUp) {
  EXPECT_EQ(JudgeInotify({}).level(), Finding::FINE);
  EXPECT_EQ(JudgeInotify({8192, 100, 128, 20}).level(), Finding::FINE);
  EXPECT_THAT(Cures(JudgeInotify({8192, 100, 128, 126}))[0],
              HasSubstr("fs.inotify.max_user_instances=512"));
  EXPECT_THAT(Cures(JudgeInotify({8192, 8000, 128, 20}))[0],
              HasSubstr("fs.inotify.max_user_watches=524288"));
  EXPECT_THAT(Cures(JudgeInotify({1000000, 999999, 128, 20}))[0],
              HasSubstr("fs.inotify.max_user_watches=2000000"));
}

TEST(JudgeService, UnitEnabledAndLingeringAreThreeThings) {
  Who who = Ada();
  EXPECT_THAT(Cures(JudgeService({false, false, false}, who)),
              ElementsAre("rum controller enable"));
  EXPECT_THAT(Cures(JudgeService({true, true, false}, who)),
              ElementsAre("loginctl enable-linger ada"));
  EXPECT_EQ(JudgeService({true, true, true}, who).level(), Finding::FINE);
  who.systemd = false;
  EXPECT_EQ(JudgeService({false, false, false}, who).level(), Finding::FINE);
}

TEST(JudgeClock, BehindTheProgramOrLeftAlone) {
  EXPECT_EQ(JudgeClock({1000, 1000000000, true}, Ada()).level(), Finding::WARNING);
  EXPECT_EQ(JudgeClock({1000, 1000, false}, Ada()).level(), Finding::NOTE);
  EXPECT_EQ(JudgeClock({1000, 2000, true}, Ada()).level(), Finding::FINE);
}

TEST(JudgeCgroup, OnlyTheSystemsLibvirtNeedsThem) {
  EXPECT_EQ(JudgeCgroup({}, false).level(), Finding::FINE);
  EXPECT_EQ(JudgeCgroup({}, true).level(), Finding::WARNING);
  EXPECT_EQ(JudgeCgroup({CgroupFacts::Kind::kUnified, false, {}}, true).level(), Finding::WARNING);
  EXPECT_EQ(JudgeCgroup({CgroupFacts::Kind::kUnified, true, "memory pids"}, false).level(),
            Finding::NOTE);
  EXPECT_EQ(JudgeCgroup({CgroupFacts::Kind::kUnified, true, "cpu io memory pids"}, false).level(),
            Finding::FINE);
}

TEST(JudgeSecurity, DenialsOfGuestsAreShown) {
  EXPECT_EQ(JudgeSecurity({}).level(), Finding::FINE);
  SecurityFacts security{true, false, false, 0, ""};
  EXPECT_THAT(JudgeSecurity(security).seen(), HasSubstr("not yours to read"));
  security.log_readable = true;
  EXPECT_EQ(JudgeSecurity(security).level(), Finding::FINE);
  security.denials = 2;
  security.last_denial = "audit: apparmor=\"DENIED\" profile=\"libvirt-1\" name=\"/x\"";
  EXPECT_EQ(JudgeSecurity(security).level(), Finding::WARNING);
  EXPECT_THAT(JudgeSecurity(security).seen(), HasSubstr("name=\"/x\""));
  security.last_denial = "audit: avc:  denied { read } scontext=svirt_t";
  EXPECT_THAT(Cures(JudgeSecurity(security))[0], HasSubstr("ausearch"));
}

TEST(RenderReport, AFindingIsALineAndBelowItWhatBreaksAndWhatToType) {
  doctor::Report report;
  Finding finding;
  finding.set_check("kvm");
  finding.set_level(Finding::WARNING);
  finding.set_seen("not\033[2J there");
  finding.set_breaks("slow");
  finding.add_cures("sudo x");
  finding.add_cures("# log in again");
  AddFinding(finding, &report);
  finding = Finding();
  finding.set_check("qemu");
  finding.set_level(Finding::FINE);
  finding.set_seen("there");
  AddFinding(finding, &report);
  EXPECT_EQ(RenderReport(report, false, {}),
            "  ⚠ kvm   not\\x1b[2J there\n"
            "      slow\n"
            "      $ sudo x\n"
            "      # log in again\n"
            "  ✓ qemu  there\n"
            "Nothing is broken; 1 thing could be better\n");
  Style plain;
  plain.utf8 = false;
  EXPECT_THAT(RenderReport(report, true, plain), testing::StartsWith("  ! kvm  not"));
}

TEST(AddMachineFindings, WhatDoesNotHoldAndWhatToDo) {
  MachineStatus status;
  status.set_name("dev");
  status.set_phase(MachineStatus::CRASHED);
  status.set_phase_reason("QEMU ended by itself");
  status.set_phase_remedy("`rum up` starts it");
  Item* item = status.add_items();
  item->set_field("ports[127.0.0.1:80]");
  item->set_state(Item::FAILING);
  item->set_text("taken");
  item = status.add_items();
  item->set_field("network.hostname");
  item->set_state(Item::HOLDS);
  item = status.add_items();
  item->set_field("mounts[/x]");
  item->set_state(Item::NEEDS_CONSENT);
  doctor::Report report;
  AddMachineFindings(status, false, &report);
  ASSERT_EQ(report.findings_size(), 3);
  EXPECT_EQ(report.findings(0).seen(), "crashed: QEMU ended by itself");
  EXPECT_THAT(Cures(report.findings(0)), ElementsAre("# `rum up` starts it"));
  EXPECT_EQ(report.findings(1).level(), Finding::BROKEN);
  EXPECT_THAT(Cures(report.findings(2)), ElementsAre("rum -m dev trust"));
  EXPECT_EQ(ExitCode(report), 1);
}

TEST(AddMachineFindings, AFileThatIsWrongIsBrokenAndOneThatIsGoneIsNot) {
  MachineStatus status;
  status.set_phase(MachineStatus::RUNNING);
  status.set_config_path("/p/rum.toml");
  status.set_config_error("rum.toml:1:1: error: x\n    1 | y\n");
  doctor::Report report;
  AddMachineFindings(status, false, &report);
  EXPECT_EQ(report.findings(1).seen(), "rum.toml:1:1: error: x");
  EXPECT_THAT(Cures(report.findings(1)), ElementsAre("rum check /p/rum.toml"));
  EXPECT_EQ(report.worst(), Finding::BROKEN);
  report.Clear();
  status.add_notes("its file is gone: /p/rum.toml");
  AddMachineFindings(status, true, &report);
  EXPECT_EQ(report.worst(), Finding::NOTE);
}

}  // namespace
}  // namespace rum
