#ifndef RUM_TESTS_E2E_LIVE_WORLD_H_
#define RUM_TESTS_E2E_LIVE_WORLD_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/world.h"

namespace rum::e2e {

bool Contains(const std::string& text, const std::string& part);

// One VM for all suites of a program: their cases run in the order of its files, and each leaves
// the machine in sync. A connection through a forward and a program in the guest live through all
// of them.
class LiveTest : public testing::Test {
 protected:
  // Makes the VM, where no suite before has; with CPUs and memory to spare.
  static void Begin();
  // After a start of the guest: its programs, and the connection.
  static void Settle();
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  // What `rum reload` says of the file.
  static std::string Reload(const std::vector<std::string>& options = {});
  static std::string ReloadWith(const std::string& more,
                                const std::vector<std::string>& options = {}) {
    world_->file.more = more;
    return Reload(options);
  }
  // The same where all of it goes live.
  static std::string BringLive();
  static std::string BringLive(const std::string& more) {
    world_->file.more = more;
    return BringLive();
  }
  // A reload whose controller is killed at that place, and libvirtd then, and another one.
  static void ReloadTwice(const std::string& failpoint);
  static void ExpectSilence();
  // Nothing that ran was disturbed.
  static void ExpectUndisturbed();
  // Its own connection ends with a controller that is killed.
  static void Connect();
  static Item ItemOf(const std::string& field);
  // A process of the guest that stays in a folder, by its pid.
  static std::string Sit(const std::string& folder);
  static std::string BootId();

  static inline World* world_ = nullptr;
  static inline Result up_;
  static inline std::string boot_id_;
  static inline std::unique_ptr<EchoingConnection> connection_;

 private:
  class Ender;
};

}  // namespace rum::e2e

#endif  // RUM_TESTS_E2E_LIVE_WORLD_H_
