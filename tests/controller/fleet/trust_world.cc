#include "tests/controller/fleet/trust_world.h"

#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace rum {

namespace fs = std::filesystem;

ShortPaths::ShortPaths() { setenv("TEST_TMPDIR", "/tmp", 1); }

TrustTest::TrustTest() {
  home_ = absl::StrCat(std::getenv("TEST_TMPDIR"), "/home.XXXXXX");
  home_ = fs::canonical(mkdtemp(home_.data()));
  fs::create_directory(home_ + "/secret");
  setenv("HOME", home_.c_str(), 1);
  world_.on_connect = [this](const std::string& uri) { asked_.insert(uri); };
}

TrustTest::~TrustTest() { fs::remove_all(home_); }

void TrustTest::GoUp() {
  machine_ = world_.NewMachine();
  const Seen up = Apply(*machine_, Up());
  ASSERT_FALSE(up.outcome.failed) << up.outcome.error;
  asked_.clear();
}

void TrustTest::Write(const std::string& more) {
  world_.file.more = more;
  world_.Save();
}

std::string TrustTest::SharesHome() const {
  return absl::StrCat("[[mounts]]\nsource = \"", home_, "/secret\"\ntarget = \"/data\"\n");
}

bool TrustTest::Listens(uint16_t port) {
  std::lock_guard<std::mutex> lock(world_.host->mutex);
  return world_.host->open.count(port) > 0;
}

Item TrustTest::AskOf(const std::string& field) {
  for (const MachineStatus status = machine_->Status(); const Item& item : status.items()) {
    if (item.field() == field && item.state() == Item::NEEDS_CONSENT) return item;
  }
  return Item();
}

std::string TrustTest::Synced() {
  for (const MachineStatus status = machine_->Status(); const auto& one : status.conditions()) {
    if (one.type() == "Synced") return one.reason();
  }
  return "";
}

std::vector<std::string> JoinedBy(const Config& config) {
  std::vector<std::string> joined;
  for (const Interface& card : config.network().interfaces()) {
    if (card.joined()) joined.push_back(card.network());
  }
  return joined;
}

}  // namespace rum
