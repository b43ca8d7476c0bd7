// The main job on a real VM: what `rum reload` does to a running machine, seen from outside.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/e2e/places.h"
#include "tests/e2e/world.h"
#include "tests/testdata/bad_files.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;
using testing::Test;

// Starts one where none runs.
constexpr char kEchoServer[] =
    "[ -e /run/echo-listens ] || setsid python3 -c '\n"
    "import socketserver\n"
    "class H(socketserver.BaseRequestHandler):\n"
    "  def handle(self):\n"
    "    while True:\n"
    "      d = self.request.recv(65536)\n"
    "      if not d: break\n"
    "      self.request.sendall(d)\n"
    "class S(socketserver.ThreadingTCPServer):\n"
    "  allow_reuse_address = True\n"
    "  daemon_threads = True\n"
    "s = S((\"127.0.0.1\", 7000), H)\n"
    "open(\"/run/echo-listens\", \"w\").close()\n"
    "s.serve_forever()\n"
    "' >/dev/null 2>&1 </dev/null &\n"
    "while [ ! -e /run/echo-listens ]; do sleep 0.1; done";

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// One VM for all cases: they run in the order of this file and each leaves the machine in sync.
class Story : public Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"));
    FileSpec& file = world_->file;
    kept_ = FreePort(), dropped_ = FreePort(), added_ = FreePort();
    file.ports = {{kept_, 7000}, {dropped_, 7000}};
    file.system = "echo system-1 >> /var/log/story";
    file.boot = "echo boot-1 >> /var/log/story";
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  static int Count(const std::string& line) {
    return std::atoi(world_->Guest("grep -cx '" + line + "' /var/log/story || true").c_str());
  }
  static std::string Reload(std::vector<std::string> options = {}, int exit_status = 0) {
    options.insert(options.begin(), "reload");
    const Result result = world_->Rum(options);
    EXPECT_EQ(result.exit_status, exit_status) << result.out << result.err;
    return result.out + result.err;
  }
  static uint64_t XmlMemoryMb(bool inactive) {
    std::vector<std::string> argv = {"dumpxml", world_->DomainName()};
    if (inactive) argv.push_back("--inactive");
    const std::string xml = world_->Virsh(argv).out;
    const size_t at = xml.find("<memory unit='KiB'>");
    return at == std::string::npos ? 0 : std::strtoull(xml.c_str() + at + 19, nullptr, 10) / 1024;
  }

  static inline World* world_ = nullptr;
  static inline Result up_;
  static inline uint16_t kept_, dropped_, added_;
};

TEST_F(Story, UpMakesEverythingOfTheFileTrue) {
  EXPECT_EQ(world_->Guest("hostname"), "dev");
  EXPECT_EQ(world_->Guest("cat /etc/hostname"), "dev");
  const std::string groups = world_->Guest("id -nG rum");
  EXPECT_TRUE(Contains(groups, "docker") && Contains(groups, "builders")) << groups;
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system-1\nboot-1");
  world_->Guest(kEchoServer);
  EXPECT_EQ(EchoThrough(kept_, "hello"), "hello");
  EXPECT_EQ(EchoThrough(dropped_, "hello"), "hello");
}

