// The contract, and what only files can show, on a real libvirt: `uri` of $RUM_TEST_URI
// (libvirt_e2e.sh).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <libvirt/libvirt.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <vector>

#include "absl/time/clock.h"
#include "controller/hypervisor/agent_channel.h"
#include "controller/hypervisor/event_loop.h"
#include "tests/controller/hypervisor/contract.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

std::string Uri() { return std::getenv("RUM_TEST_URI"); }
fs::path Folder() { return std::getenv("RUM_TEST_DIR"); }

std::string TestFile(const std::string& name) { return (Folder() / name).string(); }

std::unique_ptr<Hypervisor> Make(std::function<void(const std::string&)> on_event) {
  auto made = ConnectLibvirt(Uri(), TestFile("agent"), std::move(on_event));
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : nullptr;
}

std::vector<std::string> Disks() {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(Folder() / "data" / "disks", none)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

constexpr char kMark[] = "written by a guest";

// The drives among them, and whether each still has the mark that MarkDrives() left.
std::map<std::string, bool> Drives() {
  std::map<std::string, bool> drives;
  for (const std::string& name : Disks()) {
    if (name.find(".drive.") == std::string::npos) continue;
    std::ostringstream bytes;
    bytes << std::ifstream(Folder() / "data" / "disks" / name, std::ios::binary).rdbuf();
    drives[name] = bytes.str().find(kMark) != std::string::npos;
  }
  return drives;
}

void MarkDrives() {
  for (const auto& [name, marked] : Drives()) {
    std::ofstream(Folder() / "data" / "disks" / name, std::ios::binary | std::ios::app) << kMark;
  }
}

class Files : public testing::Test {
 protected:
  void SetUp() override {
    hypervisor_ = Make(nullptr);
    ASSERT_NE(hypervisor_, nullptr);
    config_.mutable_image()->set_base(TestFile("base.qcow2"));
    config_.mutable_resources()->set_cpus(1);
    config_.mutable_resources()->set_memory_mb(256);
    config_.mutable_resources()->set_disk(1 << 30);
    config_.mutable_network()->set_nat(true);
    (*config_.mutable_drives())["data"].set_size(64 << 20);
  }
  void TearDown() override {
    ASSERT_TRUE(hypervisor_ == nullptr || hypervisor_->Remove(machine_).ok());
    EXPECT_THAT(Disks(), testing::IsEmpty());
  }

  const MachineIdentity machine_ = {"/p/files/rum.toml", "files", "aaaabbbbcccc"};
  Config config_;
  std::unique_ptr<Hypervisor> hypervisor_;
};

TEST_F(Files, ThereAreOneDiskOneSeedAndTheDrives) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  const std::vector<std::string> first = Disks();
  EXPECT_EQ(first.size(), 3u);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_THAT(Disks(), testing::UnorderedElementsAreArray(first));
}

TEST_F(Files, ANewDiskTakesThePlaceOfTheOldOne) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  const std::vector<std::string> first = Disks();
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kDisk, nullptr), absl::OkStatus());
  EXPECT_EQ(Disks().size(), 3u);
  EXPECT_THAT(Disks(), testing::Not(testing::UnorderedElementsAreArray(first)));
}

TEST_F(Files, DrivesAreMadeAnewOnlyWhenThatIsSaidAndOnlyWhenTheDefinitionHolds) {
  (*config_.mutable_drives())["old"].set_size(64 << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  MarkDrives();
  const std::map<std::string, bool> first = Drives();
  ASSERT_EQ(first.size(), 2u);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kDisk, nullptr), absl::OkStatus());
  EXPECT_EQ(Drives(), first);
  Config bad = config_;
  bad.mutable_advanced()->set_machine("no-such-machine");
  EXPECT_FALSE(hypervisor_->Define(machine_, bad, Fresh::kDiskAndDrives, nullptr).ok());
  EXPECT_EQ(Drives(), first);
  config_.mutable_drives()->erase("old");
  (*config_.mutable_drives())["data"].set_size(32 << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kDiskAndDrives, nullptr),
            absl::OkStatus());
  const std::map<std::string, bool> renewed = Drives();
  ASSERT_EQ(renewed.size(), 1u) << "a drive that left the file is gone too";
  EXPECT_FALSE(renewed.begin()->second);
  EXPECT_EQ(hypervisor_->Inspect(machine_)->persistent.drives().at("data").size(), 32u << 20);
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
}

TEST_F(Files, TheSeedOfARunningMachineStaysUntilItIsOff) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  config_.mutable_network()->set_hostname("other");
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(Disks().size(), 4u);
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(Disks().size(), 3u);
}

TEST_F(Files, NothingStaysOfADefinitionThatLibvirtRefused) {
  config_.mutable_advanced()->set_machine("no-such-machine");
  EXPECT_FALSE(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr).ok());
  EXPECT_THAT(Disks(), testing::IsEmpty());
}

