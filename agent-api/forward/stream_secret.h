#ifndef RUM_AGENT_API_FORWARD_STREAM_SECRET_H_
#define RUM_AGENT_API_FORWARD_STREAM_SECRET_H_

#include <cstddef>
#include <mutex>
#include <string>

// How the ends of a stream by vsock know each other. Any process of the host, whosever it is, and
// in the guest any that is there before the agent, can be at the other end of one. So host and
// agent share a secret, which the host tells in the session of the control channel, and never on a
// stream: each side proves by an HMAC-SHA256 (RFC 2104) that it knows it.
namespace rum {

constexpr size_t kStreamSecretSize = 32;
constexpr size_t kStreamNonceSize = 16;
constexpr size_t kStreamProofSize = 32;

std::string NewStreamSecret();
std::string NewStreamNonce();

// What the host's request ends with, by all bytes of it before that, its nonce among them. Without
// a secret there is no proof, and what should hold one holds none.
std::string HostProof(const std::string& secret, const std::string& request);
// What the agent's answer ends with: only who knows the secret has answered this very request.
std::string AgentProof(const std::string& secret, const std::string& nonce,
                       const std::string& answer);
// Compares in a time that tells nothing of where they differ.
bool IsProof(const std::string& proof, const std::string& wanted);

// The secret that the agent was told last; empty: none yet. Thread-safe.
class ToldSecret {
 public:
  void Set(const std::string& secret) {
    const std::lock_guard<std::mutex> guard(mutex_);
    secret_ = secret;
  }
  std::string Get() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return secret_;
  }

 private:
  mutable std::mutex mutex_;
  std::string secret_;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FORWARD_STREAM_SECRET_H_
