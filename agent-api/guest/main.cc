// rum-agent: runs in the guest, in the foreground, under any init.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "agent-api/channel/guest_link.h"
#include "agent-api/forward/guest_end.h"
#include "agent-api/forward/stream_server.h"
#include "agent-api/forward/vsock.h"
#include "agent-api/guest/memory.h"
#include "agent-api/guest/run_keeper.h"
#include "agent-api/guest/scripts.h"
#include "agent-api/guest/service.h"
#include "agent-api/guest/spawn.h"
#include "agent-api/guest/storage.h"
#include "agent-api/guest/unattended_boot.h"
#include "agent-api/protocol.h"
#include "agent-api/standard_streams.h"

namespace {

constexpr int kSoonTries = 200;

// Opens the port; udev may be about to make its node, so that a missing one is waited for.
int OpenPort(const std::string& path) {
  for (int tries = 0;; ++tries) {
    const int fd = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0 || (errno != ENOENT && errno != EBUSY && errno != ENXIO)) return fd;
    // Ten seconds after the start nobody waits any more: the machine may be of before this port.
    usleep(tries < kSoonTries ? 50 * 1000 : 2000 * 1000);
  }
}

void PrepareDescriptor(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

// Forwarded connections have a port and a thread of their own, so that they never hold up what the
// controller asks. `given`: an open descriptor, or -1.
void ServeForwards(const std::string& port, int given) {
  for (int fd = given >= 0 ? given : OpenPort(port); fd >= 0; fd = OpenPort(port)) {
    const std::string why = rum::GuestEnd(fd).Serve();
    std::fprintf(stderr, "rum-agent: %s: %s\n", port.c_str(), why.c_str());
    if (given >= 0) return;
    usleep(1000 * 1000);
  }
}

// A vsock each for connections where the host has that; a kernel without it is asked no more.
// `given`: a listening descriptor in its place, or -1.
void ServeForwardsByVsock(const rum::ToldSecret* secret, int given) {
  const int listening = given >= 0 ? given : rum::ListenVsock(rum::kForwardVsockPort);
  if (listening < 0) return;
  boost::asio::io_context io;
  const rum::StreamServer server(io, listening, [secret] { return secret->Get(); });
  io.run();
}

std::atomic<int> agent_port = -1;

// Whoever shuts the guest down, or stops the agent, sends SIGTERM. For good: all threads leave it
// to this one, and what is spawned gets a mask of its own.
void EndByItself(const sigset_t& term) {
  int number = 0;
  sigwait(&term, &number);
  if (agent_port >= 0) rum::EndSessionAtHost(agent_port);
  _exit(0);
}

#ifdef RUM_AGENT_VERSION
constexpr char kVersion[] = RUM_AGENT_VERSION;  // tests make another build
#else
constexpr const char* kVersion = rum::kAgentVersion;
#endif

// Where the program was started from, also after it has been replaced.
const std::string& Self() {
  static const auto* const self = [] {
    std::error_code error;
    return new std::string(std::filesystem::read_symlink("/proc/self/exe", error));
  }();
  return *self;
}

}  // namespace

int main(int argc, char** argv) {
  rum::HoldStandardStreams();  // an init may start us without
  if (argc == 4 && std::strcmp(argv[1], rum::guest::kKeepRun) == 0) {
    return rum::guest::KeepRun(argv[2], static_cast<uint32_t>(std::atoi(argv[3])));
  }
  CLI::App app("The guest's part of rum: applies what the host asks for over a virtio port.",
               "rum-agent");
  std::string port = "/dev/virtio-ports/org.rum.agent.0";
  std::string forward_port = "/dev/virtio-ports/org.rum.forward.0";
  std::string folder = "/var/lib/rum";
  std::string system;
  int port_fd = -1;
  int forward_fd = -1;
  int stream_fd = -1;
  app.add_option("--port", port, "the port's device")->capture_default_str();
  app.add_option("--port-fd", port_fd, "an open descriptor in place of --port");
  app.add_option("--forward-port", forward_port, "the device for port forwards")
      ->capture_default_str();
  app.add_option("--forward-fd", forward_fd, "an open descriptor in place of --forward-port");
  app.add_option("--stream-fd", stream_fd,
                 "a listening socket in place of the vsock that port forwards come by");
  app.add_option("--state", folder, "where the ledger of scripts and their outputs live")
      ->capture_default_str();
  app.add_option("--system", system,
                 "the kernel's folder of CPUs and memory; with --port-fd: none");
  app.set_version_flag("--version", kVersion);
  CLI11_PARSE(app, argc, argv);

  // As Debian builds abseil, each lock of gRPC's looks for a deadlock, which costs an emulated CPU.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  signal(SIGPIPE, SIG_IGN);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, nullptr);
  std::thread(EndByItself, term).detach();
  rum::guest::RaiseDescriptorLimit();  // a connection is one, and systemd allows 1,024
  rum::guest::BlankUnfinishedDrives();
  if (system.empty() && port_fd < 0) system = "/sys/devices/system";
  if (!system.empty()) {
    const absl::Status online = rum::guest::BringMemoryOnline(system);
    if (!online.ok()) std::fprintf(stderr, "rum-agent: %s\n", online.ToString().c_str());
  }
  rum::guest::Scripts scripts(folder);
  static rum::ToldSecret secret;  // as long as the threads that ask for it
  rum::guest::AgentServer server(&scripts, {Self(), kVersion, system}, &secret);
  rum::guest::UnattendedBoot unattended(&scripts);
  if (port_fd >= 0) PrepareDescriptor(port_fd);
  if (forward_fd >= 0) PrepareDescriptor(forward_fd);
  if (stream_fd >= 0) PrepareDescriptor(stream_fd);
  if (forward_fd >= 0 || port_fd < 0) std::thread(ServeForwards, forward_port, forward_fd).detach();
  if (stream_fd >= 0 || port_fd < 0) std::thread(ServeForwardsByVsock, &secret, stream_fd).detach();
  const int fd = port_fd >= 0 ? port_fd : OpenPort(port);
  if (fd < 0) {
    std::fprintf(stderr, "rum-agent: %s: %s\n", port.c_str(), std::strerror(errno));
    return 1;
  }
  agent_port = fd;
  const std::string error = rum::ServeGuestLink(fd, server.replaced(), [&](int socket) {
    unattended.HostCame(socket);
    server.Serve(socket);
  });
  if (error.empty()) {
    // The same process with another program: what it started stays its own, and the session ends by
    // the new one's RESET.
    if (port_fd >= 0) fcntl(port_fd, F_SETFD, 0);
    if (forward_fd >= 0) fcntl(forward_fd, F_SETFD, 0);
    if (stream_fd >= 0) fcntl(stream_fd, F_SETFD, 0);
    rum::guest::RestoreDescriptorLimit();
    execv(Self().c_str(), argv);
  }
  std::fprintf(stderr, "rum-agent: %s\n", error.empty() ? std::strerror(errno) : error.c_str());
  // Runs and sessions have threads of their own; whoever started us starts us again.
  _exit(1);
}
