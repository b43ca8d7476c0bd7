// Work inside a machine, on one real VM: commands, copies, ssh, and an agent
// that is replaced.
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/protocol.h"
#include "controller/service/control.pb.h"
#include "tests/e2e/poison.h"
#include "tests/e2e/processes.h"
#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string Need(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// One VM for all cases: they run in the order of this file. It is made with the
// previous agent.
class Inside : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(Need("RUM_TEST_URI"));
    fs::create_directory(world_->folder() + "/project/src");
    world_->file.more =
        "[[mounts]]\nsource = \"src\"\ntarget = \"/home/rum/src dir\"\ndefault = true\n";
    world_->Save();
    up_ = world_->Rum({"up", "-d"}, "", {{"RUM_AGENT", Previous()}});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }
  static std::string Previous() {
    return fs::path(Need("RUM_AGENT")).parent_path() / "previous-rum-agent";
  }
  static std::string AgentVersion() {
    return world_->Guest("/usr/local/lib/rum/rum-agent --version");
  }
  static std::string Here(const std::string& name) { return world_->folder() + "/home/" + name; }

  static inline World* world_ = nullptr;
  static inline Result up_;
};

// The script goes on under the agent that comes, and whoever asks again attaches to its run.
TEST_F(Inside, ANewerRumReplacesTheAgentWhileAScriptRuns) {
  ASSERT_EQ(AgentVersion(), "0.0.9");
  const std::string process =
      "systemctl show -p MainPID rum-agent; cat /proc/sys/kernel/random/boot_id";
  const std::string before = world_->Guest(process);
  world_->file.boot =
      "for i in $(seq 1 200); do echo line $i; echo $i >>/var/log/lines; sleep 0.1; done";
  world_->Save();
  std::thread interrupted([] { world_->Rum({"reload"}); });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  bool begun = false;
  while (!begun && std::chrono::steady_clock::now() < deadline)
    begun = Contains(world_->Rum({"exec", "cat", "/var/log/lines"}).out, "\n20\n");
  EXPECT_TRUE(begun);
  world_->StopController();
  interrupted.join();
  EXPECT_EQ(AgentVersion(), kAgentVersion) << "replaced before the first call was let through";
  EXPECT_EQ(world_->Guest(process), before) << "the same process, the same boot";
  EXPECT_EQ(world_->Status().phase(), MachineStatus::RUNNING);
  const Result reload = world_->Rum({"reload"});
  EXPECT_EQ(reload.exit_status, 0) << reload.out << reload.err;
  std::string all;
  for (int i = 1; i <= 200; ++i) all += std::to_string(i) + (i < 200 ? "\n" : "");
  EXPECT_EQ(world_->Guest("cat /var/log/lines"), all) << "ran once, and to its end";
  const std::string log = world_->Rum({"log"}).out;
  size_t at = 0;
  for (int i = 1; i <= 200 && at != std::string::npos; ++i)
    at = log.find(" line " + std::to_string(i) + "\n", at);
  EXPECT_NE(at, std::string::npos) << "not all lines, in their order:\n" << log;
  EXPECT_EQ(log.find(" line 1\n"), log.rfind(" line 1\n"));
  const MachineStatus status = world_->Status();
  for (const Item& item : status.items()) EXPECT_NE(item.field(), "agent") << item.text();
  world_->file.boot = "true";
  world_->Save();
  EXPECT_EQ(world_->Rum({"reload"}).exit_status, 0);
}

// The seed still has the previous agent.
TEST_F(Inside, ABootDoesNotBringThePreviousAgentBack) {
  const std::string boot = world_->Guest("cat /proc/sys/kernel/random/boot_id");
  world_->Rum({"exec", "systemctl", "--no-block", "reboot"});
  std::string now = boot;
  while (now == boot || now.empty())
    now = world_->Rum({"exec", "cat", "/proc/sys/kernel/random/boot_id"}).out.substr(0, 36);
  EXPECT_EQ(AgentVersion(), kAgentVersion);
  EXPECT_EQ(
      world_->Guest("tr '\\0' ' ' </proc/$(systemctl show -p MainPID --value rum-agent)/cmdline"),
      "/usr/local/lib/rum/rum-agent ");
}

