#ifndef RUM_TESTS_CONTROLLER_FLEET_TRUST_WORLD_H_
#define RUM_TESTS_CONTROLLER_FLEET_TRUST_WORLD_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "tests/controller/fake_world.h"

namespace rum {

// Keeps a world in /tmp: a socket's path has an end soon.
struct ShortPaths {
  ShortPaths();
};

// A machine whose file may ask for what is not its guest's alone, and a home with a secret.
class TrustTest : private ShortPaths, public testing::Test {
 protected:
  TrustTest();
  ~TrustTest() override;

  void GoUp();
  void Write(const std::string& more);
  std::string SharesHome() const;
  bool Listens(uint16_t port);
  Item AskOf(const std::string& field);
  std::string Synced();

  std::string home_;
  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
  std::set<std::string> asked_;  // libvirts
  absl::Time now_ = absl::Now();
};

// The libvirt networks that its cards have joined.
std::vector<std::string> JoinedBy(const Config& config);

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_FLEET_TRUST_WORLD_H_
