#include "controller/service/handover.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent-api/threads.h"
#include "controller/service/own_socket.h"

namespace rum {
namespace {

constexpr size_t kMostAtOnce = 200;  // descriptors in a message; the kernel takes 253
constexpr int kAcceptPauseMs = 100;  // ms, after an accept that failed: the socket stays readable
constexpr char kSockets = 's';
constexpr char kEnd = 'e';

absl::Status Failed(const std::string& what) {
  return absl::UnavailableError(absl::StrCat("hand-over: ", what, ": ", std::strerror(errno)));
}

bool AddressOf(const std::string& path, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.size() >= sizeof address->sun_path) return false;
  path.copy(address->sun_path, path.size());
  return true;
}

// A message: one byte that says what it is, and descriptors.
struct Message {
  char kind = kEnd;
  iovec part{&kind, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control{};
  msghdr header{};

  Message() {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
};

absl::Status Send(int to, char kind, const std::vector<int>& fds) {
  Message message;
  message.kind = kind;
  message.header.msg_controllen = fds.empty() ? 0 : CMSG_SPACE(sizeof(int) * fds.size());
  if (fds.empty()) message.header.msg_control = nullptr;
  if (!fds.empty()) {
    cmsghdr* rights = CMSG_FIRSTHDR(&message.header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  }
  while (sendmsg(to, &message.header, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return Failed("send");
  }
  return absl::OkStatus();
}

// False: the other end is gone.
bool Receive(int from, char* kind, std::vector<Fd>* fds) {
  Message message;
  if (recvmsg(from, &message.header, MSG_CMSG_CLOEXEC) != 1) return false;
  for (cmsghdr* one = CMSG_FIRSTHDR(&message.header); one != nullptr;
       one = CMSG_NXTHDR(&message.header, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = 0; at + sizeof(int) <= one->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(one) + at, sizeof fd);
      fds->emplace_back(fd);
    }
  }
  *kind = message.kind;
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Handover>> Handover::Offer(const std::string& path,
                                                          std::function<void()> on_successor) {
  sockaddr_un address;
  if (!AddressOf(path, &address)) return absl::InvalidArgumentError(path + ": too long a path");
  Fd listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  unlink(path.c_str());  // of a controller that was killed, or of the one before
  const mode_t before = umask(0177);
  const bool ok = listening.ok() &&
                  bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  umask(before);
  if (!ok || listen(listening.get(), 1) != 0) return Failed(path);
  std::unique_ptr<Handover> handover(new Handover(path, std::move(listening)));
  Handover* const raw = handover.get();
  absl::StatusOr<std::thread> waiter =
      StartThread([raw, on_successor = std::move(on_successor)] { raw->Wait(on_successor); });
  if (!waiter.ok()) return waiter.status();
  handover->waiter_ = *std::move(waiter);
  return handover;
}

Handover::Handover(std::string path, Fd listening)
    : path_(std::move(path)), listening_(std::move(listening)), wake_(eventfd(0, EFD_CLOEXEC)) {}

Handover::~Handover() {
  if (!Close()) unlink(path_.c_str());
}

bool Handover::Close() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
  if (waiter_.joinable()) waiter_.join();
  return successor_.ok();
}

void Handover::Wait(const std::function<void()>& on_successor) {
  std::array<pollfd, 2> wait = {{{wake_.get(), POLLIN, 0}, {listening_.get(), POLLIN, 0}}};
  while (true) {
    if (poll(wait.data(), wait.size(), -1) < 0) continue;
    if (wait[0].revents != 0) return;
    Fd client(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    // Whoever wants to succeed cures that.
    if (!client.ok() && IsOutOfDescriptors(errno)) client = Fd(spare_.Accept(listening_.get()));
    if (!client.ok()) {
      if (poll(wait.data(), 1, kAcceptPauseMs) == 1) return;
      continue;
    }
    if (!JudgePeer(client.get(), path_).ok()) {
      client = Fd();
      spare_.Refill();
      continue;
    }
    fcntl(client.get(), F_SETFL, 0);  // blocking, also where a spare was given for it
    successor_ = std::move(client);
    return on_successor();
  }
}

absl::Status Handover::Give(const std::vector<Fd>& sockets) {
  std::vector<int> some;
  for (size_t at = 0; at < sockets.size(); at += kMostAtOnce) {
    some.clear();
    for (size_t i = at; i < std::min(at + kMostAtOnce, sockets.size()); ++i) {
      some.push_back(sockets[i].get());
    }
    if (absl::Status sent = Send(successor_.get(), kSockets, some); !sent.ok()) return sent;
  }
  return Send(successor_.get(), kEnd, {});
}

absl::StatusOr<std::vector<Fd>> TakeOver(const std::string& path, absl::Duration patience) {
  sockaddr_un address;
  if (!AddressOf(path, &address)) return absl::InvalidArgumentError(path + ": too long a path");
  const absl::Status judged = JudgeSocket(path);
  if (!judged.ok() && !absl::IsNotFound(judged)) return judged;
  Fd from(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!from.ok()) return Failed("socket");
  if (!judged.ok() ||
      connect(from.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return absl::NotFoundError("no controller hands anything over");
  }
  if (absl::Status peer = JudgePeer(from.get(), path); !peer.ok()) return peer;
  const timeval limit = absl::ToTimeval(patience);
  setsockopt(from.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::vector<Fd> sockets;
  char kind = kSockets;
  while (kind != kEnd) {
    if (!Receive(from.get(), &kind, &sockets)) {
      return absl::UnavailableError("the controller that runs ended without a hand-over");
    }
  }
  return sockets;
}

}  // namespace rum