TEST_F(Story, UpOnAnUnchangedMachineDoesNothingAndSaysSo) {
  const std::string before = world_->RecordBytes();
  const Result result = world_->Rum({"up", "-d"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_TRUE(Contains(result.out + result.err, "nothing to do")) << result.out << result.err;
  EXPECT_EQ(world_->RecordBytes(), before);
  EXPECT_EQ(world_->Guest("cat /var/log/story"), "system-1\nboot-1");
}

TEST_F(Story, ADryRunShowsThePlanAndTheReloadAppliesItWithoutAnInterruption) {
  world_->Guest("groupadd -f byhand && usermod -aG byhand rum");
  EchoingConnection connection(kept_);
  ASSERT_TRUE(connection.Flows(20000));

  FileSpec& file = world_->file;
  file.ports = {{kept_, 7000}, {added_, 7000}};
  file.hostname = "devbox";
  file.groups = R"("docker", "video")";
  file.boot = "echo boot-2 >> /var/log/story";
  file.system = "echo system-2 >> /var/log/story";
  file.memory_mb = 640;
  world_->Save();

  const std::string ledger = world_->Guest("cat /var/lib/rum/ledger");
  const std::string listeners = ListeningPorts();
  const std::string record = world_->RecordBytes();
  const std::string live = world_->Virsh({"dumpxml", world_->DomainName()}).out;
  const std::string inactive = world_->Virsh({"dumpxml", "--inactive", world_->DomainName()}).out;
  const std::string plan = Reload({"--dry-run"});
  EXPECT_TRUE(Contains(plan, std::to_string(added_) + "→7000")) << plan;
  EXPECT_TRUE(Contains(plan, std::to_string(dropped_) + "→7000")) << plan;
  EXPECT_TRUE(Contains(plan, "devbox") && Contains(plan, "video") && Contains(plan, "builders") &&
              Contains(plan, "boot provisioning script"))
      << plan;
  EXPECT_TRUE(Contains(plan, "resources.memory_mb changed (512 → 640)")) << plan;
  EXPECT_TRUE(Contains(plan, "provision.system.script changed")) << plan;
  EXPECT_EQ(world_->Guest("cat /var/lib/rum/ledger"), ledger);
  EXPECT_EQ(world_->Guest("hostname; cat /etc/hostname"), "dev\ndev");
  EXPECT_EQ(ListeningPorts(), listeners);
  EXPECT_EQ(world_->RecordBytes(), record);
  EXPECT_EQ(world_->Virsh({"dumpxml", world_->DomainName()}).out, live);
  EXPECT_EQ(world_->Virsh({"dumpxml", "--inactive", world_->DomainName()}).out, inactive);

  const std::string done = Reload();
  EXPECT_TRUE(Contains(done, "Updated port forwards (added " + std::to_string(added_) +
                                 "→7000, removed " + std::to_string(dropped_) + "→7000)"))
      << done;
  EXPECT_TRUE(Contains(done, "Re-ran boot provisioning script (")) << done;
  EXPECT_TRUE(Contains(done, "Set hostname dev → devbox")) << done;
  EXPECT_TRUE(Contains(done, "resources.memory_mb changed (512 → 640) — requires restart")) << done;
  EXPECT_TRUE(
      Contains(done, "provision.system.script changed — re-run it with `rum reload --force`"))
      << done;

  EXPECT_EQ(world_->Guest("hostname; cat /etc/hostname"), "devbox\ndevbox");
  EXPECT_EQ(world_->Guest("grep -c '^127.0.1.1.*devbox' /etc/hosts"), "1");
  const std::string groups = " " + world_->Guest("id -nG rum") + " ";
  EXPECT_TRUE(Contains(groups, " video ") && Contains(groups, " docker ")) << groups;
  EXPECT_FALSE(Contains(groups, " builders "))
      << "rum added it and the file dropped it: " << groups;
  EXPECT_TRUE(Contains(groups, " byhand ")) << "not rum's to remove: " << groups;
  EXPECT_EQ(Count("boot-2"), 1);
  EXPECT_EQ(Count("system-2"), 0);
  EXPECT_EQ(EchoThrough(added_, "hello"), "hello");
  EXPECT_EQ(EchoThrough(dropped_, "hello"), "");
  EXPECT_EQ(XmlMemoryMb(false), 512u);
  EXPECT_EQ(XmlMemoryMb(true), 640u);
  EXPECT_TRUE(connection.Flows(20000)) << "the untouched forward's connection must live through it";

  const std::string after = world_->RecordBytes();
  const std::string again = Reload();
  EXPECT_FALSE(Contains(again, "✓")) << "the second reload must perform no action:\n" << again;
  EXPECT_EQ(world_->RecordBytes(), after);
  EXPECT_EQ(Count("boot-2"), 1);
  EXPECT_TRUE(connection.Flows(20000));
}

TEST_F(Story, AChangeBackClearsTheRestartFlagWithoutARestart) {
  world_->file.memory_mb = 512;
  world_->file.cpus = 2;
  world_->Save();
  std::string text = Reload();
  EXPECT_FALSE(Contains(text, "memory_mb")) << text;
  EXPECT_TRUE(Contains(text, "resources.cpus changed (1 → 2) — requires restart")) << text;
  EXPECT_EQ(XmlMemoryMb(true), 512u);
  world_->file.cpus = 1;
  world_->Save();
  text = Reload();
  EXPECT_FALSE(Contains(text, "requires restart")) << text;
}

TEST_F(Story, AChangedSystemScriptRunsOnlyWithForceAndThenCountsAsApplied) {
  std::string text = Reload();
  EXPECT_TRUE(Contains(text, "provision.system.script changed")) << text;
  EXPECT_EQ(Count("system-2"), 0);
  text = Reload({"--force"});
  EXPECT_EQ(Count("system-2"), 1);
  text = Reload({"--force"});
  EXPECT_FALSE(Contains(text, "system")) << text;
  EXPECT_EQ(Count("system-2"), 1);
}

TEST_F(Story, AFailingScriptIsReportedAndStopsNothingElse) {
  world_->file.boot = "echo the last words; exit 3";
  world_->file.hostname = "stillset";
  world_->Save();
  std::string text = Reload({}, 1);
  EXPECT_TRUE(Contains(text, "boot provisioning script failed with exit status 3")) << text;
  EXPECT_TRUE(Contains(text, "the last words")) << text;
  EXPECT_EQ(world_->Guest("hostname"), "stillset");
  text = Reload({}, 1);
  EXPECT_TRUE(Contains(text, "failed with exit status 3")) << "not recorded as applied: " << text;
  world_->file.boot = "echo boot-3 >> /var/log/story";
  world_->Save();
  Reload();
  EXPECT_EQ(Count("boot-3"), 1);
}

TEST_F(Story, UpOnARunningMachineAppliesWhatIsLiveAndListsTheRest) {
  world_->file.hostname = "devbox";
  world_->file.memory_mb = 640;
  world_->Save();
  const Result result = world_->Rum({"up", "-d"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  const std::string text = result.out + result.err;
  EXPECT_TRUE(Contains(text, "Set hostname stillset → devbox")) << text;
  EXPECT_TRUE(Contains(text, "resources.memory_mb changed (512 → 640) — requires restart")) << text;
  EXPECT_TRUE(Contains(text, "rum down && rum up")) << text;
  EXPECT_EQ(world_->Status().phase(), MachineStatus::RUNNING);
  EXPECT_EQ(XmlMemoryMb(false), 512u);
}

TEST_F(Story, ABadFileTouchesNothingAndIsNamedWithItsPlace) {
  const std::string record = world_->RecordBytes();
  const std::string listeners = ListeningPorts();
  const std::string inactive = world_->Virsh({"dumpxml", "--inactive", world_->DomainName()}).out;
  const std::vector<BadFile> files = ReadBadFiles("bad_files.txt", world_->folder() + "/project");
  ASSERT_GE(files.size(), 60u);
  for (const BadFile& file : files) {
    world_->SaveText(file.toml);
    EXPECT_TRUE(Contains(Reload({}, 1), file.errors)) << file.name << "\n" << file.errors;
  }
  world_->SaveText("[image\n");
  EXPECT_TRUE(Contains(Reload({}, 1), "rum.toml:1:7: error: "));
  EXPECT_EQ(world_->RecordBytes(), record);
  EXPECT_EQ(ListeningPorts(), listeners);
  EXPECT_EQ(world_->Virsh({"dumpxml", "--inactive", world_->DomainName()}).out, inactive);
  EXPECT_TRUE(Contains(world_->Status().config_error(), "rum.toml:1:"));
  EXPECT_EQ(world_->Guest("hostname"), "devbox");
  world_->Save();
}

// A controller killed at any point of the plan: the next reload ends in the same state.
TEST_F(Story, AControllerKilledBetweenAnyTwoActionsLosesAndRepeatsNothing) {
  constexpr int kMostCuts = 40;
  int cut = 0;
  for (bool killed = true; killed && cut < kMostCuts; ++cut) {
    const std::string mark = std::to_string(cut);
    FileSpec& file = world_->file;
    file.hostname = "cut" + mark;
    file.groups = "\"docker\", \"cut" + mark + "\"";
    file.boot = "echo boot-cut-" + mark + " >> /var/log/story";
    file.system = "echo system-cut-" + mark + " >> /var/log/story";
    file.ports = {{kept_, 7000}, {FreePort(), 7000}};
    file.memory_mb = 512 + 64 * (cut % 2);
    world_->StopController();
    world_->Save();
    const Result first = world_->Rum({"reload", "--force"}, "", {{"RUM_FAILPOINT", mark}});
    killed = first.exit_status != 0;
    // One that was not cut off goes on counting failpoints.
    if (!killed) world_->StopController();
    EXPECT_EQ(Reload({"--force"}).find("✗"), std::string::npos);
    EXPECT_EQ(world_->Guest("hostname"), file.hostname);
    const std::string groups = " " + world_->Guest("id -nG rum") + " ";
    EXPECT_TRUE(Contains(groups, " cut" + mark + " ") && Contains(groups, " byhand ")) << groups;
    EXPECT_FALSE(Contains(groups, " cut" + std::to_string(cut - 1) + " ")) << groups;
    EXPECT_EQ(Count("boot-cut-" + mark), 1) << "cut point " << mark;
    EXPECT_EQ(Count("system-cut-" + mark), 1) << "cut point " << mark;
    EXPECT_EQ(EchoThrough(file.ports[1].host, "hello"), "hello");
    EXPECT_EQ(XmlMemoryMb(true), file.memory_mb);
    if (HasFailure()) break;
  }
  EXPECT_GE(cut, 8) << "the plan has at least seven actions to be cut between";
  EXPECT_LT(cut, kMostCuts);
}

TEST_F(Story, DownAndUpBringWhatNeededARestart) {
  world_->file.memory_mb = 640;
  world_->file.cpus = 2;
  world_->Save();
  Reload();
  world_->StopController();  // down needs none that runs
  const Result down = world_->Rum({"down"});
  EXPECT_EQ(down.exit_status, 0) << down.err;
  EXPECT_EQ(down.out, "  ✓ Stopped the machine\n");
  EXPECT_EQ(world_->Status().phase(), MachineStatus::STOPPED);
  const Result up = world_->Rum({"up", "-d"});
  ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
  EXPECT_FALSE(Contains(up.out + up.err, "requires restart")) << up.out << up.err;
  EXPECT_EQ(XmlMemoryMb(false), 640u);
  EXPECT_EQ(world_->Guest("nproc"), "2");
  EXPECT_EQ(world_->Guest("hostname"), world_->file.hostname);
  EXPECT_GE(std::atoi(world_->Guest("free -m | sed -n 's/^Mem: *\\([0-9]*\\).*/\\1/p'").c_str()),
            512);
  EXPECT_FALSE(Contains(Reload(), "✓"));
}

// No command at all: the controller watches the file. A change of reconcile.auto itself counts too.
TEST_F(Story, ASavedFileIsAppliedInTheBackground) {
  world_->file.auto_reconcile = true;
  world_->file.hostname = "watched";
  world_->file.ports = {{kept_, 7000}, {FreePort(), 7000}};
  world_->file.memory_mb = 768;
  world_->Save();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto applied = [] {
    const MachineStatus status = world_->Status();
    return status.applied_generation() == status.generation() && status.config_error().empty() &&
           world_->Guest("hostname") == "watched";
  };
  while (!applied() && std::chrono::steady_clock::now() < deadline) {
  }
  EXPECT_TRUE(applied());
  char port[8];
  std::snprintf(port, sizeof port, ":%04X\n", world_->file.ports[1].host);
  EXPECT_TRUE(Contains(ListeningPorts(), port)) << port << " in\n" << ListeningPorts();
  EXPECT_EQ(XmlMemoryMb(true), 768u);
  EXPECT_FALSE(Contains(Reload(), "✓")) << "nothing is left to do";
}

TEST_F(Story, ExecKeepsArgumentsStreamsAndStatus) {
  const Result result =
      world_->Rum({"exec", "--", "sh", "-c", "cat; echo \"$1\" >&2; exit 7", "sh", "a b  'c'"},
                  std::string("in\0put", 6));
  EXPECT_EQ(result.exit_status, 7);
  EXPECT_EQ(result.out, std::string("in\0put", 6));
  EXPECT_TRUE(Contains(result.err, "a b  'c'")) << result.err;
  EXPECT_EQ(world_->Rum({"exec", "--", "sh", "-c", "kill -TERM $$"}).exit_status, 128 + 15);
}

// A reboot ended the first one.
TEST_F(Story, AMachineIsFoundAndAdoptedWhereverItsFolderGoes) {
  world_->file.auto_reconcile = false;
  world_->file.memory_mb = XmlMemoryMb(false);  // nothing is to wait
  world_->Save();
  Reload();
  world_->Guest(kEchoServer);
  Places places(world_, kept_);
  {
    SCOPED_TRACE("moved");
    places.MovedWhileAConnectionIsOpen();
  }
  {
    SCOPED_TRACE("moved to another filesystem");
    places.MovedToAnotherFilesystem();
  }
  {
    SCOPED_TRACE("the file renamed");
    places.RenamedFile();
  }
  {
    SCOPED_TRACE("linked");
    places.FileThatIsALink();
    places.FolderReachedByALink();
    places.FolderThatLeftALink();
  }
  {
    SCOPED_TRACE("copied");
    places.CopiedFolder();
  }
  {
    SCOPED_TRACE("deleted");
    places.DeletedFolder();
  }
}

TEST_F(Story, WhatCannotBeUndefinedKeepsItsDisksAndSaysSo) {
  if (world_->file.uri != "qemu:///session") return;  // root may write anything
  const std::string disks = world_->Virsh({"vol-list", "rum"}).out;
  const fs::path definitions = world_->folder() + "/home/.config/libvirt/qemu";
  ASSERT_TRUE(fs::exists(definitions / (world_->DomainName() + ".xml")));
  fs::permissions(definitions, fs::perms::owner_read | fs::perms::owner_exec);
  const Result result = world_->Rum({"destroy"});
  fs::permissions(definitions, fs::perms::owner_all);
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_TRUE(Contains(result.err, "its disks and networks are kept")) << result.err;
  EXPECT_EQ(world_->Virsh({"vol-list", "rum"}).out, disks);
  EXPECT_NE(world_->DomainName(), "");
}

TEST_F(Story, DestroyRemovesTheDomainAndItsDisks) {
  const Result result = world_->Rum({"destroy"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(world_->DomainName(), "");
  EXPECT_EQ(world_->Status().phase(), MachineStatus::NOT_DEFINED);
  for (const PortSpec& port : world_->file.ports) EXPECT_EQ(EchoThrough(port.host, "x"), "");
}

}  // namespace
}  // namespace rum::e2e
