#ifndef RUM_AGENT_API_FORWARD_FRAMED_RELAY_H_
#define RUM_AGENT_API_FORWARD_FRAMED_RELAY_H_

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace rum {

// A TCP connection and a stream socket (vsock(7)) that carries it to the other side, as one: bytes,
// half-closes and resets go both ways. Each side of the stream sends frames of two bytes, the
// length in network order, and so many bytes; a length of 0 is the end of what its TCP peer had to
// say, and a stream that ends without one is a reset, which a vsock cannot say by itself. Holds at
// most 64 KiB each way, and nothing while both keep up. Not thread-safe: only on the thread of its
// io_context.
class FramedRelay : public std::enable_shared_from_this<FramedRelay> {
 public:
  struct Events {
    // Is called once, when both sockets are closed: "" after both ends were said, else why it was
    // reset.
    std::function<void(const std::string& why)> on_over;
    int64_t* sent = nullptr;  // bytes from the TCP connection, and to it; may be null
    int64_t* received = nullptr;
  };
  // Owns both sockets, which are connected and non-blocking. `quiet_reset`: a stream that breaks
  // closes the TCP connection without a reset.
  FramedRelay(boost::asio::io_context& io, int tcp, int stream, Events events,
              bool quiet_reset = false);
  ~FramedRelay();

  void Start();
  void Break(const std::string& why);  // resets both

 private:
  using Descriptor = boost::asio::posix::stream_descriptor;

  void PumpOut();
  bool MoveOut();
  void PumpIn();
  bool MoveIn();
  bool Parse(const char* data, size_t size);
  int64_t Write(Descriptor& to, const char* data, size_t size);
  void Wait(Descriptor& on, Descriptor::wait_type wait, void (FramedRelay::*then)());
  void WatchForReset(Descriptor& end, const char* name);
  void Fail(const char* name, int error);
  void MaybeOver();
  void Over(const std::string& why, bool reset);

  Descriptor tcp_;
  Descriptor stream_;
  const Events events_;
  const bool quiet_reset_;
  std::string out_;  // frames that the stream did not take
  std::string in_;   // of the stream, not handled yet
  int length_bytes_ = 0;
  size_t length_ = 0;  // once both of its bytes are there: of the frame, still to come
  bool out_ended_ = false;
  bool in_ended_ = false;
  bool over_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_FRAMED_RELAY_H_
