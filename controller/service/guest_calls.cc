#include "controller/service/guest_calls.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "agent-api/agent.pb.h"
#include "agent-api/channel/socket_io.h"
#include "agent-api/threads.h"
#include "controller/service/call_status.h"
#include "controller/service/known_hosts.h"
#include "controller/service/shell_start.h"

namespace rum {
namespace {

template <typename Message>
void Tell(const Message& message, TunnelStream* stream) {
  control::ExecMessage reply;
  message.SerializeToString(reply.mutable_agent_message());
  stream->Write(reply);
}

absl::StatusOr<int> DialAndWait(GuestAgent* agent, uint16_t port) {
  const auto dialed = std::make_shared<std::promise<absl::StatusOr<int>>>();
  agent->Dial(port, [dialed](absl::StatusOr<int> fd) { dialed->set_value(std::move(fd)); });
  absl::StatusOr<int> fd = dialed->get_future().get();
  if (fd.ok()) fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) & ~O_NONBLOCK);
  return fd;
}

void PassToClient(int fd, DialStream* stream) {
  std::string buffer(64 * 1024, '\0');
  control::DialMessage message;
  for (;;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    message.set_data(buffer.data(), static_cast<size_t>(n));
    if (!stream->Write(message)) return;
  }
  message.clear_data();
  message.set_end(true);
  stream->Write(message);
}

// Passes bytes both ways until both are over; `fd` is closed then.
grpc::Status Converse(int fd, DialStream* stream) {
  absl::StatusOr<std::thread> to_client = StartThread([&] { PassToClient(fd, stream); });
  if (!to_client.ok()) {
    close(fd);
    return ToGrpc(to_client.status());
  }
  control::DialMessage message;
  bool ended = false;
  while (stream->Read(&message) && SendAll(fd, message.data())) {
    if (message.end()) ended = true, shutdown(fd, SHUT_WR);
  }
  // A client that is gone breaks the connection; one that has ended it waits for the answer.
  if (!ended) shutdown(fd, SHUT_RDWR);
  to_client->join();
  close(fd);
  return grpc::Status::OK;
}

std::string UserOf(const Ssh& ssh) { return ssh.user().empty() ? "rum" : ssh.user(); }

// The guest, and of a shell who its user is and where it begins.
absl::StatusOr<GuestAccess> GuestFor(Controller* controller, const control::ExecMessage& message,
                                     agent::ExecStart* start) {
  const auto machine = controller->FindMade(message.config_path());
  if (!machine.ok()) return machine.status();
  if (!message.has_shell()) {
    absl::StatusOr<GuestAccess> guest = (*machine)->access().Guest();
    if (guest.ok() && start->cwd().empty()) start->set_cwd(guest->folder);
    return guest;
  }
  absl::StatusOr<SshAccess> access = (*machine)->access().SshToGuest();
  if (!access.ok()) return access.status();
  if (start->user().empty()) start->set_user(UserOf(access->ssh));
  std::vector<std::string> folders;
  if (!start->cwd().empty()) {
    folders = {start->cwd()};
  } else {
    folders = {GuestFolderOf(message.shell().folder(), access->guest.mounts), access->guest.folder};
  }
  MakeShell(folders, start);
  return access->guest;
}

}  // namespace

grpc::Status ServeExec(Controller* controller, grpc::ServerContext* context, TunnelStream* stream) {
  control::ExecMessage message;
  agent::ExecInput start;
  if (!stream->Read(&message) || !start.ParseFromString(message.agent_message()) ||
      !start.has_start()) {
    return ToGrpc(absl::InvalidArgumentError("no command"));
  }
  const absl::StatusOr<GuestAccess> guest = GuestFor(controller, message, start.mutable_start());
  if (!guest.ok()) return ToGrpc(guest.status());
  bool first = true;
  bool hung_up = false;
  const absl::Status status = guest->agent->Exec(
      [&](agent::ExecInput* input) {
        if (std::exchange(first, false)) {
          *input = start;
          return true;
        }
        if (stream->Read(&message)) return input->ParseFromString(message.agent_message());
        // A client that is gone, not one that has said all: the command hears it as from a lost
        // terminal.
        if (hung_up || !context->IsCancelled()) return false;
        hung_up = true;
        input->set_signal(SIGHUP);
        return true;
      },
      [&](const agent::ExecOutput& output) { Tell(output, stream); });
  return ToGrpc(status);
}

