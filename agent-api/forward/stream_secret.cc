#include "agent-api/forward/stream_secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <algorithm>

namespace rum {
namespace {

std::string RandomBytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t got = 0; got < size;) {
    const ssize_t n = getrandom(bytes.data() + got, size - got, 0);
    if (n > 0) got += static_cast<size_t>(n);
  }
  return bytes;
}

// `who` keeps what one side says from being taken for the other's.
std::string Proof(const std::string& secret, const std::string& who, const std::string& of) {
  if (secret.size() != kStreamSecretSize) return "";
  const std::string text = who + of;
  std::string proof(kStreamProofSize, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       reinterpret_cast<unsigned char*>(proof.data()), &size);
  return size == proof.size() ? proof : "";
}

}  // namespace

std::string NewStreamSecret() { return RandomBytes(kStreamSecretSize); }
std::string NewStreamNonce() { return RandomBytes(kStreamNonceSize); }

std::string HostProof(const std::string& secret, const std::string& request) {
  return Proof(secret, "rum host:", request);
}

std::string AgentProof(const std::string& secret, const std::string& nonce,
                       const std::string& answer) {
  return Proof(secret, "rum agent:", nonce + answer);
}

bool IsProof(const std::string& proof, const std::string& wanted) {
  return !wanted.empty() && proof.size() == wanted.size() &&
         CRYPTO_memcmp(proof.data(), wanted.data(), wanted.size()) == 0;
}

}  // namespace rum
