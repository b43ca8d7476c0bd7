#include "tests/e2e/live_world.h"

#include <cstdlib>

#include "tests/e2e/processes.h"

namespace rum::e2e {
namespace {

constexpr char kPrograms[] =
    "setsid python3 -c '\n"
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
    "setsid sh -c 'echo $$ > /run/ticks.pid; while :; do sleep 0.5; date > /run/tick; done' "
    ">/dev/null 2>&1 </dev/null &\n"
    "while [ ! -e /run/echo-listens ] || [ ! -e /run/tick ]; do sleep 0.1; done";

}  // namespace

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Ends the VM while failures still count.
class LiveTest::Ender : public testing::Environment {
 public:
  void TearDown() override {
    connection_.reset();
    delete world_;
    world_ = nullptr;
  }
  static testing::Environment* const registered;
};

testing::Environment* const LiveTest::Ender::registered =
    testing::AddGlobalTestEnvironment(new Ender());

void LiveTest::Begin() {
  if (world_ != nullptr) return;
  world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
  FileSpec& file = world_->file;
  file.ports = {{FreePort(), 7000}};
  file.cpus = 3;
  file.resources = "max_cpus = 4\nmax_memory_mb = 1024\n";
  world_->Save();
  up_ = world_->Rum({"up", "-d"});
  if (up_.exit_status == 0) Settle();
}

void LiveTest::Settle() {
  world_->Guest(kPrograms);
  boot_id_ = BootId();
  Connect();
}

std::string LiveTest::Reload(const std::vector<std::string>& options) {
  world_->Save();
  std::vector<std::string> words = {"reload"};
  words.insert(words.end(), options.begin(), options.end());
  const Result result = world_->Rum(words);
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  return result.out + result.err;
}

std::string LiveTest::BringLive() {
  const std::string said = Reload();
  EXPECT_TRUE(Contains(said, "✓")) << said;
  EXPECT_FALSE(Contains(said, "restart")) << said;
  ExpectSilence();
  ExpectUndisturbed();
  return said;
}

void LiveTest::ReloadTwice(const std::string& failpoint) {
  world_->StopController();
  world_->Save();
  EXPECT_NE(world_->Rum({"reload"}, "", {{"RUM_FAILPOINT", failpoint}}).exit_status, 0)
      << failpoint;
  KillAll({"libvirtd"});
  // The user's own is started by whoever asks it.
  if (world_->file.uri == "qemu:///system") EXPECT_EQ(e2e::Run({"libvirtd", "-d"}).exit_status, 0);
  Reload();
  ExpectSilence();
}

void LiveTest::ExpectSilence() {
  const MachineStatus status = world_->Status();
  for (const Item& item : status.items())
    EXPECT_EQ(item.state(), Item::HOLDS) << item.ShortDebugString();
}

void LiveTest::ExpectUndisturbed() {
  EXPECT_TRUE(connection_->Flows(1000));
  EXPECT_EQ(BootId(), boot_id_);
  EXPECT_EQ(world_->Guest("kill -0 $(cat /run/ticks.pid) && echo runs"), "runs");
}

void LiveTest::Connect() {
  connection_ = std::make_unique<EchoingConnection>(world_->file.ports[0].host);
}

Item LiveTest::ItemOf(const std::string& field) {
  const MachineStatus status = world_->Status();
  for (const Item& item : status.items()) {
    if (item.field() == field) return item;
  }
  return {};
}

std::string LiveTest::Sit(const std::string& folder) {
  return world_->Guest("cd " + folder +
                       " && setsid sleep 3600 >/dev/null 2>&1 </dev/null & echo $!");
}

std::string LiveTest::BootId() { return world_->Guest("cat /proc/sys/kernel/random/boot_id"); }

}  // namespace rum::e2e
