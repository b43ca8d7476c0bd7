#include <filesystem>
#include <fstream>
#include <iterator>

#include "state/bind_address.h"
#include "state/libvirt_uri.h"
#include "state/surroundings.h"
#include "tests/controller/fleet/trust_world.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;

// The files of //tests/testdata/hostile, each in a project with what they name.
class HostileFile : public TrustTest {
 protected:
  HostileFile() {
    const std::string& project = world_.folder();
    world_.hypervisor->SetNetworks({"default", "company", "rum-0123456789ab.lan"});
    fs::permissions(home_ + "/secret", fs::perms(0700));
    std::ofstream(home_ + "/secret/private.img") << "key";
    fs::create_directory_symlink(home_ + "/secret", project + "/folder-link");
    fs::create_symlink(home_ + "/secret/private.img", project + "/image-link");
    std::string layer(512, 0);
    layer.replace(0, 8, std::string("QFI\xfb\0\0\0\3", 8));
    std::string apart = layer;
    apart[79] = 4;  // the data is in another file
    layer[14] = 1;
    layer[19] = 5;
    layer.replace(256, 5, "../id");
    std::ofstream(project + "/layer.qcow2") << layer;
    std::ofstream(project + "/apart.qcow2") << apart;
  }

  void ExpectNothingReached() {
    for (const std::string& uri : asked_) EXPECT_FALSE(IsRemoteLibvirt(uri)) << uri;
    {
      std::lock_guard<std::mutex> lock(world_.host->mutex);
      for (const auto& [port, forward] : world_.host->open)
        EXPECT_TRUE(IsLoopback(forward.bind)) << port;
      EXPECT_TRUE(world_.host->sockets.empty());
    }
    const absl::StatusOr<DomainState> domain = world_.hypervisor->Inspect(world_.identity);
    for (const Config* config : {&domain->persistent, &domain->live}) {
      for (const Mount& mount : config->mounts())
        EXPECT_TRUE(IsInside(mount.source(), world_.folder())) << mount.source();
      EXPECT_THAT(config->image().base(), testing::AnyOf("", "debian-12"));
      EXPECT_THAT(JoinedBy(*config), IsEmpty());
    }
  }
};

TEST_F(HostileFile, ReachesNothing) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator("tests/testdata/hostile")) {
    SCOPED_TRACE(entry.path().filename());
    ++files;
    std::ifstream file(entry.path());
    world_.SaveText({std::istreambuf_iterator<char>(file), {}});
    machine_ = world_.NewMachine();
    const absl::StatusOr<Machine::TrustState> asks = machine_->Trust({});
    EXPECT_TRUE(!asks->config_error.empty() || !asks->asks.empty()) << "refused or asked about";
    (void)machine_->Status();
    ApplyOptions dry = Up();
    dry.dry_run = true;
    (void)Apply(*machine_, dry);
    ExpectNothingReached();
    (void)Apply(*machine_, Up());
    (void)machine_->Background({});
    (void)machine_->Status();
    ExpectNothingReached();
    // Of a machine that is up, too.
    world_.Save();
    world_.file.image = "debian-12";
    world_.file.more = "";
    world_.Save();
    machine_ = world_.NewMachine();
    EXPECT_FALSE(Apply(*machine_, Up()).outcome.failed);
    std::ifstream again(entry.path());
    world_.SaveText({std::istreambuf_iterator<char>(again), {}});
    (void)machine_->Background({});
    (void)machine_->Status();
    (void)Apply(*machine_);
    ExpectNothingReached();
    (void)machine_->Destroy({});
    asked_.clear();
  }
  EXPECT_GE(files, 20);
}

}  // namespace
}  // namespace rum