TEST_F(Files, TheOldDefinitionSurvivesOneThatLibvirtRefused) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  const std::vector<std::string> first = Disks();
  Config bad = config_;
  bad.mutable_advanced()->set_machine("no-such-machine");
  EXPECT_FALSE(hypervisor_->Define(machine_, bad, Fresh::kDisk, nullptr).ok());
  EXPECT_THAT(Disks(), testing::UnorderedElementsAreArray(first));
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
}

TEST_F(Files, ADiskWithoutADefinitionIsTakenUpAgain) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  const std::vector<std::string> first = Disks();
  virConnectPtr connection = virConnectOpen(Uri().c_str());
  virDomainPtr domain = virDomainLookupByName(connection, machine_.domain_name().c_str());
  EXPECT_EQ(virDomainUndefine(domain), 0);
  virDomainFree(domain);
  virConnectClose(connection);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_THAT(Disks(), testing::UnorderedElementsAreArray(first));
}

// A system libvirt runs QEMU as another user: there the disk is a copy.
TEST_F(Files, AnImageThatOnlyItsOwnerReadsCanBeUsed) {
  for (const char* image : {"private.qcow2", "private.raw"}) {
    config_.mutable_image()->set_base(TestFile(image));
    ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
    EXPECT_EQ(Disks().size(), 3u);
    EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
    EXPECT_EQ(hypervisor_->Inspect(machine_)->live.resources().disk(), 1u << 30);
    EXPECT_TRUE(hypervisor_->Remove(machine_).ok());
  }
}

TEST_F(Files, AnImageThatWasReplacedOrRemovedUnderItsDiskShows) {
  const std::string image = TestFile("mine.qcow2");
  fs::copy_file(TestFile("base.qcow2"), image, fs::copy_options::overwrite_existing);
  config_.mutable_image()->set_base(image);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Inspect(machine_)->image_drift, "");
  fs::copy_file(TestFile("private.qcow2"), image, fs::copy_options::overwrite_existing);
  EXPECT_EQ(hypervisor_->Inspect(machine_)->image_drift, "replaced");
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Inspect(machine_)->image_drift, "replaced") << "until there is a new disk";
  fs::remove(image);
  EXPECT_EQ(hypervisor_->Inspect(machine_)->image_drift, "gone");
  fs::copy_file(TestFile("base.qcow2"), image);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kDisk, nullptr), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Inspect(machine_)->image_drift, "");
}

TEST_F(Files, SizesOfARunningMachineAreTheDisksOwn) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  config_.mutable_resources()->set_disk(2ULL << 30);
  (*config_.mutable_drives())["data"].set_size(128 << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  const DomainState state = *hypervisor_->Inspect(machine_);
  EXPECT_EQ(state.live.resources().disk(), 1ULL << 30);
  EXPECT_EQ(state.live.drives().at("data").size(), 64u << 20);
  EXPECT_EQ(state.persistent.resources().disk(), 2ULL << 30);
  EXPECT_EQ(state.persistent.drives().at("data").size(), 128u << 20);
  // What has not grown yet can be taken back.
  Config smaller = config_;
  smaller.mutable_resources()->set_disk(1ULL << 30);
  (*smaller.mutable_drives())["data"].set_size(64 << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, smaller, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Inspect(machine_)->persistent.resources().disk(), 1ULL << 30);
  EXPECT_EQ(hypervisor_->Inspect(machine_)->persistent.drives().at("data").size(), 64u << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Inspect(machine_)->live.resources().disk(), 2ULL << 30);
  EXPECT_EQ(hypervisor_->Inspect(machine_)->live.drives().at("data").size(), 128u << 20);
}

class Domain {
 public:
  explicit Domain(const MachineIdentity& machine)
      : connection_(virConnectOpen(Uri().c_str())),
        domain_(virDomainLookupByName(connection_, machine.domain_name().c_str())) {}
  ~Domain() {
    virDomainFree(domain_);
    virConnectClose(connection_);
  }
  virDomainPtr get() { return domain_; }

 private:
  virConnectPtr connection_;
  virDomainPtr domain_;
};

TEST_F(Files, AMachineThatWasPausedShowsAndAStartGoesOnWithIt) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_FALSE(hypervisor_->Inspect(machine_)->paused);
  ASSERT_EQ(virDomainSuspend(Domain(machine_).get()), 0);
  EXPECT_TRUE(hypervisor_->Inspect(machine_)->paused);
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_FALSE(hypervisor_->Inspect(machine_)->paused);
}

TEST_F(Files, AMachineThatWasSavedKeepsItsOldSeedUntilItGoesOn) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  ASSERT_EQ(virDomainManagedSave(Domain(machine_).get(), 0), 0);
  config_.mutable_network()->set_hostname("other");
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(Disks().size(), 4u);
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
}

