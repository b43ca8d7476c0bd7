#ifndef RUM_AGENT_API_FORWARD_STREAM_SERVER_H_
#define RUM_AGENT_API_FORWARD_STREAM_SERVER_H_

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent-api/descriptors.h"
#include "agent-api/forward/stream_secret.h"

namespace rum {

// What a connection to the server begins with: a kind, a port of two bytes in network order, a
// nonce and HostProof() of these (stream_secret.h); who cannot prove it is not answered. The answer
// is an errno, of two bytes as well, and AgentProof(); after 0 to kCarry both sides speak as
// FramedRelay does. Where the guest has no descriptors left the errno comes alone.
//
// Kinds 0 to 2 were those of hosts that proved nothing (protocol 3): no agent takes them any more,
// and no host asks agents that would.
enum class StreamRequest : uint8_t {
  kCarry = 3,
  kProbe = 4,  // connects to the port and closes again
  kHello = 5,  // the port means nothing; answers 0
};
constexpr size_t kStreamHeadSize = 3;
constexpr size_t kStreamRequestSize = kStreamHeadSize + kStreamNonceSize + kStreamProofSize;
constexpr size_t kStreamErrnoSize = 2;
constexpr size_t kStreamAnswerSize = kStreamErrnoSize + kStreamProofSize;

// The bytes of a request with its proof, and of an answer with its.
std::string StreamRequestOf(StreamRequest kind, uint16_t port, const std::string& nonce,
                            const std::string& secret);
std::string StreamAnswerOf(int error, const std::string& nonce, const std::string& secret);

// The guest's end of forwards where each TCP connection has a stream socket of its own, in place of
// a stream of the forward channel: connects to ports of this machine's loopback, for who knows the
// secret.
class StreamServer {
 public:
  // Owns `listening`, a non-blocking socket. Runs on the threads of `io`, of which there may be
  // one. `secret` is asked at each request; an empty one lets nobody in.
  StreamServer(boost::asio::io_context& io, int listening, std::function<std::string()> secret);
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;

 private:
  class Connection;
  void Accept();
  void AcceptAll();
  void RefuseOne();
  void AcceptLater();

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor listening_;
  boost::asio::steady_timer pause_;
  const std::function<std::string()> secret_;
  SpareDescriptors spare_{1};
  const std::shared_ptr<int> unproven_ = std::make_shared<int>(0);  // connections
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_STREAM_SERVER_H_
