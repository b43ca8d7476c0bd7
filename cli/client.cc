#include "cli/client.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/call_deadline.h"
#include "cli/user_service.h"
#include "controller/service/call_status.h"
#include "controller/service/launch.h"
#include "controller/service/own_socket.h"
#include "state/identity.h"

namespace rum {
namespace {

constexpr std::chrono::milliseconds kPatience{10000};

// Unavailable: nobody listens. PermissionDenied: it is not our controller's, or may not be; nothing
// was said to it. gRPC would go on trying, and its names, policies and attempts take longer than a
// call.
absl::StatusOr<int> ConnectTo(const std::string& path) {
  const absl::Status nobody = absl::UnavailableError("no controller runs");
  const absl::Status judged = JudgeSocket(path);
  if (!judged.ok()) return absl::IsNotFound(judged) ? nobody : judged;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return nobody;
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                         fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
  absl::Status peer = connected ? JudgePeer(fd, path) : nobody;
  if (peer.ok()) return fd;
  close(fd);
  return peer;
}

struct Connection {
  std::unique_ptr<control::Control::Stub> stub;
  control::InfoReply info;
};

absl::StatusOr<Connection> TryConnect() {
  const absl::StatusOr<int> fd = ConnectTo(ControllerSocketPath());
  if (!fd.ok()) return fd.status();
  Connection connection;
  connection.stub =
      control::Control::NewStub(grpc::CreateInsecureChannelFromFd("rum-controller", *fd));
  grpc::ClientContext context;
  context.set_deadline(After(kPatience));
  const grpc::Status status =
      connection.stub->Info(&context, control::InfoRequest(), &connection.info);
  if (status.ok()) return connection;
  if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED)
    return absl::UnavailableError(WhyItFailed(status));
  return absl::DeadlineExceededError(
      "the controller takes connections and does not answer: `rum controller stop` ends it; "
      "machines go on running");
}

// Whether a process of ours has this very file open.
bool HasOpen(pid_t pid, const struct stat& file) {
  std::error_code error;
  for (std::filesystem::directory_iterator fd(absl::StrCat("/proc/", pid, "/fd"), error), end;
       !error && fd != end; fd.increment(error)) {
    struct stat opened {};
    if (stat(fd->path().c_str(), &opened) == 0 && opened.st_dev == file.st_dev &&
        opened.st_ino == file.st_ino) {
      return true;
    }
  }
  return false;
}

// The process of ours that has the controller's lock; 0: there is none that can be seen. Whose a
// socket is does not tell: it may have been handed on, or be systemd's.
pid_t HolderOfLock() {
  struct stat lock {};
  if (stat((RuntimeDir() + "/controller.lock").c_str(), &lock) != 0) return 0;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    // "1: FLOCK  ADVISORY  WRITE 812 00:2f:57 0 EOF"
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    pid_t pid = 0;
    if (words.size() > 5 && words[1] == "FLOCK" && words[3] == "WRITE" &&
        absl::EndsWith(words[5], absl::StrCat(":", lock.st_ino)) &&
        absl::SimpleAtoi(words[4], &pid) && pid > 0 && HasOpen(pid, lock)) {
      return pid;
    }
  }
  return 0;
}

bool IsOfService(const absl::StatusOr<Connection>& connection) {
  return connection.ok() && IsService(connection->info.pid());
}

// `service`: systemd runs the one that is there, and so the next one.
absl::Status StartNext(bool service, bool replace) {
  return service ? RestartService() : StartController(replace);
}

}  // namespace

Fd LockReplacing() {
  Fd fd(open((RuntimeDir() + "/replace.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
             0600));
  if (fd.ok()) flock(fd.get(), LOCK_EX);
  return fd;
}

absl::Status ReplaceController() {
  grpc_init();  // as below
  const Fd replacing = LockReplacing();
  absl::StatusOr<Connection> connection = TryConnect();
  if (absl::IsDeadlineExceeded(connection.status())) EndSilentController().IgnoreError();
  const bool service = IsOfService(connection);
  connection = absl::UnavailableError("");  // the old one waits a moment for connections to end
  return StartNext(service, true);
}

absl::Status StopController(std::unique_ptr<control::Control::Stub> stub) {
  control::InfoReply info;
  {
    grpc::ClientContext context;
    context.set_deadline(After(kPatience));
    const grpc::Status status = stub->Info(&context, control::InfoRequest(), &info);
    if (!status.ok()) return absl::UnavailableError(WhyItFailed(status));
  }
  const int process = static_cast<int>(syscall(SYS_pidfd_open, info.pid(), 0));
  {
    grpc::ClientContext context;
    control::StopReply reply;
    context.set_deadline(After(kPatience));
    stub->Stop(&context, control::StopRequest(), &reply);
  }
  stub.reset();  // the controller waits a moment for connections to end
  pollfd gone{process, POLLIN, 0};
  const bool left = process >= 0 && poll(&gone, 1, static_cast<int>(kPatience.count())) != 1;
  if (process >= 0) close(process);
  return left ? absl::DeadlineExceededError("the controller did not stop within 10 s")
              : absl::OkStatus();
}

absl::Status EndSilentController() {
  const pid_t pid = HolderOfLock();
  const int process = pid > 0 ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0)) : -1;
  // Of the descriptor: its number may be another process' by now.
  const bool is_it = process >= 0 && HolderOfLock() == pid;
  const bool told = is_it && syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0) == 0;
  pollfd gone{process, POLLIN, 0};
  const bool ended = told && poll(&gone, 1, static_cast<int>(kPatience.count())) == 1;
  if (process >= 0) close(process);
  return ended ? absl::OkStatus()
               : absl::UnavailableError(absl::StrCat(
                     "the controller does not answer, and its process could not be ended; `ps -C "
                     "rum-controller` shows it, ",
                     RuntimeDir(), "/controller.lock is what it holds"));
}

absl::StatusOr<std::unique_ptr<control::Control::Stub>> ConnectController(bool start) {
  // For the life of the process: when the last channel of all ends, gRPC 1.51 ends its threads, one
  // of which may be in a poll of up to 10 s.
  grpc_init();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  bool tried = false;  // to have another one
  Fd replacing;
  for (;;) {
    absl::StatusOr<Connection> connection = TryConnect();
    const bool usable = connection.ok() && connection->info.version() == kVersion;
    const bool current = usable && (tried || !connection->info.outdated());
    if (connection.ok() && (!start || current)) return std::move(connection->stub);
    if (!start || absl::IsPermissionDenied(connection.status())) return connection.status();
    if (connection.ok() && !replacing.ok()) {
      replacing = LockReplacing();
      if (replacing.ok()) continue;
    }
    // One of another version, or whose program was replaced, hands over to its successor; one that
    // is too old for that is stopped.
    const bool service = IsOfService(connection);
    absl::Status started = StartNext(service, connection.ok());
    if (service && !started.ok()) started = StartController(true);
    if (connection.ok() && !usable && absl::IsAlreadyExists(started) &&
        StopController(std::move(connection->stub)).ok()) {
      started = StartController();
    }
    // Another client was faster; or there is no other program yet, in the middle of a build.
    const bool look_again = absl::IsAlreadyExists(started) || (usable && !tried);
    if (!started.ok() && !look_again) return started;
    tried = true;
    if (std::chrono::steady_clock::now() > deadline) {
      if (absl::IsDeadlineExceeded(connection.status())) return connection.status();
      return absl::UnavailableError(
          "a controller has the lock but does not answer; see controller.log");
    }
    // The other client's controller will listen in a moment; or an old one is about to end.
    if (!started.ok()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace rum
