#include "controller/hypervisor/agent_channel.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

constexpr size_t kBuffer = 64 * 1024;

// Both directions of one stream. Lives until an end closes; libvirt's event loop holds it, once for
// each callback.
class StreamPump : public std::enable_shared_from_this<StreamPump> {
 public:
  StreamPump(StreamHandle stream, int socket) : stream_(std::move(stream)), socket_(socket) {}
  ~StreamPump() { close(socket_); }

  absl::Status Start() {
    std::lock_guard<std::mutex> lock(mutex_);
    auto* self = new std::shared_ptr<StreamPump>(shared_from_this());
    watch_ = virEventAddHandle(socket_, VIR_EVENT_HANDLE_READABLE, OnSocket, self, Release);
    if (watch_ < 0) {
      Release(self);
      return absl::InternalError("agent channel: libvirt's event loop took no socket");
    }
    self = new std::shared_ptr<StreamPump>(shared_from_this());
    if (virStreamEventAddCallback(stream_.get(), VIR_STREAM_EVENT_READABLE, OnStream, self,
                                  Release) < 0) {
      absl::Status error = LibvirtError("agent channel");
      Release(self);
      virEventRemoveHandle(watch_);
      return error;
    }
    return absl::OkStatus();
  }

 private:
  static void Release(void* opaque) { delete static_cast<std::shared_ptr<StreamPump>*>(opaque); }

  static void OnStream(virStreamPtr, int events, void* opaque) {
    std::shared_ptr<StreamPump> self = *static_cast<std::shared_ptr<StreamPump>*>(opaque);
    std::lock_guard<std::mutex> lock(self->mutex_);
    if (self->done_) return;
    if ((events & VIR_STREAM_EVENT_WRITABLE) != 0) self->SendToStream();
    if ((events & VIR_STREAM_EVENT_READABLE) != 0) self->ReadFromStream();
    if ((events & (VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP)) != 0) self->ended_ = true;
    self->Rearm();
  }

  static void OnSocket(int, int, int events, void* opaque) {
    std::shared_ptr<StreamPump> self = *static_cast<std::shared_ptr<StreamPump>*>(opaque);
    std::lock_guard<std::mutex> lock(self->mutex_);
    if (self->done_) return;
    if ((events & VIR_EVENT_HANDLE_WRITABLE) != 0) self->SendToSocket();
    if ((events & (VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_HANGUP)) != 0) {
      self->ReadFromSocket();
    }
    if ((events & VIR_EVENT_HANDLE_ERROR) != 0) self->broken_ = true;
    self->Rearm();
  }

  void ReadFromStream() {
    char bytes[kBuffer];
    while (!ended_ && to_socket_.size() < kBuffer) {
      const int n = virStreamRecv(stream_.get(), bytes, sizeof(bytes));
      if (n == -2) return;
      if (n <= 0) {
        ended_ = true;
      } else {
        to_socket_.append(bytes, n);
        SendToSocket();
      }
    }
  }

  void SendToStream() {
    while (!to_stream_.empty()) {
      const int n = virStreamSend(stream_.get(), to_stream_.data(), to_stream_.size());
      if (n == -2) return;
      if (n < 0) {
        ended_ = true;
        return;
      }
      to_stream_.erase(0, n);
    }
  }

  void ReadFromSocket() {
    char bytes[kBuffer];
    while (!broken_ && to_stream_.size() < kBuffer) {
      const ssize_t n = recv(socket_, bytes, sizeof(bytes), MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {
        broken_ = true;
        return;
      }
      to_stream_.append(bytes, n);
      SendToStream();
    }
  }

  void SendToSocket() {
    while (!to_socket_.empty()) {
      const ssize_t n =
          send(socket_, to_socket_.data(), to_socket_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n < 0) {
        broken_ = true;
        to_socket_.clear();
        return;
      }
      to_socket_.erase(0, n);
    }
  }

  // Asks for what can go on; ends the pump when one end is gone and the other has all that came
  // from it.
  void Rearm() {
    const bool finished =
        (broken_ && (to_stream_.empty() || ended_)) || (ended_ && (to_socket_.empty() || broken_));
    if (finished) {
      done_ = true;
      shutdown(socket_, SHUT_RDWR);
      virEventRemoveHandle(watch_);
      virStreamEventRemoveCallback(stream_.get());
      virStreamAbort(stream_.get());
      return;
    }
    int stream_events = 0;
    if (!broken_ && !ended_ && to_socket_.size() < kBuffer)
      stream_events |= VIR_STREAM_EVENT_READABLE;
    if (!to_stream_.empty() && !ended_) stream_events |= VIR_STREAM_EVENT_WRITABLE;
    virStreamEventUpdateCallback(stream_.get(), stream_events);
    int socket_events = 0;
    if (!broken_ && to_stream_.size() < kBuffer) socket_events |= VIR_EVENT_HANDLE_READABLE;
    if (!to_socket_.empty()) socket_events |= VIR_EVENT_HANDLE_WRITABLE;
    virEventUpdateHandle(watch_, socket_events);
  }

  std::mutex mutex_;
  StreamHandle stream_;
  const int socket_;
  int watch_ = -1;
  std::string to_stream_;
  std::string to_socket_;
  bool ended_ = false;   // the stream
  bool broken_ = false;  // the socket
  bool done_ = false;
};

}  // namespace

absl::StatusOr<int> ConnectUnixSocket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": too long for a unix socket"));
  }
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": a socket for it"));
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  const int error = errno;
  close(fd);
  return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(error)));
}

absl::StatusOr<int> SocketOfStream(StreamHandle stream) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  auto pump = std::make_shared<StreamPump>(std::move(stream), ends[0]);
  if (absl::Status started = pump->Start(); !started.ok()) {
    close(ends[1]);
    return started;
  }
  return ends[1];
}

}  // namespace rum