TEST_F(Inside, AHundredMegabytesGoThroughACommandBothWays) {
  std::string data(100 << 20, '\0');
  uint32_t state = 1;
  for (char& c : data) state = state * 1664525 + 1013904223, c = static_cast<char>(state >> 24);
  const Result result = world_->Rum({"exec", "cat"}, data);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_TRUE(result.out == data) << result.out.size();
  EXPECT_LT(PeakKbOf("rum-controller"), 150 * 1024);
}

TEST_F(Inside, OptionsUsersFoldersAndTimeLimitsOfCommands) {
  EXPECT_EQ(world_->Rum({"exec", "pwd"}).out, "/home/rum/src dir\n");
  EXPECT_TRUE(Contains(world_->Rum({"exec", "ls", "-ld", "/etc"}).out, "root root"));
  const Result user =
      world_->Rum({"exec", "--user", "rum", "--cwd", "/tmp", "--env", "A=1 2", "--", "sh", "-c",
                   "id -un; id -nG | tr ' ' '\\n' | sort; pwd; echo $A; echo x >/dev/stderr"});
  // The kernel keeps groups by number, /etc/group in its own order.
  EXPECT_EQ(user.out,
            world_->Guest("id -un rum; id -nG rum | tr ' ' '\\n' | sort") + "\n/tmp\n1 2\n");
  EXPECT_EQ(user.err, "x\n");
  const Result limited = world_->Rum({"exec", "--timeout", "0.5", "sleep", "1000"});
  EXPECT_EQ(limited.exit_status, 124);
  EXPECT_EQ(limited.err, "rum: ended after 500ms\n");
  EXPECT_EQ(world_->Rum({"exec", "no-such-program"}).exit_status, 127);
  const Result cut =
      e2e::Run({"bash", "-c", "\"$@\" exec yes | head -n 1; echo ${PIPESTATUS[0]}", "bash",
                Need("RUM_BINARY"), "-c", world_->folder() + "/project/rum.toml"},
               world_->env());
  EXPECT_EQ(cut.out, "y\n141\n");
}

TEST_F(Inside, ATreeGoesInAndComesBackAsItWas) {
  const std::string tree = Here("tree");
  const std::string odd = " it's\n\"odd\" $(x) \xFF";
  fs::create_directories(tree + "/" + odd + "/empty");
  std::ofstream(tree + "/" + odd + "/file", std::ios::binary) << std::string("\0\1\n", 3);
  std::ofstream(tree + "/run") << "#!/bin/sh\necho ran\n";
  fs::permissions(tree + "/run", fs::perms(0750));
  fs::create_symlink("run", tree + "/link");
  ASSERT_EQ(e2e::Run({"touch", "-d", "2001-02-03 04:05:06.7", tree + "/run"}).exit_status, 0);
  Result copied = world_->Rum({"cp", tree, ":/srv"});
  EXPECT_EQ(copied.exit_status, 0) << copied.err;
  EXPECT_EQ(copied.err, "");
  EXPECT_EQ(
      world_->Guest("/srv/tree/link; stat -c '%a %U %y' /srv/tree/run; readlink /srv/tree/link"),
      "ran\n750 root 2001-02-03 04:05:06.700000000 +0000\nrun");
  copied = world_->Rum({"cp", ":/srv/tree", Here("back")});
  EXPECT_EQ(copied.exit_status, 0) << copied.err;
  const Result differ = e2e::Run({"diff", "-r", "--no-dereference", tree, Here("back")});
  EXPECT_EQ(differ.exit_status, 0) << differ.out;
  EXPECT_EQ(fs::status(Here("back/run")).permissions(), fs::perms(0750));
  EXPECT_EQ(fs::last_write_time(Here("back/run")), fs::last_write_time(tree + "/run"));
}

// What arrived of the file that was on its way in this folder, in bytes.
uintmax_t ArrivedIn(const std::string& folder) {
  std::error_code not_there;
  uintmax_t size = 0;
  for (const auto& entry : fs::directory_iterator(folder, not_there)) {
    if (entry.path().filename().string().rfind(".rum-cp-", 0) == 0) size = entry.file_size();
  }
  return size;
}

