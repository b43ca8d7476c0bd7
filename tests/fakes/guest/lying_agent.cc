#include "tests/fakes/guest/lying_agent.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "agent-api/budget.h"
#include "agent-api/call_deadline.h"
#include "agent-api/channel/guest_link.h"
#include "agent-api/channel/socket_io.h"
#include "agent-api/protocol.h"

namespace rum {

using namespace std::chrono_literals;

grpc::Status LyingService::Observe(grpc::ServerContext* context,
                                   const agent::ObserveRequest* request,
                                   agent::Observation* reply) {
  reply->set_agent_version(kAgentVersion);
  reply->set_protocol(kProtocol);
  reply->set_boot_id("boot");
  reply->set_user_exists(true);
  reply->add_cards()->set_name("eth0");
  reply->mutable_cards(0)->add_addresses("192.0.2.2");
  for (const agent::Volume& volume : request->volumes()) {
    agent::VolumeState* state = reply->add_volumes();
    state->set_target(volume.target());
    state->set_holds(true);
  }
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    reply->set_hostname(hostname_);
    reply->set_static_hostname(hostname_);
  }
  const bool greets = request->user().empty();
  if (!greets) ++questions;
  while (!greets && lies_.silent && !context->IsCancelled()) usleep(1000);
  if (context->IsCancelled()) ++given_up;
  if (!greets && lies_.error) return lies_.error();
  if (greets && lies_.greeting) lies_.greeting(reply);
  if (!greets && lies_.observation) lies_.observation(reply);
  return grpc::Status::OK;
}

grpc::Status LyingService::Watch(grpc::ServerContext* context, const agent::WatchRequest*,
                                 grpc::ServerWriter<agent::Changed>* writer) {
  agent::Changed change;
  change.add_what("hostname");
  while (lies_.notices && !context->IsCancelled() && writer->Write(change)) ++notices;
  return grpc::Status::OK;
}

grpc::Status LyingService::RunScript(grpc::ServerContext* context,
                                     const agent::RunScriptRequest* request,
                                     grpc::ServerWriter<agent::RunScriptEvent>* writer) {
  const auto end = std::chrono::steady_clock::now() + 1s;
  agent::RunScriptEvent event;
  event.set_standard_output(std::string(kMostEventBytes, 'x'));
  for (uint64_t at = 0; std::chrono::steady_clock::now() < end; at += 1 << 30) {
    event.set_offset(at);
    if (context->IsCancelled() || !writer->Write(event)) break;
  }
  event.mutable_ended()->set_run_id("another");
  event.mutable_ended()->set_kind(request->kind());
  writer->Write(event);
  return grpc::Status::OK;
}

grpc::Status LyingService::SetHostname(grpc::ServerContext*,
                                       const agent::SetHostnameRequest* request,
                                       agent::SetHostnameReply*) {
  const std::lock_guard<std::mutex> guard(mutex_);
  hostname_ = request->hostname();
  return grpc::Status::OK;
}

LyingAgent::LyingAgent(const Lies& lies, int port)
    : lies_(lies), service_(lies), wake_(eventfd(0, EFD_CLOEXEC)), port_(port) {
  signal(SIGPIPE, SIG_IGN);  // as the controller does
  // As in the controller, where gRPC never ends: its own end would be waited for, each time.
  static const bool kept = (grpc_init(), true);
  if (!kept || (port < 0 && !SocketPair(&port_, &channel_))) std::abort();
  grpc::ServerBuilder builder;
  builder.RegisterService(&service_);
  builder.SetMaxSendMessageSize(-1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::CQ_TIMEOUT_MSEC, 100);
  server_ = builder.BuildAndStart();
}

LyingAgent::~LyingAgent() {
  eventfd_write(wake_, 1);
  if (link_.joinable()) link_.join();
  server_->Shutdown(After(0ms));
  for (const int fd : {port_, channel_, wake_}) {
    if (fd >= 0) close(fd);
  }
}

void LyingAgent::Serve() {
  link_ = std::thread([this] {
    ServeGuestLink(port_, wake_, [this](int socket) {
      ++sessions;
      if (lies_.breaks) {
        close(socket);
      } else {
        grpc::AddInsecureChannelFromFd(server_.get(), socket);
      }
    });
  });
}

void LyingAgent::Flood(const std::string& bytes) {
  link_ = std::thread([this, bytes] {
    pollfd fds[2] = {{port_, POLLOUT, 0}, {wake_, POLLIN, 0}};
    while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
      if (write(port_, bytes.data(), bytes.size()) > 0) ++floods;
    }
  });
}

void LyingAgent::ServeBytes(const std::string& begin, const std::string& more) {
  link_ = std::thread([this, begin, more] {
    std::vector<std::thread> writers;
    ServeGuestLink(port_, wake_, [&](int socket) {
      ++sessions;
      writers.emplace_back([this, socket, begin, more] {
        fcntl(socket, F_SETFL, 0);
        for (bool open = SendAll(socket, begin); open; open = SendAll(socket, more)) ++floods;
        close(socket);
      });
    });
    for (std::thread& writer : writers) writer.join();
  });
}

ChannelOpener LyingAgent::opener() {
  return [this]() -> absl::StatusOr<int> { return fcntl(channel_, F_DUPFD_CLOEXEC, 0); };
}

std::string Http2Frame(unsigned type, unsigned flags, unsigned stream, const std::string& payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame + payload;
}

std::string ManyOf(const std::string& frame) {
  std::string many;
  while (many.size() < 16 * 1024) many += frame;
  return many;
}

}  // namespace rum
