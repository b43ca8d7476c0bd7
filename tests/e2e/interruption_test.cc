// kill -9 of controller and client, each second time of everything, at moments spread over a first
// `up`: the next one completes the machine. $RUM_TEST_MOMENTS says how many (default 5),
// $RUM_TEST_SEED which (default: 1).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/processes.h"
#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

int Setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : std::atoi(value);
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

  // `told`: the file that gets what it says on its error stream; empty: ours.
  pid_t Start(const std::vector<std::string>& arguments, const std::string& told = "") {
    std::vector<std::string> argv = {"env"};
    for (const auto& [name, value] : world_.env()) argv.push_back(name + "=" + value);
    for (const std::string& word : world_.Argv(arguments)) argv.push_back(word);
    std::vector<char*> words;
    for (std::string& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (!told.empty()) {
      posix_spawn_file_actions_addopen(&actions, 2, told.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                       0600);
    }
    pid_t pid = -1;
    EXPECT_EQ(posix_spawnp(&pid, "env", &actions, nullptr, words.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
  }
  static std::string Text(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
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

  // Of a guest that was booted before, whose time is kept.
  void UninterruptedUp() {
    world_.Save();
    const Clock::time_point begin = Clock::now();
    ASSERT_EQ(world_.Rum({"up", "-d"}).exit_status, 0);
    usual_up_ = Clock::now() - begin;
    ExpectComplete();
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
  static Clock::duration usual_up_;
};

Clock::duration Interruption::usual_up_{};

// A server whose image never comes to its end, though it never falls silent either.
class EndlessServer {
 public:
  EndlessServer() : port_(FreePort()) {
    const std::string program =
        "import http.server, time\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "  def log_message(*_): pass\n"
        "  def do_GET(self):\n"
        "    self.send_response(200)\n"
        "    self.send_header('Content-Length', '1000000000')\n"
        "    self.end_headers()\n"
        "    while True:\n"
        "      self.wfile.write(b'x' * 20000)\n"
        "      time.sleep(0.1)\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', " +
        std::to_string(port_) + "), H).serve_forever()\n";
    const char* argv[] = {"python3", "-c", program.c_str(), nullptr};
    EXPECT_EQ(posix_spawnp(&pid_, "python3", nullptr, nullptr, const_cast<char**>(argv), environ),
              0);
    char line[8];
    std::snprintf(line, sizeof line, ":%04X\n", port_);
    while (ListeningPorts().find(line) == std::string::npos) usleep(10000);
  }
  ~EndlessServer() { kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0); }
  std::string Url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/disk.qcow2"; }

 private:
  const uint16_t port_;
  pid_t pid_ = -1;
};

TEST_F(Interruption, CtrlCInAnyPhaseStopsTheMachineAndTheNextUpCompletesIt) {
  const EndlessServer server;
  const std::string image = std::getenv("RUM_TEST_BOOTED_IMAGE"), script = world_.file.system;
  const struct {
    std::string says, image, system;
  } phases[] = {{"downloading disk.qcow2", server.Url(), script},
                {"waiting for the agent", image, script},
                {"running the system provisioning script", image, "sleep 3600"}};
  for (const auto& phase : phases) {
    SCOPED_TRACE(phase.says);
    world_.file.image = phase.image;
    world_.file.system = phase.system;
    world_.Save();
    const std::string told = world_.folder() + "/told";
    const pid_t client = Start({"up"}, told);
    while (Text(told).find(phase.says) == std::string::npos) {
      ASSERT_EQ(waitpid(client, nullptr, WNOHANG), 0) << Text(told);
      usleep(10000);
    }
    ASSERT_EQ(kill(client, SIGINT), 0);
    int status = 0;
    for (int tenths = 0; waitpid(client, &status, WNOHANG) == 0; ++tenths) {
      if (tenths == 1200) kill(client, SIGKILL);
      usleep(100000);
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 130) << status << Text(told);
    EXPECT_EQ(world_.Virsh({"list", "--name"}).out.find("rum-"), std::string::npos);
    EXPECT_NE(world_.Status().phase(), MachineStatus::RUNNING);
  }
  world_.file.system = script;
  UninterruptedUp();
  EXPECT_EQ(world_.Rum({"image", "prune"}).exit_status, 0);
  ExpectNothingLeft();
}

TEST_F(Interruption, TheNextUpCompletesTheMachineAndTheSystemScriptRunsOnce) {
  // A cut of the power meets the whole first boot; a controller's end does not touch the guest.
  const std::string images[] = {std::getenv("RUM_TEST_BOOTED_IMAGE"), world_.file.image};
  if (usual_up_ == Clock::duration()) {
    world_.file.image = images[false];
    UninterruptedUp();
    ExpectNothingLeft();
  }
  // A first boot: as long as the one after the first cut, which comes early; until then, about so.
  Clock::duration whole[] = {usual_up_, 2 * usual_up_};

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
    world_.file.image = images[power_cut];
    world_.Save();
    interrupted += UpKilledAfter(
        std::chrono::duration_cast<Clock::duration>(whole[power_cut] * part), power_cut);
    const Clock::time_point begin = Clock::now();
    const Result up = world_.Rum({"up", "-d"});
    ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
    if (i == 1) whole[power_cut] = Clock::now() - begin;
    ExpectComplete();
    ExpectNothingLeft();
    if (HasFailure()) return;
  }
  // Some may come too late where this machine got faster; most must not.
  EXPECT_GT(interrupted, moments / 2);
}

}  // namespace
}  // namespace rum::e2e
