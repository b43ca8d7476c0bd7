#include "tests/cli/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

namespace rum {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

// In the folder of the test's own files, whose path does not change.
std::string Runfile(const std::string& path) {
  return std::string(std::getenv("TEST_SRCDIR")) + "/" + std::getenv("TEST_WORKSPACE") + "/" + path;
}

std::vector<char*> Pointers(std::vector<std::string>* strings) {
  std::vector<char*> pointers;
  for (std::string& s : *strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// In the child, after fork.
[[noreturn]] void Become(const std::string& folder, std::vector<char*> argv,
                         std::vector<char*> env) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGINT, SIG_DFL);  // which a shell ignores for what it starts behind a `&`
  if (chdir(folder.c_str()) == 0) execve(argv[0], argv.data(), env.data());
  _exit(127);
}

std::vector<std::string> Lines(const Environment& env) {
  std::vector<std::string> lines;
  for (const auto& [name, value] : env) lines.push_back(name + "=" + value);
  return lines;
}

int Wait(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<pid_t> Children() {
  std::vector<pid_t> pids;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::ifstream list(task.path() / "children");
    for (pid_t pid; list >> pid;) pids.push_back(pid);
  }
  return pids;
}

// What Start() started and Finish() will ask for its exit status.
std::set<pid_t>& Unfinished() {
  static auto* const pids = new std::set<pid_t>;
  return *pids;
}

// A controller that ended is a zombie of ours until somebody asks.
void Reap() {
  for (const pid_t pid : Children()) {
    if (Unfinished().count(pid) > 0) continue;
    siginfo_t info{};
    std::ifstream words("/proc/" + std::to_string(pid) + "/cmdline");
    const bool dead = words.peek() == std::ifstream::traits_type::eof();
    if (dead) waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
  }
}

}  // namespace

Sandbox::Sandbox() : program(Runfile("cli/rum")) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  signal(SIGPIPE, SIG_IGN);
  std::string folder = std::string(std::getenv("TEST_TMPDIR")) + "/cli.XXXXXX";
  folder_ = mkdtemp(folder.data());
  std::string runtime = "/tmp/rum-cli.XXXXXX";  // short: a socket's path has at most 107 bytes
  runtime_ = mkdtemp(runtime.data());
  for (const char* sub : {"/project", "/home", "/state"}) fs::create_directory(folder_ + sub);
  env = {{"HOME", folder_ + "/home"},
         {"XDG_STATE_HOME", folder_ + "/state"},
         {"XDG_DATA_HOME", folder_ + "/data"},
         {"XDG_RUNTIME_DIR", runtime_},
         {"RUM_AGENT", Runfile("agent-api/guest/rum-agent")},
         {"LC_ALL", "C.UTF-8"},
         {"TERM", "xterm"},
         {"PATH", "/usr/bin:/bin:/usr/sbin:/sbin"}};
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS"}) {
    if (std::getenv(name) != nullptr) env[name] = std::getenv(name);
  }
}

Sandbox::~Sandbox() {
  for (;;) {
    const std::vector<pid_t> left = Children();
    if (left.empty()) break;
    for (const pid_t pid : left) {
      kill(pid, SIGKILL);
      Wait(pid);
      Unfinished().erase(pid);
    }
  }
  if (testing::Test::HasFailure()) {
    std::ifstream log(state() + "/controller.log");
    std::cerr << "controller.log:\n" << log.rdbuf() << "\n";
  }
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  fs::remove_all(runtime_, ignored);
}

Running Sandbox::Start(const std::vector<std::string>& words) {
  std::vector<std::string> argv = words;
  argv.insert(argv.begin(), program);
  std::vector<std::string> lines = Lines(env);
  const std::vector<char*> argv_pointers = Pointers(&argv);
  const std::vector<char*> env_pointers = Pointers(&lines);
  const std::string folder = project();
  int out[2];
  int err[2];
  Running running;
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return running;
  running = {fork(), out[0], err[0]};
  if (running.pid == 0) {
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    Become(folder, argv_pointers, env_pointers);
  }
  close(out[1]);
  close(err[1]);
  Unfinished().insert(running.pid);
  return running;
}

