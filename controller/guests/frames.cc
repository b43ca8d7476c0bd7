#include "controller/guests/frames.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace rum {
namespace {

constexpr size_t kHeadBytes = 5;
constexpr size_t kReadBytes = 64 * 1024;

size_t SizeIn(const char* head) {
  size_t size = 0;
  for (size_t i = 4; i-- > 0;) size = size << 8 | static_cast<uint8_t>(head[i]);
  return size;
}

}  // namespace

bool FrameReader::Receive(int socket, std::string* into, bool* end) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  const size_t before = into->size();
  into->resize(before + kReadBytes);
  iovec part{into->data() + before, kReadBytes};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptors_) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  ssize_t got = 0;
  while ((got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  const int error = errno;
  into->resize(before + (got > 0 ? static_cast<size_t>(got) : 0));
  *end = got == 0 || (got < 0 && error != EAGAIN);
  if (got <= 0) return false;
  const cmsghdr* rights = descriptors_ ? CMSG_FIRSTHDR(&header) : nullptr;
  if (rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    fds_.emplace_back(fd);
  }
  return true;
}

FrameReader::Outcome FrameReader::Read(
    int socket, const std::function<bool(const std::string&, Fd)>& on_frame) {
  bool end = false;
  if (!Receive(socket, &buffer_, &end)) return end ? Outcome::kEnd : Outcome::kNothingNow;
  size_t at = 0;
  while (buffer_.size() - at >= kHeadBytes) {
    const size_t size = SizeIn(buffer_.data() + at);
    const bool with_fd = buffer_[at + 4] != 0;
    if (size > most_ || (with_fd && !descriptors_)) return Outcome::kNoFrame;
    if (buffer_.size() - at - kHeadBytes < size) break;
    Fd fd;
    if (with_fd) {
      // It comes with the first byte of its frame, unless there was no descriptor for it.
      if (fds_.empty()) return Outcome::kNoFrame;
      fd = std::move(fds_.front());
      fds_.pop_front();
    }
    if (!on_frame(buffer_.substr(at + kHeadBytes, size), std::move(fd))) return Outcome::kNoFrame;
    at += kHeadBytes + size;
  }
  buffer_.erase(0, at);
  if (buffer_.empty()) buffer_.shrink_to_fit();
  return Outcome::kMore;
}

void FrameWriter::Add(const google::protobuf::MessageLite& message, Fd fd) {
  const size_t size = message.ByteSizeLong();
  Frame frame;
  frame.bytes.reserve(kHeadBytes + size);
  for (size_t i = 0; i < 4; ++i) frame.bytes.push_back(static_cast<char>(size >> (8 * i) & 0xff));
  frame.bytes.push_back(fd.ok() ? 1 : 0);
  message.AppendToString(&frame.bytes);
  descriptors_ += fd.ok() ? 1 : 0;
  frame.fd = std::move(fd);
  bytes_ += frame.bytes.size();
  frames_.push_back(std::move(frame));
}

FrameWriter::Outcome FrameWriter::Flush(int socket) {
  while (!frames_.empty()) {
    Frame& frame = frames_.front();
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    iovec part{frame.bytes.data() + sent_, frame.bytes.size() - sent_};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (frame.fd.ok()) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      const int fd = frame.fd.get();
      std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    const ssize_t n = sendmsg(socket, &header, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN ? Outcome::kFull : Outcome::kBroken;
    if (frame.fd.ok()) {
      --descriptors_;
      frame.fd = Fd();
    }
    sent_ += static_cast<size_t>(n);
    bytes_ -= static_cast<size_t>(n);
    if (sent_ < frame.bytes.size()) continue;
    frames_.pop_front();
    sent_ = 0;
  }
  return Outcome::kDone;
}

}  // namespace rum
