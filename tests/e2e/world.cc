#include "tests/e2e/world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

extern char** environ;

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

std::string Need(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') {
    ADD_FAILURE() << name << " is not set: run this through tools/test";
    std::abort();
  }
  return value;
}

std::vector<std::string> Environment(const std::map<std::string, std::string>& extra) {
  std::map<std::string, std::string> all;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string line = *e;
    const size_t equals = line.find('=');
    if (equals != std::string::npos) all[line.substr(0, equals)] = line.substr(equals + 1);
  }
  for (const auto& [name, value] : extra) all[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : all) lines.push_back(name + "=" + value);
  return lines;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Feeds `input`, collects both outputs until both are closed or `deadline` has passed.
bool Communicate(int in, int out, int err, const std::string& input, Result* result,
                 steady_clock::time_point deadline) {
  size_t sent = 0;
  if (input.empty()) close(in), in = -1;
  // A write that blocked until all is taken would keep us from what is written meanwhile.
  if (in >= 0) fcntl(in, F_SETFL, O_NONBLOCK);
  while (out >= 0 || err >= 0) {
    pollfd fds[3] = {{out, POLLIN, 0}, {err, POLLIN, 0}, {in, POLLOUT, 0}};
    if (poll(fds, 3, 1000) < 0 && errno != EINTR) return false;
    if (steady_clock::now() > deadline) return false;
    char buffer[65536];
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      const ssize_t n = read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0) (i == 0 ? result->out : result->err).append(buffer, n);
      if (n <= 0) close(fds[i].fd), (i == 0 ? out : err) = -1;
    }
    if (in >= 0 && fds[2].revents != 0) {
      const ssize_t n = write(in, input.data() + sent, input.size() - sent);
      if (n > 0) sent += n;
      if ((n < 0 && errno != EAGAIN) || sent == input.size()) close(in), in = -1;
    }
  }
  if (in >= 0) close(in);
  return true;
}

// A record after its line of head.
std::string WithoutSights(const std::string& bytes) {
  MachineRecord record;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      bytes.substr(std::min(bytes.find('\n') + 1, bytes.size())), &record);
  EXPECT_TRUE(parsed.ok()) << parsed.ToString() << "\n" << bytes;
  record.clear_drifts();
  record.clear_conditions();
  record.clear_events();
  record.clear_phase();
  record.clear_phase_since_ms();
  record.clear_last_event();
  record.clear_text_hash();
  return record.DebugString();
}

bool ReadExactly(int fd, char* to, size_t size) {
  for (size_t got = 0; got < size;) {
    const ssize_t n = read(fd, to + got, size - got);
    if (n <= 0) return false;
    got += n;
  }
  return true;
}

}  // namespace