TEST_F(Inside, ACopyThatItsControllersDeathBrokeOffIsResumedBothWays) {
  constexpr uintmax_t kEnough = 1 << 20;
  const std::string tree = Here("long");
  fs::create_directories(tree + "/small");
  for (int i = 0; i < 50; ++i) std::ofstream(tree + "/small/" + std::to_string(i)) << i;
  const std::string large =
      "for i in $(seq 64); do echo $i; head -c 1048570 /dev/urandom; done >'" + tree + "/z'";
  ASSERT_EQ(e2e::Run({"bash", "-c", large}).exit_status, 0);
  Result broken;
  const std::string later = Here("later");
  std::ofstream(later) << "not begun";
  std::atomic<bool> ended = false;
  const auto copy = [&](const std::vector<std::string>& words) {
    broken = world_->Rum(words);
    ended = true;
  };
  std::thread in([&] { copy({"cp", "--resume", tree, later, ":/srv"}); });
  const std::string arrived = "stat -c %s /srv/long/.rum-cp-* 2>/dev/null || echo 0";
  while (!ended && std::stoull(world_->Guest(arrived)) < kEnough) {
  }
  KillAll({"rum-controller"});
  in.join();
  EXPECT_EQ(broken.exit_status, 1);
  EXPECT_TRUE(
      Contains(broken.err, "rum: what is missing: rum cp --resume '" + tree + "/.' ':/srv/long'\n"))
      << broken.err;
  EXPECT_TRUE(Contains(broken.err, "rum: the controller went away")) << broken.err;
  EXPECT_TRUE(Contains(broken.err, "rum: not copied: " + later + "\n")) << broken.err;
  const std::string whole = "cd /srv/long/small && stat -c '%n %i %z' * && stat -c %a . ..";
  const std::string before = world_->Guest(whole);
  EXPECT_GE(std::stoull(world_->Guest(arrived)), kEnough);
  Result resumed = world_->Rum({"cp", "--resume", tree, ":/srv"});
  EXPECT_EQ(resumed.exit_status, 0) << resumed.err;
  EXPECT_EQ(world_->Guest(whole), before) << "what was there is not written again";
  EXPECT_EQ(world_->Guest("cd /srv/long && sha256sum z small/* && ls -A") + "\n",
            e2e::Run({"bash", "-c", "cd '" + tree + "' && sha256sum z small/* && ls -A"}).out);

  // The same words would mean /again the first time and /again/long the next.
  const std::vector<std::string> unclear = {"cp", "--resume", ":/srv/long", Here("again")};
  EXPECT_TRUE(Contains(world_->Rum(unclear).err, "/again: with --resume a folder goes into one"));
  EXPECT_TRUE(Contains(world_->Rum({"cp", "--resume", tree, ":/srv/new"}).err,
                       "rum: :/srv/new: there is no such folder: with --resume a folder goes"));
  const std::vector<std::string> words = {"cp", "--resume", ":/srv/long/.", Here("again")};
  ended = false;
  std::thread out([&] { copy(words); });
  while (!ended && ArrivedIn(Here("again")) < kEnough) std::this_thread::yield();
  KillAll({"rum-controller"});
  out.join();
  EXPECT_EQ(broken.exit_status, 1);
  EXPECT_FALSE(fs::exists(Here("again/z")));
  EXPECT_GE(ArrivedIn(Here("again")), kEnough);
  resumed = world_->Rum(words);
  EXPECT_EQ(resumed.exit_status, 0) << resumed.err;
  const Result differ = e2e::Run({"diff", "-r", tree, Here("again")});
  EXPECT_EQ(differ.exit_status, 0) << differ.out;
}

