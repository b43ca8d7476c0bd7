// Who moved what, as `rum status --watch` tells it, and how soon it is put right.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/world.h"
#include "tests/eventually.h"

namespace rum::e2e {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool Eventually(const std::function<bool()>& holds) {
  return rum::Eventually(holds, std::chrono::seconds(60));
}

bool Listens(uint16_t port) {
  const int fd = Connect(port);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

// A rum that goes on, with its standard output in a file.
class Background {
 public:
  Background(const World& world, const std::vector<std::string>& words, const std::string& name)
      : path_(world.folder() + "/" + name) {
    std::vector<std::string> argv = {"env"};
    for (const auto& [key, value] : world.env()) argv.push_back(key + "=" + value);
    for (const std::string& word : world.Argv(words)) argv.push_back(word);
    std::vector<char*> pointers;
    for (std::string& word : argv) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
    EXPECT_EQ(posix_spawnp(&pid_, "env", &actions, nullptr, pointers.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Background() { End(SIGKILL); }
  int End(int signal) {
    if (pid_ < 0) return 0;
    kill(pid_, signal);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string Output() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }

 private:
  const std::string path_;
  pid_t pid_ = -1;
};

// One VM for all cases: they run in the order of this file and each leaves the machine in sync.
class Drifting : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    port_ = FreePort();
    world_->file.ports = {{port_, 7000}};
    world_->file.auto_reconcile = true;
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
    if (up_.exit_status == 0) {
      watch_ = new Background(*world_, {"-o", "json", "status", "--watch"}, "watch");
    }
  }
  static void TearDownTestSuite() {
    delete watch_;
    watch_ = nullptr;
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }
  void TearDown() override {
    const Result synced = world_->Rum({"status", "--wait", "Synced", "--timeout", "60"});
    EXPECT_EQ(synced.exit_status, 0) << synced.out << synced.err;
  }

  // Of the reports that the watch told so far, from the first on.
  static bool Told(const std::function<bool(const Item&)>& wanted) {
    std::istringstream lines(watch_->Output());
    for (std::string line; std::getline(lines, line);) {
      MachineStatus status;
      if (!ReadJson(line, &status)) continue;
      if (std::any_of(status.items().begin(), status.items().end(), wanted)) return true;
    }
    return false;
  }
  static bool ToldOf(const std::string& field, Item::State state, Item::Author author) {
    return Told([&](const Item& item) {
      return item.field().rfind(field, 0) == 0 && item.state() == state &&
             item.moved_by() == author && item.first_seen_ms() > 0;
    });
  }
  // Moves something in the guest by `move`, waits there until `moved` fails again, and returns how
  // long that took from the end of `move` on, by the guest's own clock.
  static int HealedAfterMs(const std::string& move, const std::string& moved) {
    return std::atoi(world_
                         ->Guest(move + "; begin=$(date +%s%N); while " + moved +
                                 "; do sleep 0.01; done; end=$(date +%s%N); "
                                 "echo $(((end - begin) / 1000000))")
                         .c_str());
  }
  static int RoundTripMs() {
    const auto begin = steady_clock::now();
    world_->Guest("true");
    return static_cast<int>(
        std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin).count());
  }
  // By what the guest tells, that is, and not by a look every few minutes. How soon is a figure for
  // docs/benchmarks.md: the machine of a test has other things to do.
  static void ExpectPutRightByPush(const std::string& what, std::vector<int> ms) {
    std::sort(ms.begin(), ms.end());
    std::fprintf(stderr, "%s: put right after %d to %d ms, median %d; round trip %d ms\n",
                 what.c_str(), ms.front(), ms.back(), ms[ms.size() / 2], RoundTripMs());
    EXPECT_LT(ms.back(), 30'000) << what;
  }

  static inline World* world_ = nullptr;
  static inline Background* watch_ = nullptr;
  static inline Result up_;
  static inline uint16_t port_;
};

TEST_F(Drifting, ASavedFileIsInEffectWhenItsGenerationIsSaidToBeSynced) {
  const uint16_t extra = FreePort();
  const auto synced = [] {
    return world_->Rum({"-q", "status", "--wait", "Synced", "--timeout", "60"}).exit_status == 0;
  };
  for (int round = 0; round < 3; ++round) {
    world_->file.ports = {{port_, 7000}, {extra, 7000}};
    world_->Save();
    EXPECT_TRUE(synced());
    EXPECT_TRUE(Listens(extra));
    world_->file.ports = {{port_, 7001}};
    world_->Save();
    EXPECT_TRUE(synced());
    EXPECT_FALSE(Listens(extra));
    EXPECT_NE(world_->Rum({"status"}).out.find(" → 7001 ("), std::string::npos);
  }
  world_->SaveText("[image\n");
  const Result broken = world_->Rum({"status", "--wait", "Synced", "--timeout", "1"});
  EXPECT_EQ(broken.exit_status, 1);
  EXPECT_NE(broken.err.find("is not Synced after 1 s: ConfigInvalid"), std::string::npos)
      << broken.err;
  world_->Save();
}

TEST_F(Drifting, ATypedHostnameIsPutRightByPush) {
  std::vector<int> ms;
  for (int i = 0; i < 3; ++i) {
    ms.push_back(HealedAfterMs("hostname typed", "[ \"$(hostname)\" = typed ]"));
  }
  ExpectPutRightByPush("hostname", ms);
  EXPECT_TRUE(Eventually([] { return ToldOf("network.hostname", Item::DRIFTED, Item::GUEST); }));
}

TEST_F(Drifting, AGroupThatIsTakenAwayIsGivenBackByPush) {
  std::vector<int> ms;
  for (int i = 0; i < 3; ++i) {
    ms.push_back(HealedAfterMs("gpasswd -d rum docker >/dev/null",
                               "! grep -q '^docker:.*[:,]rum' /etc/group"));
  }
  ExpectPutRightByPush("group", ms);
  EXPECT_TRUE(Eventually([] { return ToldOf("user.groups[docker]", Item::DRIFTED, Item::GUEST); }));
}

TEST_F(Drifting, WhatRumDoesNotOwnIsLeftAlone) {
  const size_t told = watch_->Output().size();
  world_->Guest(
      "groupadd -f byhand; for i in 1 2 3 4 5; do usermod -aG byhand nobody; "
      "gpasswd -d nobody byhand >/dev/null; echo \"# $i\" >> /etc/hosts; done");
  // A change that is rum's comes after all that.
  HealedAfterMs("hostname typed", "[ \"$(hostname)\" = typed ]");
  ASSERT_TRUE(Eventually([&] { return watch_->Output().size() > told; }));
  EXPECT_EQ(world_->Guest("tail -1 /etc/hosts"), "# 5");
}

TEST_F(Drifting, VirshIsNamedAndItsDefinitionPutRight) {
  const std::string domain = world_->DomainName();
  std::string definition = world_->Virsh({"dumpxml", "--inactive", domain}).out;
  const std::string one_cpu = ">1</vcpu>";
  const size_t cpus = definition.find(one_cpu);
  ASSERT_NE(cpus, std::string::npos) << definition;
  const std::string path = world_->folder() + "/three-cpus.xml";
  std::ofstream(path) << definition.replace(cpus, one_cpu.size(), ">3</vcpu>");
  const Result defined = world_->Virsh({"define", path});
  ASSERT_EQ(defined.exit_status, 0) << defined.err;
  EXPECT_TRUE(Eventually([] { return ToldOf("resources.cpus", Item::DRIFTED, Item::LIBVIRT); }));
  EXPECT_TRUE(Eventually([&] {
    return world_->Virsh({"vcpucount", domain, "--maximum", "--config"}).out.rfind("1", 0) == 0;
  }));
  world_->Virsh({"setmem", domain, "440M", "--live"});
  EXPECT_TRUE(
      Eventually([] { return ToldOf("resources.memory_mb", Item::DRIFTED, Item::LIBVIRT); }));
  EXPECT_TRUE(Eventually([&] {
    const std::string live = world_->Virsh({"dumpxml", domain}).out;
    return live.find("<currentMemory unit='KiB'>524288<") != std::string::npos;
  }));
}

// What others added to a definition, in the words of `virsh dumpxml`.
constexpr const char* kAdded[] = {
    "<title>Ada&apos;s</title>",
    "<libosinfo:os id=\"http://debian.org/debian/12\"/>",
    "<vcpupin vcpu='0' cpuset='0'/>",
    "<on_crash>restart</on_crash>",
    "<graphics type='spice'>",
    "<model type='virtio' heads='1' primary='yes'/>",
    "<channel type='spicevmc'>",
    "<sound model='ich9'>",
    "<input type='tablet' bus='usb'>",
    "<watchdog model='i6300esb' action='reset'>",
    "<redirdev bus='usb' type='spicevmc'>",
    "/others.qcow2'",
    "<serial>rum-others</serial>",
};

void ExpectAllAdded(const std::string& xml) {
  for (const char* added : kAdded) {
    EXPECT_NE(xml.find(added), std::string::npos) << added << " in\n" << xml;
  }
}

TEST_F(Drifting, WhatVirtManagerAndVirshAddedStaysThroughEditsOfTheFile) {
  const std::string domain = world_->DomainName();
  const auto definition = [&] {
    return world_->Virsh({"dumpxml", "--inactive", "--security-info", domain}).out;
  };
  const std::string disk = world_->folder() + "/others.qcow2";
  ASSERT_EQ(e2e::Run({"qemu-img", "create", "-q", "-f", "qcow2", disk, "16M"}).exit_status, 0);
  std::string xml = definition();
  const auto replace = [&xml](const std::string& old, const std::string& other) {
    ASSERT_NE(xml.find(old), std::string::npos) << old << " in\n" << xml;
    xml.replace(xml.find(old), old.size(), other);
  };
  replace("<metadata>",
          "<title>Ada's</title><metadata><libosinfo:libosinfo "
          "xmlns:libosinfo=\"http://libosinfo.org/xmlns/libvirt/domain/1.0\">"
          "<libosinfo:os id=\"http://debian.org/debian/12\"/></libosinfo:libosinfo>");
  replace("<os>", "<cputune><vcpupin vcpu='0' cpuset='0'/></cputune><os>");
  replace("<on_crash>preserve", "<on_crash>restart");
  replace("</devices>",
          "<graphics type='spice'><listen type='none'/></graphics>"
          "<video><model type='virtio' heads='1' primary='yes'/></video>"
          "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"
          "<sound model='ich9'/><input type='tablet' bus='usb'/>"
          "<watchdog model='i6300esb' action='reset'/><redirdev bus='usb' type='spicevmc'/>"
          "</devices>");
  const std::string path = world_->folder() + "/others.xml";
  std::ofstream(path) << xml;
  const Result defined = world_->Virsh({"define", path});
  ASSERT_EQ(defined.exit_status, 0) << defined.err;
  const Result attached =
      world_->Virsh({"attach-disk", domain, disk, "vdb", "--driver", "qemu", "--subdriver", "qcow2",
                     "--serial", "rum-others", "--config"});
  ASSERT_EQ(attached.exit_status, 0) << attached.err;
  ExpectAllAdded(definition());

  const auto edited_to_hold = [&](const std::string& expected) {
    world_->Save();
    EXPECT_TRUE(Eventually([&] { return definition().find(expected) != std::string::npos; }))
        << expected << " in\n"
        << definition();
    ExpectAllAdded(definition());
  };
  world_->file.memory_mb = 640;
  edited_to_hold("<memory unit='KiB'>655360</memory>");
  world_->file.cpus = 2;
  edited_to_hold(">2</vcpu>");
  world_->file.more = "[drives.work]\nsize = \"64M\"\n";
  edited_to_hold("<serial>rum-work</serial>");
  EXPECT_NE(definition().find("<target dev='vdc'"), std::string::npos) << definition();
  // In the next case the machine is started anew, with all this.
  world_->file.memory_mb = 512;
  world_->file.cpus = 1;
  world_->file.more.clear();
  world_->Save();
  EXPECT_TRUE(Eventually([&] {
    const std::string now = definition();
    return now.find("<serial>rum-work") == std::string::npos &&
           now.find(">1</vcpu>") != std::string::npos;
  }));
  ExpectAllAdded(definition());
}

TEST_F(Drifting, AStolenPortIsTheHostsDoingAndComesBack) {
  world_->StopController();
  const int thief = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(thief, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_TRUE(Eventually([&] {  // the watch may have started a controller already
    world_->StopController();
    return bind(thief, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
           listen(thief, 1) == 0;
  }));
  // The watch goes on with the next controller.
  EXPECT_TRUE(Eventually([] { return ToldOf("ports[", Item::FAILING, Item::HOST); }));
  EXPECT_TRUE(
      Eventually([] { return Told([](const Item& item) { return item.next_try_ms() > 0; }); }));
  close(thief);
}

TEST_F(Drifting, ASuspendedMachineIsSaidToBePausedByEveryCommandAndUpGoesOnWithIt) {
  ASSERT_EQ(world_->Virsh({"suspend", world_->DomainName()}).exit_status, 0);
  const std::string paused =
      " is paused (by `virsh suspend` or the like): `rum up` goes on with it";
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"exec", "true"}, {"apply"}, {"cp", "-", ":/tmp/x"}}) {
    const Result result = world_->Rum(words);
    EXPECT_NE(result.exit_status, 0) << words[0];
    EXPECT_NE(result.err.find(paused), std::string::npos) << result.err;
  }
  EXPECT_EQ(world_->Status().phase(), MachineStatus::PAUSED);
  EXPECT_EQ(world_->Rum({"status", "--exit-code"}).exit_status, 6);
  const Result up = world_->Rum({"up", "-d"});
  EXPECT_EQ(up.exit_status, 0) << up.err;
  EXPECT_NE(up.out.find("Went on with the paused machine"), std::string::npos) << up.out;
}

TEST_F(Drifting, ASavedMachineIsSaidToBeSavedAndUpGoesOnWithItsMemory) {
  const std::string boot = world_->Guest("cat /proc/sys/kernel/random/boot_id");
  ASSERT_EQ(world_->Virsh({"managedsave", world_->DomainName()}).exit_status, 0);
  EXPECT_TRUE(Eventually([] { return world_->Status().phase() == MachineStatus::SAVED; }));
  const Result apply = world_->Rum({"apply"});
  EXPECT_EQ(apply.exit_status, 0) << apply.err;
  EXPECT_NE(apply.out.find(" is saved (with its memory"), std::string::npos) << apply.out;
  EXPECT_EQ(world_->Rum({"apply", "--exit-code"}).exit_status, 6);
  const Result up = world_->Rum({"up", "-d"});
  EXPECT_EQ(up.exit_status, 0) << up.err;
  EXPECT_EQ(world_->Guest("cat /proc/sys/kernel/random/boot_id"), boot);
}

// Both in one, the second on the way up from the first: one boot for the two.
TEST_F(Drifting, AMachineThatPanickedOrWhoseQemuIsKilledIsStartedAgain) {
  const auto told = [](const std::string& phase) {
    return watch_->Output().find("\"phase\":\"" + phase + "\"") != std::string::npos;
  };
  const std::string boot = world_->Guest("cat /proc/sys/kernel/random/boot_id");
  EXPECT_EQ(world_->Guest("grep -o ^pvpanic_mmio /proc/modules"), "pvpanic_mmio")
      << "the guest's udev finds the device by itself";
  const Result panic = world_->Rum({"exec", "--", "sh", "-c", "echo c > /proc/sysrq-trigger"});
  EXPECT_NE(panic.exit_status, 0);
  EXPECT_TRUE(Eventually([&] { return told("PANICKED"); }));
  const auto log_has = [](const std::string& line) {
    return world_->Rum({"log", "--events"}).out.find(line) != std::string::npos;
  };
  EXPECT_TRUE(Eventually([&] { return log_has("domain: panicked → running"); }));
  EXPECT_TRUE(log_has("domain: running → panicked: the kernel of the guest gave up"));
  const std::string kill = "kill -9 $(pgrep -f '[g]uest=" + world_->DomainName() + ",')";
  ASSERT_EQ(std::system(kill.c_str()), 0);
  EXPECT_TRUE(Eventually([&] { return told("CRASHED"); }));
  const Result ready = world_->Rum({"status", "--wait", "Synced", "--timeout", "500"});
  EXPECT_EQ(ready.exit_status, 0) << ready.out << ready.err;
  EXPECT_NE(world_->Guest("cat /proc/sys/kernel/random/boot_id"), boot);
  const std::string log = world_->Rum({"log", "--events"}).out;
  EXPECT_NE(log.find(" → crashed: QEMU ended unexpectedly"), std::string::npos) << log;
  EXPECT_NE(log.find("domain: crashed → running"), std::string::npos) << log;
}

TEST_F(Drifting, AnAttachedUpTellsWhatHappensAndCtrlCStopsTheMachine) {
  Background attached(*world_, {"up"}, "attached");
  EXPECT_TRUE(
      Eventually([&] { return attached.Output().find("nothing to do") != std::string::npos; }));
  // It listens when the machine is told to be up; what happens before that is history.
  EXPECT_TRUE(Eventually([&] {
    HealedAfterMs("hostname attached", "[ \"$(hostname)\" = attached ]");
    return attached.Output().find("network.hostname: attached → dev") != std::string::npos;
  }));
  const std::string log = world_->Rum({"log", "--events"}).out;
  for (const char* line : {"network.hostname: typed → dev (by guest",
                           "user.groups[docker]: absent → "
                           "docker (by guest",
                           "resources.cpus: 3 → 1 (by libvirt", "(by host"}) {
    EXPECT_NE(log.find(line), std::string::npos) << line << " in\n" << log;
  }
  EXPECT_EQ(attached.End(SIGINT), 0);
  EXPECT_EQ(world_->Rum({"status", "--exit-code"}).exit_status, 6);
  EXPECT_EQ(world_->Rum({"up", "-d"}).exit_status, 0);
  ExpectAllAdded(world_->Virsh({"dumpxml", world_->DomainName()}).out);
}

}  // namespace
}  // namespace rum::e2e
