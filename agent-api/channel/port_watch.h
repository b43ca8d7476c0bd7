#ifndef RUM_AGENT_API_CHANNEL_PORT_WATCH_H_
#define RUM_AGENT_API_CHANNEL_PORT_WATCH_H_

#include <sys/types.h>

#include <cstddef>

namespace rum {

// A channel's end, non-blocking, in a set of epoll(7), and what is known of its readiness.
// Edge-triggered, because a virtio port without a client on the host reports a hang-up all the
// time. Its events have a data.ptr of null. Not thread-safe.
class PortWatch {
 public:
  // Puts `port`, of which nothing is known, into the set `epoll`. Owns neither; closing the port
  // ends the watch.
  void Begin(int epoll, int port);
  // There was an event, whatever it said.
  void OnEvent();
  bool readable() const { return readable_; }
  bool writable() const { return writable_; }
  // read(2) and write(2). What fails, or is at its end, is not tried again before an event.
  ssize_t Read(char* data, size_t size);
  ssize_t Write(const char* data, size_t size);

 private:
  void Watch(int operation, bool for_room);

  int epoll_ = -1;
  int port_ = -1;
  bool readable_ = false;
  bool writable_ = false;
  bool for_room_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_CHANNEL_PORT_WATCH_H_
