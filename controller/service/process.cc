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
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/steady_now.h"
#include "agent-api/threads.h"
#include "controller/fleet/fleet.h"
#include "controller/guests/guest_link.h"
#include "controller/listeners/inherited.h"
#include "controller/listeners/io_thread.h"
#include "controller/listeners/listener_set.h"
#include "controller/listeners/socket_file.h"
#include "controller/service/handover.h"
#include "controller/service/launch.h"
#include "controller/service/log_format.h"
#include "controller/service/metrics_page.h"
#include "controller/service/own_socket.h"
#include "controller/service/server.h"
#include "controller/service/service_notify.h"
#include "state/file.h"
#include "state/identity.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

absl::Status WithDoctor(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(std::string(status.message()),
                                                  "; `rum doctor` looks at all of rum's folders"));
}

// A folder that is there is made private too, unless others put their files there: somebody who
// names /tmp does not want it closed.
absl::Status MakePrivateFolder(const std::string& path) {
  MakeFolders(fs::path(path).parent_path(), 0777).IgnoreError();  // mkdir says why
  struct stat info {};
  if (mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
  if (errno != EEXIST || stat(path.c_str(), &info) != 0) return WithDoctor(DiskError(errno, path));
  if (!S_ISDIR(info.st_mode)) return absl::FailedPreconditionError(path + " is not a folder");
  if (info.st_uid != geteuid() || (info.st_mode & (S_ISVTX | S_IWOTH)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        path,
        " is shared with other users: rum needs a folder of its own (RUM_STATE_DIR and "
        "RUM_RUNTIME_DIR name others)"));
  }
  if (chmod(path.c_str(), 0700) == 0) return absl::OkStatus();
  return WithDoctor(DiskError(errno, path));
}

void SetUpLog() {
  try {
    spdlog::set_default_logger(
        spdlog::rotating_logger_mt("rum", StateDir() + "/controller.log", 4 * 1024 * 1024, 2));
  } catch (const spdlog::spdlog_ex&) {
    spdlog::set_default_logger(spdlog::stderr_logger_mt("rum"));
  }
  // What systemd starts is read with journalctl.
  if (std::getenv("JOURNAL_STREAM") != nullptr) {
    spdlog::default_logger()->sinks().push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  }
  spdlog::set_formatter(MakeLogFormat());
  const char* level = std::getenv("RUM_LOG");
  const auto known = spdlog::level::from_str(level != nullptr ? level : "info");
  // It calls what it does not know "off", too.
  const bool wrong = known == spdlog::level::off && std::string(level) != "off";
  spdlog::set_level(wrong ? spdlog::level::info : known);
  spdlog::flush_on(spdlog::level::debug);
  if (wrong) {
    spdlog::warn(
        "RUM_LOG is none of trace, debug, info, warning, error, critical, off value=\"{}\"", level);
  }
}

// One controller for each runtime folder; the lock goes with the process, however it ends.
absl::StatusOr<Fd> TakeLock() {
  const std::string path = RuntimeDir() + "/controller.lock";
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  return absl::AlreadyExistsError("a controller runs already (`rum controller status`)");
}

// Tries again while `take` fails because of a controller that is about to end.
template <typename Take>
auto TakeAfter(absl::Time deadline, Take take) {
  auto taken = take();
  while (!taken.ok() && SteadyNow() < deadline &&
         (absl::IsAlreadyExists(taken.status()) || absl::IsFailedPrecondition(taken.status()))) {
    absl::SleepFor(absl::Milliseconds(2));
    taken = take();
  }
  return taken;
}

std::string HandoverPath() { return RuntimeDir() + "/handover.sock"; }

// What the controllers before this one left: the one that runs, if this is to replace it, and the
// one that systemd ended last.
void InheritAll(bool replace) {
  if (replace) {
    absl::StatusOr<std::vector<Fd>> sockets = TakeOver(HandoverPath(), absl::Seconds(5));
    if (sockets.ok()) {
      spdlog::info("took over sockets={}", sockets->size());
      Inherit(*std::move(sockets));
    } else {
      spdlog::info("took nothing over reason=\"{}\"", std::string(sockets.status().message()));
    }
  }
  Inherit(SocketsOfService());
}

// Where a machine is made is for whoever says `up`, not for the shell that happened to start this
// process: libvirt is not to find the variable. Machines of builds that did not record their
// libvirt are where it says.
std::string TakeDefaultUri() {
  const char* uri = std::getenv("LIBVIRT_DEFAULT_URI");
  const std::string taken = uri == nullptr ? "" : uri;
  unsetenv("LIBVIRT_DEFAULT_URI");
  return taken;
}

ControllerParts RealParts(std::unique_ptr<StateStore> store, const std::string& agent_binary,
                          const std::string& default_uri) {
  ControllerParts parts;
  parts.default_uri = default_uri;
  parts.hypervisor = [agent_binary](const std::string& uri,
                                    std::function<void(const std::string&)> on_event) {
    return ConnectLibvirt(uri, agent_binary, std::move(on_event));
  };
  parts.guest = [agent_binary](const std::string& machine, ChannelOpener open,
                               std::function<void()> on_change) {
    return LinkGuest(machine, std::move(open), std::move(on_change), agent_binary);
  };
  parts.listeners = [](GuestRoute route) { return MakeListenerSet(std::move(route)); };
  parts.store = std::move(store);
  parts.key_folder = StateDir() + "/keys";
  parts.run_folder = StateDir() + "/runs";
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
  absl::StatusOr<std::thread> end = StartThread([] {
    absl::SleepFor(absl::Milliseconds(1600));
    spdlog::warn("controller ends with calls under way");
    _exit(0);
  });
  if (end.ok()) return end->detach();
  signal(SIGALRM, [](int) { _exit(0); });
  alarm(2);
}