grpc::Status ServeCopy(Controller* controller, TunnelStream* stream) {
  control::ExecMessage message;
  agent::CopyMessage start;
  if (!stream->Read(&message) || !start.ParseFromString(message.agent_message()) ||
      !start.has_start()) {
    return ToGrpc(absl::InvalidArgumentError("nothing to copy"));
  }
  const auto machine = controller->FindMade(message.config_path());
  if (!machine.ok()) return ToGrpc(machine.status());
  const absl::StatusOr<GuestAccess> guest = (*machine)->access().Guest();
  if (!guest.ok()) return ToGrpc(guest.status());
  start.mutable_start()->set_folder(guest->folder);
  bool first = true;
  const absl::Status status = guest->agent->Copy(
      [&](agent::CopyMessage* input) {
        if (std::exchange(first, false)) {
          *input = start;
          return true;
        }
        return stream->Read(&message) && input->ParseFromString(message.agent_message());
      },
      [&](const agent::CopyMessage& output) { Tell(output, stream); });
  return ToGrpc(status);
}

grpc::Status ServeSsh(Controller* controller, const control::MachineRequest& request,
                      control::SshReply* reply) {
  const auto machine = controller->FindMade(request.config_path());
  if (!machine.ok()) return ToGrpc(machine.status());
  const absl::StatusOr<SshAccess> access = (*machine)->access().SshToGuest();
  if (!access.ok()) return ToGrpc(access.status());
  const absl::StatusOr<std::vector<std::string>> keys = access->guest.agent->ReadHostKeys();
  if (!keys.ok()) return ToGrpc(keys.status());
  struct stat there {};
  if (stat(access->key_path.c_str(), &there) != 0) {
    return ToGrpc(absl::FailedPreconditionError(
        "the machine has no ssh key of its own yet: `rum up` makes one"));
  }
  const Ssh& ssh = access->ssh;
  reply->set_host(access->machine.domain_name());
  reply->set_user(UserOf(ssh));
  reply->set_command(ssh.command().empty() ? "ssh" : ssh.command());
  reply->set_key_path(access->key_path);
  reply->set_known_hosts_path(access->key_path.substr(0, access->key_path.rfind('/')) +
                              "/known_hosts");
  reply->set_folder(access->guest.folder);
  return ToGrpc(WriteKnownHosts(reply->known_hosts_path(), reply->host(), *keys));
}

grpc::Status ServeDial(Controller* controller, DialStream* stream) {
  control::DialMessage message;
  if (!stream->Read(&message) || message.port() < 1 || message.port() > 65535)
    return ToGrpc(absl::InvalidArgumentError("a port of the guest is from 1 to 65535"));
  const auto machine = controller->FindMade(message.config_path());
  if (!machine.ok()) return ToGrpc(machine.status());
  const absl::StatusOr<GuestAccess> guest = (*machine)->access().Guest();
  if (!guest.ok()) return ToGrpc(guest.status());
  const absl::StatusOr<int> fd =
      DialAndWait(guest->agent.get(), static_cast<uint16_t>(message.port()));
  if (!fd.ok()) return ToGrpc(fd.status());
  return Converse(*fd, stream);
}

grpc::Status ServeConsole(Controller* controller, DialStream* stream) {
  control::DialMessage message;
  if (!stream->Read(&message)) return ToGrpc(absl::InvalidArgumentError("no machine"));
  const auto machine = controller->FindMade(message.config_path());
  if (!machine.ok()) return ToGrpc(machine.status());
  if (message.last_lines() > 0) {
    const auto end = (*machine)->access().ConsoleEnd(message.last_lines());
    if (!end.ok()) return ToGrpc(end.status());
    message.set_data(*end);
    message.set_end(true);
    stream->Write(message);
    return grpc::Status::OK;
  }
  const absl::StatusOr<int> fd = (*machine)->access().Console(message.force());
  if (!fd.ok()) return ToGrpc(fd.status());
  // That it is open; the client says so before the first byte comes.
  stream->Write(control::DialMessage());
  return Converse(*fd, stream);
}

}  // namespace rum