Result Run(const std::vector<std::string>& argv, const std::map<std::string, std::string>& env,
           const std::string& input) {
  signal(SIGPIPE, SIG_IGN);
  Result result;
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
    return result;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  const std::vector<std::string> environment = Environment(env);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0].c_str(), &actions, nullptr, Pointers(argv).data(),
                                  Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]), close(out[1]), close(err[1]);
  if (failed != 0) {
    ADD_FAILURE() << argv[0] << ": " << strerror(failed);
    close(in[1]), close(out[0]), close(err[0]);
    return result;
  }
  if (!Communicate(in[1], out[0], err[0], input, &result,
                   steady_clock::now() + std::chrono::minutes(10))) {
    ADD_FAILURE() << argv[0] << " did not end within 10 minutes; output so far:\n"
                  << result.out << result.err;
    kill(pid, SIGKILL);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string FileSpec::Toml() const {
  std::ostringstream toml;
  toml << "[image]\nbase = \"" << image << "\"\n\n[resources]\ncpus = " << cpus
       << "\nmemory_mb = " << memory_mb << "\ndisk = \"" << disk << "\"\n"
       << resources << "\n[network]\n"
       << (nat ? "" : "nat = false\n") << "hostname = \"" << hostname << "\"\n\n[user]\ngroups = ["
       << groups << "]\n\n[provision.system]\nscript = '''\n"
       << system << "\n'''\n\n[provision.boot]\nscript = '''\n"
       << boot << "\n'''\n\n[advanced]\nlibvirt_uri = \"" << uri
       << "\"\n\n[reconcile]\nauto = " << (auto_reconcile ? "true" : "false")
       << (live ? "" : "\nlive = false") << "\n";
  for (const PortSpec& port : ports) {
    toml << "\n[[ports]]\nhost = " << port.host << "\nguest = " << port.guest << "\n";
  }
  if (!more.empty()) toml << "\n" << more;
  return toml.str();
}

World::World(const std::string& uri, FirstBoot first_boot) {
  std::string pattern = "/tmp/rum-e2e-XXXXXX";  // short: unix socket paths end at 107 bytes
  folder_ = mkdtemp(pattern.data());
  // QEMU of the system libvirtd may run as another user.
  fs::permissions(folder_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  for (const char* sub : {"/state", "/run", "/data", "/home", "/project"})
    fs::create_directory(folder_ + sub);
  fs::permissions(folder_ + "/run", fs::perms::owner_all);
  env_ = {{"HOME", folder_ + "/home"},
          {"XDG_RUNTIME_DIR", folder_ + "/run"},
          {"XDG_CONFIG_HOME", folder_ + "/home/.config"},
          {"XDG_CACHE_HOME", folder_ + "/home/.cache"},
          {"RUM_STATE_DIR", folder_ + "/state"},
          {"RUM_RUNTIME_DIR", folder_ + "/run/rum"},
          {"RUM_DATA_DIR", folder_ + "/data"},
          {"NO_COLOR", "1"},
          {"LC_ALL", "C.UTF-8"}};
  file.uri = uri;
  file.image = Need(first_boot == FirstBoot::kWhole ? "RUM_TEST_IMAGE" : "RUM_TEST_BOOTED_IMAGE");
  Save();
}

World::~World() {
  if (testing::Test::HasFailure()) {
    const Result log = Run({"tail", "-n", "60", folder_ + "/state/controller.log"});
    std::fprintf(stderr, "controller's log:\n%s\n", log.out.c_str());
  }
  Save();
  const Result destroyed = Rum({"destroy", "--force"});
  if (destroyed.exit_status != 0) {
    ADD_FAILURE() << "destroy at the end failed: " << destroyed.out << destroyed.err;
    Virsh({"destroy", DomainName()});
  }
  StopController();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void World::Save() const { SaveText(file.Toml()); }

void World::SaveText(const std::string& text) const {
  const std::string path = folder_ + "/project/rum.toml";
  std::ofstream(path + ".new") << text;
  fs::rename(path + ".new", path);
}

std::vector<std::string> World::Argv(const std::vector<std::string>& arguments) const {
  std::vector<std::string> argv = {Need("RUM_BINARY"), "-c", folder_ + "/project/rum.toml"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

Result World::Rum(const std::vector<std::string>& arguments, const std::string& input,
                  const std::map<std::string, std::string>& env) const {
  std::map<std::string, std::string> all = env_;
  for (const auto& [name, value] : env) all[name] = value;
  const auto began = steady_clock::now();
  Result result = Run(Argv(arguments), all, input);
  const std::chrono::duration<double> took = steady_clock::now() - began;
  std::string line;
  for (const std::string& a : arguments) line += " " + a.substr(0, 60);
  std::fprintf(stderr, "$ rum%s\n%s%s(exit %d, %.1f s)\n", line.c_str(),
               result.out.substr(0, 3000).c_str(), result.err.substr(0, 3000).c_str(),
               result.exit_status, took.count());
  return result;
}

std::string World::Guest(const std::string& shell_line) const {
  Result result = Rum({"exec", "--", "sh", "-c", shell_line});
  EXPECT_EQ(result.exit_status, 0) << shell_line << ": " << result.err;
  if (!result.out.empty() && result.out.back() == '\n') result.out.pop_back();
  return result.out;
}

Result World::Virsh(const std::vector<std::string>& arguments) const {
  std::vector<std::string> argv = {"virsh", "-q", "-c", file.uri};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return Run(argv, env_);
}

bool ReadJson(const std::string& json, google::protobuf::Message* message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  return google::protobuf::util::JsonStringToMessage(json, message, options).ok();
}

MachineStatus World::Status() const {
  const Result result = Rum({"-o", "json", "status"});
  MachineStatus status;
  EXPECT_TRUE(ReadJson(result.out, &status)) << result.out << result.err;
  return status;
}

std::string World::DomainName() const {
  std::istringstream names(Virsh({"list", "--all", "--name"}).out);
  std::string name;
  while (std::getline(names, name)) {
    if (name.rfind("rum-", 0) == 0) return name;
  }
  return "";
}

std::string World::RecordBytes() const {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/state")) {
    const std::string extension = entry.path().extension();
    // A record that is just being saved, with what was only seen, is in the next one's place.
    if (!entry.is_regular_file() || extension == ".log" || extension == ".new") continue;
    std::ostringstream bytes;
    bytes << std::ifstream(entry.path()).rdbuf();
    files[entry.path()] =
        entry.path().extension() == ".record" ? WithoutSights(bytes.str()) : bytes.str();
  }
  std::string all;
  for (const auto& [path, bytes] : files) all += path + "\n" + bytes + "\n";
  return all;
}

void World::StopController() const { Rum({"controller", "stop"}); }

uint16_t FreePort() {
  static std::set<uint16_t> given;
  for (;;) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(fd, reinterpret_cast<sockaddr*>(&address), size);
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    close(fd);
    if (given.insert(ntohs(address.sin_port)).second) return ntohs(address.sin_port);
  }
}

std::string ListeningPorts() {
  std::set<std::string> lines;
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream table(path);
    std::string slot, local, remote, state, rest;
    std::getline(table, rest);
    while (table >> slot >> local >> remote >> state && std::getline(table, rest)) {
      if (state == "0A") lines.insert(local);
    }
  }
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

int Connect(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval limit{20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

std::string EchoThrough(uint16_t port, const std::string& text) {
  const int fd = Connect(port);
  if (fd < 0) return "";
  std::string back(text.size(), '\0');
  const bool sent = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!sent || !ReadExactly(fd, back.data(), back.size())) back.clear();
  close(fd);
  return back;
}

EchoingConnection::EchoingConnection(uint16_t port) : fd_(Connect(port)) {
  broken_ = fd_ < 0;
  thread_ = std::thread([this] { Pump(); });
}

EchoingConnection::~EchoingConnection() {
  stop_ = true;
  thread_.join();
  if (fd_ >= 0) close(fd_);
}

void EchoingConnection::Pump() {
  uint64_t counter = 0;
  while (!stop_ && !broken_) {
    uint64_t block[128];
    uint64_t back[128];
    for (uint64_t& word : block) word = counter++;
    if (write(fd_, block, sizeof block) != static_cast<ssize_t>(sizeof block) ||
        !ReadExactly(fd_, reinterpret_cast<char*>(back), sizeof back) ||
        memcmp(block, back, sizeof block) != 0) {
      broken_ = true;
      return;
    }
    verified_ += sizeof block;
  }
}

bool EchoingConnection::Flows(uint64_t more) const {
  const uint64_t wanted = verified_ + more;
  const auto deadline = steady_clock::now() + std::chrono::seconds(30);
  while (!broken_ && verified_ < wanted && steady_clock::now() < deadline) usleep(10000);
  return !broken_ && verified_ >= wanted;
}

}  // namespace rum::e2e