Result Sandbox::Finish(const Running& running) {
  Result result;
  pollfd fds[2] = {{running.out, POLLIN, 0}, {running.err, POLLIN, 0}};
  std::string* const texts[2] = {&result.out, &result.err};
  const auto deadline = steady_clock::now() + patience;
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (steady_clock::now() > deadline) {
      ADD_FAILURE() << "rum did not end; so far:\n" << result.out << result.err;
      kill(running.pid, SIGKILL);
      break;
    }
    poll(fds, 2, 1000);
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[65536];
      const ssize_t n = read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0) texts[i]->append(buffer, static_cast<size_t>(n));
      if (n <= 0) fds[i].fd = -1;
    }
  }
  close(running.out);
  close(running.err);
  result.exit_status = Wait(running.pid);
  Unfinished().erase(running.pid);
  return result;
}

Result Sandbox::Rum(const std::vector<std::string>& words) { return Finish(Start(words)); }

Result Sandbox::ShellApart(const std::string& script) {
  const std::string rum = std::exchange(program, "/usr/bin/unshare");
  Result result = Rum({"--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child",
                       "--mount-proc", "--propagation", "private", "/bin/sh", "-ec", script});
  program = rum;
  return result;
}

Result Sandbox::RumOnTerminal(const std::vector<std::string>& words, const std::string& typed,
                              Window window, const std::function<void(const std::string&)>& hear) {
  std::vector<std::string> argv = words;
  argv.insert(argv.begin(), program);
  std::vector<std::string> lines = Lines(env);
  const std::vector<char*> argv_pointers = Pointers(&argv);
  const std::vector<char*> env_pointers = Pointers(&lines);
  const std::string folder = project();
  Result result;
  const winsize size{window.rows, window.columns, 0, 0};
  const pid_t pid = forkpty(&terminal_, nullptr, nullptr, window.columns > 0 ? &size : nullptr);
  if (pid == 0) Become(folder, argv_pointers, env_pointers);
  // The terminal keeps it until it is read.
  if (write(terminal_, typed.data(), typed.size()) < 0) result.err = "nothing could be typed";
  char buffer[65536];
  for (ssize_t n; (n = read(terminal_, buffer, sizeof buffer)) > 0;) {
    result.out.append(buffer, static_cast<size_t>(n));
    if (hear) hear({buffer, static_cast<size_t>(n)});
  }
  result.exit_status = Wait(pid);
  close(std::exchange(terminal_, -1));
  return result;
}

void Sandbox::Type(const std::string& keys) const {
  EXPECT_EQ(write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

void Sandbox::Resize(Window window) const {
  const winsize size{window.rows, window.columns, 0, 0};
  EXPECT_EQ(ioctl(terminal_, TIOCSWINSZ, &size), 0);
}

void Sandbox::Install() {
  program = folder_ + "/bin/rum";
  fs::create_directories(folder_ + "/bin");
  for (const auto& [name, from] :
       {std::pair{"rum", "cli/rum"}, {"rum-controller", "controller/service/rum-controller"}}) {
    const std::string place = folder_ + "/bin/" + name;
    fs::copy_file(Runfile(from), place + ".new");
    fs::rename(place + ".new", place);
  }
}

std::string Sandbox::Write(const std::string& name, const std::string& text) const {
  const std::string path = project() + "/" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

pid_t Sandbox::ControllerPid() {
  const Result status = Rum({"controller", "status"});
  std::istringstream words(status.out);
  std::string word;
  pid_t pid = 0;
  while (words >> word) {
    if (word == "pid") words >> pid;
  }
  return pid;
}

std::vector<pid_t> Sandbox::Controllers() const {
  Reap();
  std::vector<pid_t> pids;
  for (const pid_t pid : Children()) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
    const std::string words{std::istreambuf_iterator<char>(file), {}};
    if (words.find(std::string("controller\0run", 14)) != std::string::npos) pids.push_back(pid);
  }
  return pids;
}

bool IsGone(pid_t pid, std::chrono::milliseconds patience) {
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process < 0) return errno == ESRCH;
  pollfd gone{process, POLLIN, 0};
  const bool is_gone = poll(&gone, 1, static_cast<int>(patience.count())) == 1;
  close(process);
  Reap();
  return is_gone;
}

std::string GoodToml() {
  return "[image]\nbase = \"/images/debian.qcow2\"\n[resources]\ncpus = 1\nmemory_mb = 512\n"
         "[advanced]\nlibvirt_uri = \"test:///default\"\n";
}

}  // namespace rum
