#ifndef RUM_CONTROLLER_GUESTS_FRAMES_H_
#define RUM_CONTROLLER_GUESTS_FRAMES_H_

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <string>

#include "controller/base/fd.h"

// Messages over a stream socket, each after a head of five bytes: its size, the lowest byte first,
// and whether a descriptor comes with it.
namespace rum {

// Bounds a message's bytes: the guest's largest, and what is around them.
inline constexpr size_t kMostFrameBytes = (1 << 20) + (64 << 10);
// Bounds those to a process, which believes the controller: scripts may be large.
inline constexpr size_t kMostFrameBytesToProcess = 256 << 20;

// Takes frames from a socket. Not thread-safe.
class FrameReader {
 public:
  // What is larger than `most` is no frame. `descriptors`: whether frames may have one; where not,
  // the kernel closes what the other end sends.
  FrameReader(size_t most, bool descriptors) : most_(most), descriptors_(descriptors) {}

  enum class Outcome { kMore, kNothingNow, kEnd, kNoFrame };
  // Reads once, without waiting on a socket that is non-blocking; `on_frame` gets what is whole and
  // returns false where it is to end.
  Outcome Read(int socket, const std::function<bool(const std::string& bytes, Fd fd)>& on_frame);

 private:
  bool Receive(int socket, std::string* into, bool* end);

  const size_t most_;
  const bool descriptors_;
  std::string buffer_;
  std::deque<Fd> fds_;
};

// What is to go out by a socket. Not thread-safe.
class FrameWriter {
 public:
  void Add(const google::protobuf::MessageLite& message, Fd fd = Fd());
  enum class Outcome { kDone, kFull, kBroken };
  // kFull: the socket takes no more now.
  Outcome Flush(int socket);
  size_t bytes() const { return bytes_; }  // that wait
  size_t descriptors() const { return descriptors_; }

 private:
  struct Frame {
    std::string bytes;
    Fd fd;
  };
  std::deque<Frame> frames_;
  size_t sent_ = 0;  // of the first one
  size_t bytes_ = 0;
  size_t descriptors_ = 0;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_FRAMES_H_
