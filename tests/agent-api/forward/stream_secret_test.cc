#include "agent-api/forward/stream_secret.h"

#include <gtest/gtest.h>

#include <string>

namespace rum {
namespace {

TEST(StreamSecret, IsAnotherOneEachTime) {
  EXPECT_EQ(NewStreamSecret().size(), kStreamSecretSize);
  EXPECT_NE(NewStreamSecret(), NewStreamSecret());
  EXPECT_EQ(NewStreamNonce().size(), kStreamNonceSize);
  EXPECT_NE(NewStreamNonce(), NewStreamNonce());
}

TEST(StreamSecret, AProofIsOfItsSecretItsWordsAndItsSideAlone) {
  const std::string secret = NewStreamSecret();
  const std::string nonce = NewStreamNonce();
  const std::string proof = HostProof(secret, "ask" + nonce);
  EXPECT_EQ(proof.size(), kStreamProofSize);
  EXPECT_TRUE(IsProof(proof, HostProof(secret, "ask" + nonce)));
  EXPECT_FALSE(IsProof(proof, HostProof(NewStreamSecret(), "ask" + nonce)));
  EXPECT_FALSE(IsProof(proof, HostProof(secret, "asl" + nonce)));
  EXPECT_FALSE(IsProof(AgentProof(secret, "ask", nonce), proof)) << "a guest cannot answer with it";
  EXPECT_FALSE(
      IsProof(AgentProof(secret, nonce, "ok"), AgentProof(secret, NewStreamNonce(), "ok")));
}

// RFC 4231's way of writing the test: any other implementation gives the same.
TEST(StreamSecret, IsHmacSha256) {
  const std::string secret(kStreamSecretSize, '\x0b');
  std::string hex;
  for (const unsigned char byte : HostProof(secret, "Hi There")) {
    hex.push_back("0123456789abcdef"[byte >> 4]);
    hex.push_back("0123456789abcdef"[byte & 15]);
  }
  EXPECT_EQ(hex, "c17b95547f5f1ba8bb4b32b94531ad4b3dd5d8bd7617dc1f315be42fc8233fb9");
}

TEST(StreamSecret, WithoutASecretNothingIsProven) {
  for (const std::string& none : {std::string(), std::string("short"), std::string(31, 'x')}) {
    EXPECT_EQ(HostProof(none, "ask"), "");
    EXPECT_EQ(AgentProof(none, "nonce", "ok"), "");
    EXPECT_FALSE(IsProof("", HostProof(none, "ask")));
  }
}

TEST(ToldSecret, IsTheLastOne) {
  ToldSecret told;
  EXPECT_EQ(told.Get(), "");
  told.Set("one");
  told.Set("two");
  EXPECT_EQ(told.Get(), "two");
}

}  // namespace
}  // namespace rum
