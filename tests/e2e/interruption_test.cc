// kill -9 of controller and client, each second time of everything, at moments spread over a first
// `up`: the next one completes the machine. $RUM_TEST_MOMENTS says how many (default 5),
// $RUM_TEST_SEED which (default: 1).
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

int Setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : std::atoi(value);
}

// The processes of this user that run one of `binaries`. The test has a process table of its own.
std::vector<pid_t> ProcessesOf(const std::set<std::string>& binaries) {
  std::vector<pid_t> pids;
  std::error_code denied;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const int pid = std::atoi(entry.path().filename().c_str());
    const fs::path binary = fs::read_symlink(entry.path() / "exe", denied);
    if (pid > 0 && binaries.count(binary.filename()) > 0) pids.push_back(pid);
  }
  return pids;
}

class Interruption : public testing::Test {
 protected:
  Interruption() : world_(std::getenv("RUM_TEST_URI")) {
    port_ = FreePort();
    world_.file.ports = {{port_, 7000}};
    world_.file.more =
        "[drives.data]\nsize = \"64M\"\n[[fs.ext4]]\ndrive = \"data\"\ntarget = \"/data\"\n";
    // Long enough to be met while it runs.
    world_.file.system = "sleep 2\necho ended >> /data/runs\nsync";
    world_.file.boot = "echo boot >> /run/boots";
    world_.Save();
    domains_ = world_.Virsh({"list", "--all"}).out;
    networks_ = world_.Virsh({"net-list", "--all"}).out;
    pools_ = world_.Virsh({"pool-list", "--all"}).out;
  }

  pid_t Start(const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {"env"};
    for (const auto& [name, value] : world_.env()) argv.push_back(name + "=" + value);
    for (const std::string& word : world_.Argv(arguments)) argv.push_back(word);
    std::vector<char*> words;
    for (std::string& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    pid_t pid = -1;
    EXPECT_EQ(posix_spawnp(&pid, "env", nullptr, nullptr, words.data(), environ), 0);
    return pid;
  }

  // `rum up -d`, killed with its controller after `moment`; with the VM and libvirt as well, as a
  // host that loses its power does. True: it had not ended by itself.
  bool UpKilledAfter(Clock::duration moment, bool power_cut) {
    const Clock::time_point kill_at = Clock::now() + moment;
    const pid_t client = Start({"up", "-d"});
    std::this_thread::sleep_until(kill_at);
    const bool running = waitpid(client, nullptr, WNOHANG) == 0;
    // Each before what it would start again.
    if (running) kill(client, SIGKILL), waitpid(client, nullptr, 0);
    KillAll({"rum-controller"});
    if (power_cut) KillAll({"libvirtd"}), KillAll({"qemu-system-x86_64"});
    return running;
  }

  static void KillAll(const std::set<std::string>& binaries) {
    for (pid_t pid : ProcessesOf(binaries)) kill(pid, SIGKILL);
    while (!ProcessesOf(binaries).empty()) usleep(1000);
  }

  void ExpectComplete() {
    EXPECT_EQ(world_.Guest("grep -cx ended /data/runs"), "1") << "the system script ran once";
    EXPECT_EQ(world_.Guest("cat /run/boots"), "boot") << "the boot script ran once in this boot";
    EXPECT_EQ(world_.Guest("hostname; id -nG rum | tr ' ' '\\n' | grep -cx 'docker\\|builders'"),
              "dev\n2");
    EXPECT_EQ(world_.Guest("findmnt -no FSTYPE /data"), "ext4");
    world_.Guest(
        "setsid python3 -c 'import socket\ns = socket.create_server((\"127.0.0.1\", 7000))\n"
        "c = s.accept()[0]\nc.sendall(c.recv(5))' >/dev/null 2>&1 </dev/null & "
        "while ! grep -q ':1B58 00000000:0000 0A' /proc/net/tcp; do sleep 0.1; done");
    EXPECT_EQ(EchoThrough(port_, "hello"), "hello");
    EXPECT_EQ(world_.Rum({"apply", "--exit-code"}).exit_status, 0);
  }

  void ExpectNothingLeft() {
    const Result destroyed = world_.Rum({"destroy"});
    EXPECT_EQ(destroyed.exit_status, 0) << destroyed.err;
    EXPECT_EQ(world_.Virsh({"list", "--all"}).out, domains_);
    EXPECT_EQ(world_.Virsh({"net-list", "--all"}).out, networks_);
    EXPECT_EQ(world_.Virsh({"pool-list", "--all"}).out, pools_);
    EXPECT_TRUE(fs::is_empty(world_.folder() + "/data"));
  }

  World world_;
  uint16_t port_;
  std::string domains_, networks_, pools_;
};

TEST_F(Interruption, TheNextUpCompletesTheMachineAndTheSystemScriptRunsOnce) {
  const Clock::time_point begin = Clock::now();
  ASSERT_EQ(world_.Rum({"up", "-d"}).exit_status, 0);
  const Clock::duration whole = Clock::now() - begin;
  ExpectComplete();
  ExpectNothingLeft();

  const int moments = Setting("RUM_TEST_MOMENTS", 5);
  const int seed = Setting("RUM_TEST_SEED", 1);
  std::mt19937 random(seed);
  int interrupted = 0;
  for (int i = 0; i < moments; ++i) {
    // One in each of equal parts of an up, somewhere in it.
    const double part = (i + std::uniform_real_distribution<>(0, 1)(random)) / moments;
    const bool power_cut = i % 2 == 1;
    const std::string what =
        (power_cut ? "power cut after " : "controller and client killed after ") +
        std::to_string(part) + " of an up, seed " + std::to_string(seed);
    SCOPED_TRACE(what);
    std::fprintf(stderr, "== moment %d of %d: %s\n", i + 1, moments, what.c_str());
    interrupted +=
        UpKilledAfter(std::chrono::duration_cast<Clock::duration>(whole * part), power_cut);
    const Result up = world_.Rum({"up", "-d"});
    ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
    ExpectComplete();
    ExpectNothingLeft();
    if (HasFailure()) return;
  }
  // Some may come too late where this machine got faster; most must not.
  EXPECT_GT(interrupted, moments / 2);
}

TEST_F(Interruption, CtrlCWhileTheMachineBootsStopsItAndTheNextUpCompletesIt) {
  const pid_t client = Start({"up"});
  while (world_.Virsh({"list", "--name"}).out.find("rum-") == std::string::npos) usleep(10000);
  ASSERT_EQ(kill(client, SIGINT), 0);
  int status = 0;
  ASSERT_EQ(waitpid(client, &status, 0), client);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 130) << status;
  EXPECT_EQ(world_.Virsh({"list", "--name"}).out.find("rum-"), std::string::npos);
  EXPECT_EQ(world_.Status().phase(), MachineStatus::STOPPED);
  EXPECT_EQ(world_.Rum({"up", "-d"}).exit_status, 0);
  ExpectComplete();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace rum::e2e
