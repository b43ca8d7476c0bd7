// rum-controller: what `rum controller run` becomes. Its words are rum's, so that it reads as that
// in a list of processes: rum controller run --ready-fd N [--replace], where N is -1 if nobody
// waits for it. And what `rum doctor` asks of libvirt, which rum is not linked with: rum-controller
// look URI writes a control.LibvirtLook.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent-api/standard_streams.h"
#include "controller/base/shown_text.h"
#include "controller/guests/guest_side.h"
#include "controller/guests/zygote.h"
#include "controller/hypervisor/host_look.h"
#include "controller/service/launch.h"
#include "controller/service/process.h"

namespace {

[[noreturn]] void Look(const std::string& uri) {
  rum::control::LibvirtLook look = rum::LookAtLibvirt(uri);
  look.set_rum_version(rum::kVersion);
  look.set_agent_path(rum::FindAgentBinary());
  const bool written = look.SerializeToFileDescriptor(STDOUT_FILENO);
  _exit(written ? 0 : 1);  // libvirt's threads go on
}

}  // namespace

int main(int argc, char** argv) {
  rum::HoldStandardStreams();
  if (argc == 3 && std::string(argv[1]) == "look") Look(argv[2]);
  const bool replace = argc == 6 && std::string(argv[5]) == "--replace";
  if ((argc != 5 && !replace) || std::string(argv[3]) != "--ready-fd") {
    std::fputs("rum-controller is started by: rum controller run\n", stderr);
    return 2;
  }
  // Before there is anything that a guest's process is not to have; without it, machines say so.
  if (absl::Status started = rum::StartZygote(argc, argv, rum::BeGuestProcess); !started.ok()) {
    std::fprintf(stderr, "rum: no processes for guests: %s\n",
                 std::string(started.message()).c_str());
  }
  const int ready_fd = std::atoi(argv[4]);
  if (ready_fd >= 0) fcntl(ready_fd, F_SETFD, FD_CLOEXEC);
  const absl::Status status = rum::RunController(ready_fd, replace);
  if (status.ok()) return 0;
  std::fprintf(stderr, "rum: %s\n", rum::OneLine(std::string(status.message()), true).c_str());
  return 1;
}