// Waits for SIGTERM or SIGINT; meanwhile closes what nobody inherits, once it can be told.
int WaitForEnd(Controller* controller) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  const absl::Time deadline = SteadyNow() + absl::Seconds(10);
  bool heirless = false;
  while (true) {
    if (!heirless && (controller->Settled() || SteadyNow() > deadline)) {
      heirless = true;
      const std::vector<Fd> left = TakeInherited();
      RemoveFilesOf(left);
      if (!left.empty())
        spdlog::info("closed sockets that no machine wants any more count={}", left.size());
    }
    const timespec soon = absl::ToTimespec(absl::Milliseconds(50));
    const int signal = heirless ? sigwaitinfo(&ends, nullptr) : sigtimedwait(&ends, nullptr, &soon);
    if (signal > 0) return signal;
  }
}

// First of all, while a successor, if there is one, waits: a call that is stuck must not cost him
// the sockets.
void HandOver(Handover* handover, ControlServer* server) {
  if (!handover->Close()) {
    if (std::getenv("NOTIFY_SOCKET") != nullptr) StoreWithService(GiveUpListening());
    return;
  }
  std::vector<Fd> sockets = GiveUpListening();
  sockets.push_back(server->GiveUpListening());
  const absl::Status given = handover->Give(sockets);
  spdlog::info("handed over sockets={} status=\"{}\"", sockets.size(), given.ToString());
}

absl::Status Serve(int ready_fd, bool replace, const std::string& default_uri) {
  // Before anything is made: the folder of another user must not get one of ours into it.
  if (absl::Status judged = JudgeSocketFolder(RuntimeDir());
      !judged.ok() && !absl::IsNotFound(judged)) {
    return judged;
  }
  for (const std::string& folder : {StateDir(), RuntimeDir(), DataDir()}) {
    if (const absl::Status status = MakePrivateFolder(folder); !status.ok()) return status;
  }
  SetUpLog();
  RaiseDescriptorLimit();
  if (absl::Status started = StartIoThread(); !started.ok()) return started;
  const std::string agent = FindAgentBinary();
  if (agent.empty())
    return absl::NotFoundError("rum-agent was not found: set RUM_AGENT to the static binary");
  InheritAll(replace);
  const absl::Time deadline = replace ? SteadyNow() + absl::Seconds(5) : absl::InfinitePast();
  absl::StatusOr<Fd> lock = TakeAfter(deadline, TakeLock);
  if (!lock.ok()) return lock.status();
  auto store = TakeAfter(deadline, [] { return OpenFileStateStore(StateDir()); });
  if (!store.ok()) return store.status();

  Controller controller(RealParts(*std::move(store), agent, default_uri));
  const auto on_stop = [] { kill(getpid(), SIGTERM); };
  auto server = ControlServer::Listen(ControllerSocketPath(), &controller, on_stop,
                                      ready_fd >= 0 ? IdleLimit() : absl::InfiniteDuration());
  if (!server.ok()) return server.status();
  auto handover = Handover::Offer(HandoverPath(), on_stop);
  if (!handover.ok()) return handover.status();
  // Machines matter more than being watched.
  const auto page =
      MetricsPage::FromEnvironment([&controller] { return controller.CollectMetrics(); });
  if (!page.ok())
    spdlog::error("no metrics page error=\"{}\"", std::string(page.status().message()));
  if (const absl::Status status = controller.Start(); !status.ok())
    spdlog::error("start: {}", std::string(status.message()));
  if (ready_fd >= 0 && write(ready_fd, "ok\n", 3) == 3) close(ready_fd);
  TellService(absl::StrCat("READY=1\nMAINPID=", getpid(), "\nSTATUS=version ", kVersion));
  auto watchdog = std::make_unique<Watchdog>([&controller] { controller.Settled(); });
  spdlog::info("controller started pid={} version={}", getpid(), kVersion);
  const int signal = WaitForEnd(&controller);
  spdlog::info("controller stops signal={}", signal);
  TellService("STOPPING=1");
  watchdog.reset();
  EndSoonWhateverHappens();
  HandOver(handover->get(), server->get());
  controller.Stop();
  server->reset();
  return absl::OkStatus();
}

// The threads that are there from the start to the end may not be to be had.
absl::Status ServeWithThreads(int ready_fd, bool replace, const std::string& default_uri) {
  try {
    return Serve(ready_fd, replace, default_uri);
  } catch (const std::system_error& error) {
    return NoThread(error);
  }
}

}  // namespace

absl::Status RunController(int ready_fd, bool replace) {
  // Before any thread: all of them leave these to sigwait.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const std::string default_uri = TakeDefaultUri();  // before any thread may read it
  grpc_init();  // for good: the end of the last user waits up to 10 s
  const absl::Status status = ServeWithThreads(ready_fd, replace, default_uri);
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
