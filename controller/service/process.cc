#include "controller/service/process.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <signal.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/fleet.h"
#include "controller/listeners/forward_path.h"
#include "controller/listeners/listener_set.h"
#include "controller/service/launch.h"
#include "controller/service/server.h"
#include "state/identity.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

// A folder that is there is made private too, unless others put their files there: somebody who
// names /tmp does not want it closed.
absl::Status MakePrivateFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  struct stat info {};
  if (mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
  if (errno != EEXIST || stat(path.c_str(), &info) != 0)
    return absl::InternalError(absl::StrCat("create ", path, ": ", std::strerror(errno)));
  if (!S_ISDIR(info.st_mode)) return absl::FailedPreconditionError(path + " is not a folder");
  if (info.st_uid != geteuid() || (info.st_mode & (S_ISVTX | S_IWOTH)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is shared with other users: rum needs a folder of its own"));
  }
  if (chmod(path.c_str(), 0700) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
}

void SetUpLog() {
  try {
    spdlog::set_default_logger(
        spdlog::rotating_logger_mt("rum", StateDir() + "/controller.log", 4 * 1024 * 1024, 2));
  } catch (const spdlog::spdlog_ex&) {
    spdlog::set_default_logger(spdlog::stderr_logger_mt("rum"));
  }
  const char* level = std::getenv("RUM_LOG");
  spdlog::set_level(level != nullptr ? spdlog::level::from_str(level) : spdlog::level::info);
  spdlog::flush_on(spdlog::level::info);
}

// One controller for each runtime folder; the lock goes with the process, however it ends.
absl::StatusOr<int> TakeLock() {
  const std::string path = RuntimeDir() + "/controller.lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return absl::AlreadyExistsError("a controller runs already (`rum controller status`)");
}

ControllerParts RealParts(std::unique_ptr<StateStore> store, const std::string& agent_binary) {
  ControllerParts parts;
  parts.hypervisor = [agent_binary](const std::string& uri,
                                    std::function<void(const std::string&)> on_event) {
    return ConnectLibvirt(uri, agent_binary, std::move(on_event));
  };
  parts.agent = ConnectGuestAgent;
  parts.listeners = [](GuestRoute route) { return MakeListenerSet(std::move(route)); };
  parts.forwards = [](ChannelOpener open) {
    auto path = std::make_shared<ForwardPath>(std::move(open));
    return ForwardWay{path->carrier(), path};
  };
  parts.store = std::move(store);
  parts.key_folder = StateDir() + "/keys";
  return parts;
}

// Every forwarded connection is a descriptor, and 1,024 are allowed by default.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) spdlog::warn("descriptor limit not raised");
}

// How long a controller that was started by itself stays when there is no machine to look after.
absl::Duration IdleLimit() {
  const char* text = std::getenv("RUM_CONTROLLER_IDLE_S");
  double seconds = 0;
  return text != nullptr && absl::SimpleAtod(text, &seconds) ? absl::Seconds(seconds)
                                                             : absl::Seconds(60);
}

// A call that does not end (a command that ignores its hangup, libvirt that hangs) must not keep
// the process: the records are right at any moment, and whoever comes next goes on from them.
void EndSoonWhateverHappens() {
  std::thread([] {
    absl::SleepFor(absl::Milliseconds(1600));
    spdlog::warn("controller ends with calls under way");
    _exit(0);
  }).detach();
}

absl::Status Serve(int ready_fd) {
  for (const std::string& folder : {StateDir(), RuntimeDir(), DataDir()}) {
    if (const absl::Status status = MakePrivateFolder(folder); !status.ok()) return status;
  }
  SetUpLog();
  RaiseDescriptorLimit();
  const absl::StatusOr<int> lock = TakeLock();
  if (!lock.ok()) return lock.status();
  auto store = OpenFileStateStore(StateDir());
  if (!store.ok()) return store.status();
  const std::string agent = FindAgentBinary();
  if (agent.empty())
    return absl::NotFoundError("rum-agent was not found: set RUM_AGENT to the static binary");

  Controller controller(RealParts(*std::move(store), agent));
  const auto on_stop = [] { kill(getpid(), SIGTERM); };
  auto server = ControlServer::Listen(ControllerSocketPath(), &controller, on_stop,
                                      ready_fd >= 0 ? IdleLimit() : absl::InfiniteDuration());
  if (!server.ok()) return server.status();
  if (const absl::Status status = controller.Start(); !status.ok())
    spdlog::error("start: {}", std::string(status.message()));
  if (ready_fd >= 0 && write(ready_fd, "ok\n", 3) == 3) close(ready_fd);
  spdlog::info("controller started pid={} version={}", getpid(), kVersion);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  int signal = 0;
  sigwait(&ends, &signal);
  spdlog::info("controller stops signal={}", signal);
  EndSoonWhateverHappens();
  controller.Stop();
  server->reset();
  close(*lock);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunController(int ready_fd) {
  // Before any thread: all of them leave these to sigwait.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  signal(SIGPIPE, SIG_IGN);
  grpc_init();  // for good: the end of the last user waits up to 10 s
  const absl::Status status = Serve(ready_fd);
  if (!status.ok() && ready_fd >= 0) {
    const std::string text = absl::IsAlreadyExists(status) ? kTaken : std::string(status.message());
    if (write(ready_fd, text.data(), text.size()) < 0) return status;
  }
  return status;
}

std::string FindAgentBinary() {
  if (const char* named = std::getenv("RUM_AGENT"); named != nullptr && *named != '\0')
    return named;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path folder = self.parent_path();
  for (const fs::path& path : {folder / "rum-agent", folder / "../lib/rum/rum-agent",
                               folder / "../../agent-api/guest/rum-agent"}) {
    if (fs::is_regular_file(path, error)) return fs::canonical(path, error);
  }
  return "";
}

}  // namespace rum
