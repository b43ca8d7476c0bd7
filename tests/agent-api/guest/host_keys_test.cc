#include "agent-api/guest/host_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(HostKeysIn, AreTheTypesAndDataOfAllPublicKeys) {
  const Folder folder;
  std::ofstream(folder / "ssh_host_rsa_key.pub") << "ssh-rsa AAAAB3 root@old name\n";
  std::ofstream(folder / "ssh_host_ed25519_key.pub") << "ssh-ed25519  AAAAC3 root@old";
  std::ofstream(folder / "ssh_host_ed25519_key") << "-----BEGIN OPENSSH PRIVATE KEY-----\n";
  std::ofstream(folder / "ssh_host_ecdsa_key.pub");  // cut off
  std::ofstream(folder / "moduli") << "x y z\n";
  EXPECT_THAT(HostKeysIn(folder.path()), ElementsAre("ssh-ed25519 AAAAC3", "ssh-rsa AAAAB3"));
}

TEST(HostKeysIn, AreNoneWithoutAnSshd) { EXPECT_THAT(HostKeysIn("/no/such"), IsEmpty()); }

}  // namespace
}  // namespace rum::guest
