#include "agent-api/guest/exec_streams.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace rum::guest {
namespace {

absl::Status Failed() {
  return absl::ResourceExhaustedError(
      absl::StrCat("streams of the command: ", std::strerror(errno)));
}

void Close(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace

absl::StatusOr<ExecStreams> ExecStreams::Open(const agent::ExecStart& start,
                                              const std::optional<Account>& account) {
  ExecStreams streams;
  const absl::Status status =
      start.pty() ? streams.OpenPty(account) : streams.OpenPipes(!start.no_input(), account);
  if (!status.ok()) return status;
  if (start.pty()) streams.SetWindow(start.rows(), start.columns());
  return streams;
}

ExecStreams::ExecStreams(ExecStreams&& other) noexcept
    : pty_(other.pty_),
      in_(std::exchange(other.in_, -1)),
      out_(std::exchange(other.out_, -1)),
      err_(std::exchange(other.err_, -1)) {
  for (int i = 0; i < 3; ++i) child_[i] = std::exchange(other.child_[i], -1);
}

ExecStreams::~ExecStreams() {
  CloseChildEnds();
  if (!pty_) Close(&in_);
  Close(&out_);
  Close(&err_);
}

absl::Status ExecStreams::OpenPipes(bool with_input, const std::optional<Account>& account) {
  int ends[2];
  if (with_input) {
    if (pipe2(ends, O_CLOEXEC) != 0) return Failed();
    child_[0] = ends[0], in_ = ends[1];
    SetNonBlocking(in_);
  }
  for (int* ours : {&out_, &err_}) {
    if (pipe2(ends, O_CLOEXEC) != 0) return Failed();
    *ours = ends[0], child_[ours == &out_ ? 1 : 2] = ends[1];
    SetNonBlocking(*ours);
  }
  for (const int fd : child_) {
    if (account && fd >= 0 && fchown(fd, account->uid, account->gid) != 0) return Failed();
  }
  return absl::OkStatus();
}

absl::Status ExecStreams::OpenPty(const std::optional<Account>& account) {
  pty_ = true;
  in_ = out_ = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  int number = -1;
  int unlock = 0;
  if (out_ < 0 || ioctl(out_, TIOCSPTLCK, &unlock) != 0 || ioctl(out_, TIOCGPTN, &number) != 0) {
    return Failed();
  }
  const int follower =
      open(absl::StrCat("/dev/pts/", number).c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (follower < 0) return Failed();
  for (int& fd : child_) fd = follower;
  // The group stays what devpts gives it: tty, where write(1) works.
  if (account && (fchown(follower, account->uid, static_cast<gid_t>(-1)) != 0 ||
                  fchmod(follower, 0620) != 0)) {
    return Failed();
  }
  return absl::OkStatus();
}

void ExecStreams::CloseChildEnds() {
  if (pty_) child_[1] = child_[2] = -1;  // the same one
  for (int& fd : child_) Close(&fd);
}

void ExecStreams::CloseInput() {
  if (!pty_) Close(&in_);
}

void ExecStreams::SetWindow(uint32_t rows, uint32_t columns) const {
  winsize size{};
  size.ws_row = static_cast<unsigned short>(rows);
  size.ws_col = static_cast<unsigned short>(columns);
  if (pty_) ioctl(out_, TIOCSWINSZ, &size);
}

}  // namespace rum::guest