TEST_F(Inside, FilesBelongToTheirFoldersOwnerAndErrorsNameWhatTheyAreAbout) {
  const Result in = world_->Rum({"cp", "-", ":/home/rum/note"}, "hello\n");
  EXPECT_EQ(in.exit_status, 0) << in.err;
  EXPECT_EQ(world_->Guest("stat -c '%U %a' /home/rum/note; cat /home/rum/note"), "rum 644\nhello");
  EXPECT_EQ(world_->Rum({"cp", ":/home/rum/note", "-"}).out, "hello\n");
  const Result missing = world_->Rum({"cp", ":/no/such", Here("x")});
  EXPECT_EQ(missing.exit_status, 1);
  EXPECT_EQ(missing.err, "rum: :/no/such: No such file or directory\n");
  world_->Guest("rm -rf /srv/other; mkdir -p /srv/other; ln -s /etc /srv/other/sub");
  fs::create_directories(Here("evil/sub"));
  std::ofstream(Here("evil/sub/passwd")) << "evil";
  std::ofstream(Here("evil/z")) << "rest";
  const Result evil = world_->Rum({"cp", Here("evil/."), ":/srv/other"});
  EXPECT_EQ(evil.exit_status, 1);
  EXPECT_EQ(evil.err, "rum: :/srv/other/sub: in the way of a folder\n");
  EXPECT_EQ(world_->Guest("cat /srv/other/z; grep -c evil /etc/passwd || true"), "rest0");
  EXPECT_EQ(world_->Rum({"cp", "a", "b"}).exit_status, 2);
  // More than the disk has room for.
  world_->Guest("mkdir -p /small && mount -t tmpfs -o size=1M none /small");
  const Result full = world_->Rum({"cp", "-", ":/small/full"}, std::string(4 << 20, 'x'));
  EXPECT_EQ(full.exit_status, 1);
  EXPECT_EQ(full.err, "rum: :/small/full: No space left on device\n");
  EXPECT_EQ(world_->Guest("ls -A /small"), "");
  world_->Guest("! ls -A /home/rum /srv | grep rum-cp");
}

