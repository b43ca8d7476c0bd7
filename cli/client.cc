#include "cli/client.h"

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "controller/service/process.h"
#include "controller/service/server.h"

namespace rum {
namespace {

// A socket that nobody listens on any more refuses at once; gRPC would go on trying.
bool SomebodyListens(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool listens = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return listens;
}

struct Connection {
  std::unique_ptr<control::Control::Stub> stub;
  control::InfoReply info;
};

absl::StatusOr<Connection> TryConnect() {
  const std::string path = ControllerSocketPath();
  if (!SomebodyListens(path)) return absl::UnavailableError("no controller runs");
  Connection connection;
  connection.stub = control::Control::NewStub(
      grpc::CreateChannel(absl::StrCat("unix:", path), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  const grpc::Status status =
      connection.stub->Info(&context, control::InfoRequest(), &connection.info);
  if (status.ok()) return connection;
  return absl::UnavailableError(
      absl::StrCat("the controller does not answer: ", status.error_message()));
}

// Asks the controller to end and waits until its process is gone.
void Replace(const Connection& old) {
  grpc::ClientContext context;
  control::StopReply reply;
  old.stub->Stop(&context, control::StopRequest(), &reply);
  while (kill(old.info.pid(), 0) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

}  // namespace

absl::StatusOr<std::unique_ptr<control::Control::Stub>> ConnectController(bool start) {
  absl::StatusOr<Connection> connection = TryConnect();
  if (!start) {
    if (!connection.ok()) return connection.status();
    return std::move(connection->stub);
  }
  if (connection.ok() && connection->info.version() != kVersion) {
    Replace(*connection);
    connection = absl::UnavailableError("replaced");
  }
  if (!connection.ok()) {
    const absl::Status started = StartController();
    connection = TryConnect();
    // Two clients may start one at the same time: the one that lost finds the other's.
    if (!connection.ok()) return started.ok() ? connection.status() : started;
  }
  return std::move(connection->stub);
}

}  // namespace rum
