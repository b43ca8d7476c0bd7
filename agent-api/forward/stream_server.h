#ifndef RUM_AGENT_API_FORWARD_STREAM_SERVER_H_
#define RUM_AGENT_API_FORWARD_STREAM_SERVER_H_

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>

namespace rum {

// What a connection to the server begins with: a kind, and a port of two bytes in network order.
// The answer is an errno, of two bytes as well; after 0 to kCarry both sides speak as FramedRelay
// does.
enum class StreamRequest : uint8_t {
  kCarry = 0,
  kProbe = 1,  // connects to the port and closes again
  kHello = 2,  // the port means nothing; answers 0
};
constexpr size_t kStreamRequestSize = 3;
constexpr size_t kStreamAnswerSize = 2;

// The guest's end of forwards where each TCP connection has a stream socket of its own, in place of
// a stream of the forward channel: connects to ports of this machine's loopback.
class StreamServer {
 public:
  // Owns `listening`, a non-blocking socket. Runs on the threads of `io`, of which there may be
  // one.
  StreamServer(boost::asio::io_context& io, int listening);
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;

 private:
  class Connection;
  void Accept();

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor listening_;
  boost::asio::steady_timer pause_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_STREAM_SERVER_H_