TEST_F(Files, ADiskSmallerThanItsImageIsRefused) {
  config_.mutable_resources()->set_disk(1 << 20);
  EXPECT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(Files, ARunningMachineHasAChannel) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  auto channel = hypervisor_->OpenChannel(machine_, GuestChannel::kAgent);
  ASSERT_TRUE(channel.ok()) << channel.status();
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());
  char byte;
  // QEMU's end is closed; or reset, where QEMU went before it had taken the connection.
  const ssize_t got = read(*channel, &byte, 1);
  EXPECT_TRUE(got == 0 || (got < 0 && errno == ECONNRESET)) << got << " " << errno;
  close(*channel);
}

TEST_F(Files, AStreamOfLibvirtReadsLikeASocket) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  std::string seed;
  for (const std::string& name : Disks()) {
    if (name.find(".seed.") != std::string::npos) seed = name;
  }
  virConnectPtr connection = virConnectOpen(Uri().c_str());
  virStorageVolPtr volume =
      virStorageVolLookupByPath(connection, (Folder() / "data" / "disks" / seed).c_str());
  ASSERT_NE(volume, nullptr);
  StreamHandle stream(virStreamNew(connection, VIR_STREAM_NONBLOCK));
  ASSERT_EQ(virStorageVolDownload(volume, stream.get(), 0, 0, 0), 0);
  virStorageVolFree(volume);
  auto socket = SocketOfStream(std::move(stream));
  ASSERT_TRUE(socket.ok()) << socket.status();
  std::string bytes;
  std::vector<char> buffer(65536);
  for (ssize_t n; (n = read(*socket, buffer.data(), buffer.size())) > 0;) {
    bytes.append(buffer.data(), n);
  }
  close(*socket);
  virConnectClose(connection);
  std::ifstream file(Folder() / "data" / "disks" / seed, std::ios::binary);
  std::ostringstream expected;
  expected << file.rdbuf();
  EXPECT_GT(bytes.size(), 32768u);
  EXPECT_TRUE(bytes == expected.str());
}

TEST(LibvirtAway, IsUnavailableAndNamed) {
  auto made = ConnectLibvirt("qemu+unix:///system?socket=/nonexistent/libvirt", "", nullptr);
  ASSERT_TRUE(made.ok());
  const absl::Status asked = (*made)->ImagesInUse().status();
  EXPECT_EQ(asked.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(asked.message()), testing::StartsWith("libvirt at qemu+unix:///system"));
}

// What is heard of a libvirtd that is killed, without that anybody asks for anything.
TEST(LibvirtKilled, TheConnectionAndItsEventsComeBackByThemselves) {
  std::mutex mutex;
  std::vector<std::string> heard;
  const auto times = [&](const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex);
    return std::count(heard.begin(), heard.end(), name);
  };
  const auto eventually = [](const std::function<bool()>& holds) {
    for (int i = 0; i < 6000 && !holds(); ++i) absl::SleepFor(absl::Milliseconds(10));
    return holds();
  };
  const auto hypervisor = Make([&](const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex);
    heard.push_back(name);
  });
  const MachineIdentity machine = {"/home/somebody/killed/rum.toml", "killed", "0123456789ab"};
  ASSERT_TRUE(hypervisor->Inspect(machine).ok());
  ASSERT_EQ(std::system("kill -9 $(pidof libvirtd)"), 0);
  ASSERT_TRUE(eventually([&] { return times("") >= 1; })) << "the loss";
  // A session's libvirtd is started by whoever connects.
  if (Uri() == "qemu:///system") ASSERT_EQ(std::system("libvirtd -d"), 0);
  ASSERT_TRUE(eventually([&] { return times("") >= 2; })) << "the return";
  // Somebody else's hand: through a connection of his own.
  virConnectPtr other = virConnectOpen(Uri().c_str());
  ASSERT_NE(other, nullptr);
  const std::string name = machine.domain_name();
  virDomainPtr domain = virDomainDefineXML(
      other, ("<domain type='qemu'><name>" + name + "</name><memory>65536</memory>" +
              "<os><type arch='x86_64'>hvm</type></os></domain>")
                 .c_str());
  ASSERT_NE(domain, nullptr);
  EXPECT_TRUE(eventually([&] { return times(name) >= 1; })) << "its definition";
  virDomainUndefine(domain);
  virDomainFree(domain);
  virConnectClose(other);
}

}  // namespace

namespace {

bool Hand(Hypervisor*, const MachineIdentity& machine, const std::string& what) {
  const std::string virsh = "virsh -q -c " + Uri() + " ";
  const std::string command = what == "kill"
                                  ? "kill -9 $(pgrep -f 'guest=" + machine.domain_name() + ",')"
                                  : virsh + what + " " + machine.domain_name() + " >/dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return true;
}

}  // namespace

const std::vector<Contractor>& Contractors() {
  static const auto* const all = new std::vector<Contractor>{
      {"Qemu", Make, TestFile("base.qcow2"), TestFile("other.raw"), false, Hand}};
  return *all;
}

}  // namespace rum
