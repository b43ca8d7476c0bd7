#include "agent-api/client/stream_forwards.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>

#include "agent-api/channel/socket_io.h"
#include "agent-api/client/rpc_status.h"
#include "agent-api/threads.h"

namespace rum {
namespace {

using agent::Agent;
using ForwardStream = grpc::ClientReaderWriter<agent::ForwardChunk, agent::ForwardChunk>;

void SetBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK); }

// Waits until both directions of a stream socket are closed, by whichever side.
bool HungUp(int fd, int timeout_ms) {
  pollfd ask{fd, 0, 0};
  int ready = 0;
  while ((ready = poll(&ask, 1, timeout_ms)) < 0 && errno == EINTR) {
  }
  return ready == 1 && (ask.revents & POLLHUP) != 0;
}

// Sends until the socket's peer has closed both ways; true when each direction's end was said
// before.
bool SendFrom(int fd, const std::atomic<bool>& guest_ended, ForwardStream* stream) {
  std::string buffer(64 * 1024, '\0');
  agent::ForwardChunk chunk;
  for (;;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) break;
    chunk.set_data(buffer.data(), static_cast<size_t>(n));
    if (!stream->Write(chunk)) return false;
  }
  if (HungUp(fd, 0) && !guest_ended) return false;
  chunk.clear_data();
  chunk.set_end(true);
  if (!stream->Write(chunk) || !HungUp(fd, -1) || !guest_ended) return false;
  stream->WritesDone();
  return true;
}

}  // namespace

StreamForwards::~StreamForwards() {
  Close();
  std::unique_lock<std::mutex> guard(mutex_);
  changed_.wait(guard, [this] { return dialing_ == 0; });
}

void StreamForwards::Close() {
  const std::lock_guard<std::mutex> guard(mutex_);
  closed_ = true;
  for (const auto& [context, socket] : sockets_) {
    context->TryCancel();
    if (socket >= 0) shutdown(socket, SHUT_RDWR);  // whoever does not read must not hold us up
  }
}

void StreamForwards::Dial(std::shared_ptr<const void> session, Agent::Stub* stub, uint16_t port,
                          int socket, const Done& done) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    ++dialing_;
  }
  absl::StatusOr<std::thread> dialing =
      StartThread([this, session = std::move(session), stub, port, socket, done]() mutable {
        Forward(stub, port, socket, done);
        session.reset();  // before anybody may think that nothing is left
        Ended();
      });
  if (dialing.ok()) return dialing->detach();
  Ended();
  close(socket);
  done(dialing.status());
}

void StreamForwards::Ended() {
  const std::lock_guard<std::mutex> guard(mutex_);
  --dialing_;
  changed_.notify_all();
}

void StreamForwards::Forward(Agent::Stub* stub, uint16_t port, int socket, const Done& done) {
  grpc::ClientContext context;
  bool closed = false;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    closed = closed_;
    if (!closed) sockets_[&context] = -1;
  }
  if (closed) {
    close(socket);
    return done(absl::UnavailableError("the agent's client ends"));
  }
  ForwardOn(stub, &context, port, socket, done);
  const std::lock_guard<std::mutex> guard(mutex_);
  sockets_.erase(&context);
}

void StreamForwards::ForwardOn(Agent::Stub* stub, grpc::ClientContext* context, uint16_t port,
                               int socket, const Done& done) {
  const auto stream = stub->Forward(context);
  agent::ForwardChunk chunk;
  chunk.set_port(port);
  const bool asked = stream->Write(chunk);
  if (!asked || !stream->Read(&chunk)) {
    stream->WritesDone();
    const absl::Status status = ToAbsl(stream->Finish());
    close(socket);
    return done(status.ok() ? absl::UnavailableError("agent: no connection") : status);
  }
  SetBlocking(socket);
  std::atomic<bool> guest_ended = false;
  absl::StatusOr<std::thread> sender = StartThread([&] {
    if (!SendFrom(socket, guest_ended, stream.get())) context->TryCancel();
  });
  if (!sender.ok()) {
    context->TryCancel();
    stream->Finish();
    close(socket);
    return done(sender.status());
  }
  done(absl::OkStatus());
  SetSocket(context, socket);
  while (stream->Read(&chunk)) {
    if (!SendAll(socket, chunk.data())) break;
    if (chunk.end()) guest_ended = true, shutdown(socket, SHUT_WR);
  }
  // Closing both ways before both ends were said is how a stream socket can say that the
  // connection broke; after them it changes nothing.
  shutdown(socket, SHUT_RDWR);
  sender->join();
  stream->Finish();
  SetSocket(context, -1);
  close(socket);
}

void StreamForwards::SetSocket(grpc::ClientContext* context, int socket) {
  const std::lock_guard<std::mutex> guard(mutex_);
  sockets_[context] = socket;
  if (closed_ && socket >= 0) shutdown(socket, SHUT_RDWR);
}

}  // namespace rum
