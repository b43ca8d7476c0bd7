// rum-agent: runs in the guest, in the foreground, under any init.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "agent-api/channel/guest_link.h"
#include "agent-api/guest/run_keeper.h"
#include "agent-api/guest/scripts.h"
#include "agent-api/guest/service.h"
#include "agent-api/guest/storage.h"
#include "agent-api/protocol.h"
#include "agent-api/guest/unattended_boot.h"

namespace {

// Opens the port; udev may be about to make its node, so that a missing one is waited for.
int OpenPort(const std::string& path) {
  for (;;) {
    const int fd = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0 || (errno != ENOENT && errno != EBUSY && errno != ENXIO)) return fd;
    usleep(50 * 1000);
  }
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
  if (argc == 4 && std::strcmp(argv[1], rum::guest::kKeepRun) == 0) {
    return rum::guest::KeepRun(argv[2], static_cast<uint32_t>(std::atoi(argv[3])));
  }
  CLI::App app("The guest's part of rum: applies what the host asks for over a virtio port.",
               "rum-agent");
  std::string port = "/dev/virtio-ports/org.rum.agent.0";
  std::string folder = "/var/lib/rum";
  int port_fd = -1;
  app.add_option("--port", port, "the port's device")->capture_default_str();
  app.add_option("--port-fd", port_fd, "an open descriptor in place of --port");
  app.add_option("--state", folder, "where the ledger of scripts and their outputs live")
      ->capture_default_str();
  app.set_version_flag("--version", kVersion);
  CLI11_PARSE(app, argc, argv);

  signal(SIGPIPE, SIG_IGN);
  // An init that started us without standard streams: no other descriptor may take their numbers.
  int standard = open("/dev/null", O_RDWR);
  while (standard >= 0 && standard <= STDERR_FILENO) standard = open("/dev/null", O_RDWR);
  close(standard);
  rum::guest::BlankUnfinishedDrives();
  rum::guest::Scripts scripts(folder);
  rum::guest::AgentServer server(&scripts, {Self(), kVersion});
  rum::guest::UnattendedBoot unattended(&scripts);
  if (port_fd >= 0) {
    fcntl(port_fd, F_SETFL, fcntl(port_fd, F_GETFL) | O_NONBLOCK);
    fcntl(port_fd, F_SETFD, FD_CLOEXEC);
  }
  const int fd = port_fd >= 0 ? port_fd : OpenPort(port);
  if (fd < 0) {
    std::fprintf(stderr, "rum-agent: %s: %s\n", port.c_str(), std::strerror(errno));
    return 1;
  }
  const std::string error = rum::ServeGuestLink(fd, server.replaced(), [&](int socket) {
    unattended.HostCame(socket);
    server.Serve(socket);
  });
  if (error.empty()) {
    // The same process with another program: what it started stays its own, and the session ends by
    // the new one's RESET.
    if (port_fd >= 0) fcntl(port_fd, F_SETFD, 0);
    execv(Self().c_str(), argv);
  }
  std::fprintf(stderr, "rum-agent: %s\n", error.empty() ? std::strerror(errno) : error.c_str());
  // Runs and sessions have threads of their own; whoever started us starts us again.
  _exit(1);
}