// `rum` with arguments, on a terminal of its own.
class OnATerminal {
 public:
  OnATerminal(const World& world, const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {"env"};
    for (const auto& [name, value] : world.env()) argv.push_back(name + "=" + value);
    for (const std::string& word : world.Argv(arguments)) argv.push_back(word);
    std::vector<char*> words;
    for (std::string& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    winsize size{40, 100, 0, 0};
    pid_ = forkpty(&master_, nullptr, nullptr, &size);
    if (pid_ != 0) return;
    execvp("env", words.data());
    _exit(127);
  }
  ~OnATerminal() {
    kill(pid_, SIGKILL);
    close(master_);
  }
  // What it shows, up to and with `text`, or to its end.
  std::string Until(const std::string& text) {
    std::string shown;
    char byte = 0;
    while (!Contains(shown, text) && read(master_, &byte, 1) == 1) shown += byte;
    return shown;
  }
  bool IsRaw() const {
    termios now{};
    tcgetattr(master_, &now);
    return (now.c_lflag & (ICANON | ECHO | ISIG)) == 0;
  }
  void Resize(unsigned short rows, unsigned short columns) const {
    const winsize size{rows, columns, 0, 0};
    ioctl(master_, TIOCSWINSZ, &size);
  }
  void Type(const std::string& text) const {
    EXPECT_EQ(write(master_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  int Wait() const {
    int status = -1;
    waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  int master_ = -1;
  pid_t pid_ = -1;
};

TEST_F(Inside, ATerminalIsRawFollowsTheWindowAndIsRestored) {
  OnATerminal rum(*world_,
                  {"exec", "-t", "--", "sh", "-c",
                   "stty size; trap 'stty size; read line; echo \"<$line>\"; exit 7' WINCH; "
                   "echo ready; while :; do sleep 0.1; done"});
  EXPECT_TRUE(Contains(rum.Until("ready"), "40 100\r\n"));
  EXPECT_TRUE(rum.IsRaw());
  rum.Resize(50, 132);
  EXPECT_TRUE(Contains(rum.Until("132"), "50 132"));
  rum.Type("typed\r");
  EXPECT_TRUE(Contains(rum.Until("<typed>"), "<typed>"));
  EXPECT_EQ(rum.Wait(), 7);
  EXPECT_FALSE(rum.IsRaw());
}

TEST_F(Inside, CtrlCOnATerminalEndsTheCommandAndNotTheClientBeforeIt) {
  OnATerminal rum(*world_,
                  {"exec", "-t", "--", "sh", "-c",
                   "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done"});
  rum.Until("ready");
  rum.Type("\x03");
  EXPECT_TRUE(Contains(rum.Until("caught"), "caught"));
  EXPECT_EQ(rum.Wait(), 9);
}

// bash reads the profile, and the console has a getty.
TEST_F(Inside, AShellIsTheUsersInTheFolderThatBelongsToThisOne) {
  OnATerminal shell(*world_, {"shell"});
  shell.Type("echo $((6 * 7)) $(id -un) $(shopt -q login_shell && echo login)\r");
  EXPECT_TRUE(Contains(shell.Until("42 rum login"), "42 rum login"));
  EXPECT_TRUE(shell.IsRaw());
  shell.Type("exit 7\r");
  shell.Until("nothing, so that it is read to its end");
  EXPECT_EQ(shell.Wait(), 7);
  EXPECT_FALSE(shell.IsRaw());
  fs::create_directories(world_->folder() + "/project/src/in ner");
  const Result there = e2e::Run({"bash", "-c", "cd \"$1\" && \"$2\" -c \"$3\" shell -- pwd", "bash",
                                 world_->folder() + "/project/src/in ner", Need("RUM_BINARY"),
                                 world_->folder() + "/project/rum.toml"},
                                world_->env());
  EXPECT_EQ(there.out, "/home/rum/src dir/in ner\n") << there.err;
  fs::remove(world_->folder() + "/project/src/in ner");
}

TEST_F(Inside, TheConsoleIsTheGuestsAndOneAtATime) {
  OnATerminal console(*world_, {"console"});
  console.Until("leaves");
  const Result second = world_->Rum({"console"});
  EXPECT_EQ(second.exit_status, 1);
  EXPECT_TRUE(Contains(second.err, "somebody is at the serial console already")) << second.err;
  world_->Guest("echo from-the-guest >/dev/ttyS0");
  EXPECT_TRUE(Contains(console.Until("from-the-guest"), "from-the-guest"));
  EXPECT_TRUE(console.IsRaw());
  const Result last = world_->Rum({"console", "--last", "50"});
  EXPECT_EQ(last.exit_status, 0) << last.err;
  EXPECT_TRUE(Contains(last.out, "from-the-guest\n")) << last.out;
  console.Type("\x1D");
  console.Until("nothing, so that it is read to its end");
  EXPECT_EQ(console.Wait(), 0);
  EXPECT_FALSE(console.IsRaw());
}

TEST_F(Inside, StatsAreThoseOfTheMachine) {
  const Result stats = world_->Rum({"stats", "-o", "json"});
  ASSERT_EQ(stats.exit_status, 0) << stats.err;
  control::StatsReply reply;
  ASSERT_TRUE(ReadJson(stats.out, &reply)) << stats.out;
  ASSERT_EQ(reply.machines_size(), 1);
  const control::MachineStats& machine = reply.machines(0);
  EXPECT_TRUE(machine.running());
  EXPECT_GT(machine.cpu_time_ms(), 1000);
  EXPECT_GT(machine.memory_host_bytes(), 100 << 20);
  EXPECT_GE(machine.cpus(), 1u);
  ASSERT_GE(machine.disks_size(), 1);
  EXPECT_GT(machine.disks(0).read_bytes(), 1 << 20);
  EXPECT_GT(machine.disks(0).capacity_bytes(), machine.disks(0).host_bytes() / 2);
  EXPECT_GT(machine.memory_available_bytes(), 1 << 20) << "by the guest's word";
  EXPECT_LT(machine.memory_available_bytes(), machine.memory_guest_bytes());
}

// Hosts with vhost-vsock are not to be had everywhere; a kernel has vsocks to itself.
TEST_F(Inside, ForwardsWithASocketEachWorkOverVsocks) {
  const fs::path program = fs::path(Need("RUM_AGENT")).parent_path() / "stream_carrier_in_guest";
  const Result copied = world_->Rum({"cp", program, ":/root/streams"});
  ASSERT_EQ(copied.exit_status, 0) << copied.err;
  const Result ran = world_->Rum(
      {"exec", "sh", "-c", "modprobe vsock_loopback && RUM_TEST_VSOCK=1 /root/streams"});
  EXPECT_EQ(ran.exit_status, 0) << ran.out << ran.err;
  EXPECT_TRUE(Contains(ran.out, "PASSED")) << ran.out;
  world_->Guest("rm /root/streams");
}

TEST_F(Inside, SshLogsInThroughTheAgentAndKnowsTheHostsKey) {
  world_->Guest("systemctl start ssh");  // the image has openssh-server, not started
  Result result = world_->Rum({"ssh", "--", "id -un; pwd; echo err >&2; exit 7"});
  EXPECT_EQ(result.exit_status, 7) << result.err;
  EXPECT_EQ(result.out, "rum\n/home/rum\n");
  EXPECT_EQ(result.err, "err\n");
  result = world_->Rum({"ssh"}, "pwd\n");
  EXPECT_TRUE(Contains(result.out, "/home/rum/src dir\n")) << result.out << result.err;
  const Result config = world_->Rum({"ssh-config", "--host", "box"});
  ASSERT_EQ(config.exit_status, 0) << config.err;
  std::ofstream(Here("ssh.conf")) << config.out;
  std::vector<std::string> plain = {"ssh", "-F", Here("ssh.conf"), "box", "cat"};
  const std::string data(1 << 20, 'x');
  EXPECT_TRUE(e2e::Run(plain, world_->env(), data).out == data);
  world_->Guest("rm /etc/ssh/ssh_host_*; ssh-keygen -A >/dev/null; systemctl restart ssh");
  plain.back() = "true";
  const Result other = e2e::Run(plain, world_->env());
  EXPECT_EQ(other.exit_status, 255) << "another host's key is not taken";
  EXPECT_TRUE(Contains(other.err, "Host key verification failed")) << other.err;
  EXPECT_EQ(world_->Rum({"ssh", "true"}).exit_status, 0) << "the agent vouches for the new one";
}

// By the share, in which the file is for once; the loop obeys a saved file by itself.
TEST_F(Inside, AGuestThatRewritesTheFileOpensNothingToTheNetwork) {
  const std::string project = world_->folder() + "/project";
  world_->file.auto_reconcile = true;
  std::ofstream(project + "/src/rum.toml") << world_->file.Toml();
  fs::create_symlink("src/rum.toml", project + "/link");
  fs::rename(project + "/link", project + "/rum.toml");
  const uint16_t port = FreePort();
  const std::string number = std::to_string(port);
  const std::string item = "ports[0.0.0.0:" + number + "]";
  char socket[16];
  std::snprintf(socket, sizeof socket, "00000000:%04X\n", port);
  world_->Guest("cd '/home/rum/src dir' && { cat rum.toml; printf '[[ports]]\\nhost = " + number +
                "\\nguest = 22\\nbind = \"0.0.0.0\"\\n'; } >new && mv new rum.toml");
  const auto text = [&] {
    for (const MachineStatus status = world_->Status(); const Item& one : status.items()) {
      if (one.field() == item && one.state() == Item::NEEDS_CONSENT) return one.text();
    }
    return std::string();
  };
  EXPECT_TRUE(Contains(text(), "needs your word")) << text();
  // A later edit that is obeyed: the one before was seen, and not.
  world_->Guest(
      "cd '/home/rum/src dir' && sed 's/^hostname = .*/hostname = \"rewritten\"/' "
      "rum.toml >new && mv new rum.toml");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  while (world_->Guest("hostname") != "rewritten" && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(world_->Guest("hostname"), "rewritten");
  EXPECT_FALSE(Contains(ListeningPorts(), socket));
  Result result = world_->Rum({"apply"});
  EXPECT_TRUE(Contains(result.out, "needs your word")) << result.out << result.err;
  EXPECT_FALSE(Contains(ListeningPorts(), socket)) << "nobody was asked";
  result = world_->Rum({"apply", "--trust"});
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  EXPECT_TRUE(Contains(ListeningPorts(), socket));
  result = world_->Rum({"trust", "--revoke", "ports"});
  EXPECT_EQ(result.exit_status, 0) << result.out << result.err;
  EXPECT_FALSE(Contains(ListeningPorts(), socket));
  world_->file.auto_reconcile = false;
  world_->Save();
  fs::remove(project + "/src/rum.toml");
  EXPECT_EQ(world_->Rum({"reload"}).exit_status, 0);
}

TEST_F(Inside, WhatIsPoisonedInTheGuestSpoilsNothingElseAndSaysWhy) {
  const std::string rounds = Need("RUM_TEST_ROUNDS"), seed = Need("RUM_TEST_SEED");
  ExpectPoisonSpoilsNothingElse(
      world_, rounds.empty() ? 6 : std::atoi(rounds.c_str()),
      seed.empty() ? 2429404248 : static_cast<unsigned>(std::stoul(seed)));  // others by hand
}

}  // namespace
}  // namespace rum::e2e
