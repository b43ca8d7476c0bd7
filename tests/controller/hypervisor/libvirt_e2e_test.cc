// The contract, and what only files can show, on a real libvirt: `uri` of $RUM_TEST_URI
// (libvirt_e2e.sh).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <vector>

#include "absl/time/clock.h"
#include "controller/decide/plan.h"
#include "controller/hypervisor/agent_channel.h"
#include "controller/hypervisor/event_loop.h"
#include "state/diff.h"
#include "state/size.h"
#include "tests/controller/hypervisor/contract.h"
#include "tests/controller/hypervisor/libvirt_edit.h"

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
  // The seed, which nobody pointed to, is made anew.
  const auto but_the_seed = [] {
    std::set<std::string> names;
    for (const std::string& name : Disks()) {
      if (name.find(".seed.") == std::string::npos) names.insert(name);
    }
    return names;
  };
  const std::set<std::string> first = but_the_seed();
  virConnectPtr connection = virConnectOpen(Uri().c_str());
  virDomainPtr domain = virDomainLookupByName(connection, machine_.domain_name().c_str());
  EXPECT_EQ(virDomainUndefine(domain), 0);
  virDomainFree(domain);
  virConnectClose(connection);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(but_the_seed(), first);
  EXPECT_EQ(Disks().size(), 3u);
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

// Otherwise the definition would be written again and again.
TEST_F(Files, ADiskThatSomebodyGrewUnderARunningMachineIsThatLargeFromTheNextStart) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  ASSERT_EQ(virDomainBlockResize(Domain(machine_).get(), "vda", 3ULL << 30,
                                 VIR_DOMAIN_BLOCK_RESIZE_BYTES),
            0);
  config_.mutable_resources()->set_memory_mb(320);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  const DomainState grown = *hypervisor_->Inspect(machine_);
  EXPECT_THAT(MakePlan(config_, {}, {.domain = grown}, {}).actions(), testing::IsEmpty());
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Inspect(machine_)->live.resources().disk(), 3ULL << 30);
}

TEST_F(Files, AMachineThatWasPausedShowsAndAStartGoesOnWithIt) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_FALSE(hypervisor_->Inspect(machine_)->paused);
  ASSERT_EQ(virDomainSuspend(Domain(machine_).get()), 0);
  EXPECT_TRUE(hypervisor_->Inspect(machine_)->paused);
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_FALSE(hypervisor_->Inspect(machine_)->paused);
}

// `virsh undefine` of a machine that runs leaves it running; what it runs as is what is defined
// anew.
TEST_F(Files, ADefinitionThatWasTakenFromARunningMachineComesBackWithWhatOthersAdded) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EditInLibvirt(Uri(), machine_.domain_name(), [](std::string* xml) {
    const std::string end = "</devices>";
    xml->replace(
        xml->find(end), end.size(),
        "<watchdog model='i6300esb' action='none'/><video><model type='vga'/></video>" + end);
  });
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  ASSERT_EQ(virDomainUndefine(Domain(machine_).get()), 0);
  EXPECT_FALSE(hypervisor_->Inspect(machine_)->defined);
  config_.mutable_resources()->set_memory_mb(320);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  const DomainState state = *hypervisor_->Inspect(machine_);
  EXPECT_TRUE(state.defined && state.running);
  EXPECT_EQ(state.persistent.resources().memory_mb(), 320u);
  EXPECT_EQ(state.live.resources().memory_mb(), 256u);
  const std::string xml = EditInLibvirt(Uri(), machine_.domain_name(), [](std::string*) {});
  EXPECT_THAT(xml, testing::HasSubstr("<watchdog model='i6300esb' action='none'>"));
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
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

// With `virsh attach-disk`.
TEST_F(Files, ADiskThatSomebodyPluggedInStaysAndADriveOfRumsIsPluggedInBesideIt) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const std::string theirs = TestFile("theirs.raw");
  std::ofstream(theirs) << std::string(1 << 20, 'x');
  const std::string xml =
      "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" + theirs +
      "'/><target dev='vdc' bus='virtio'/></disk>";
  ASSERT_EQ(virDomainAttachDeviceFlags(Domain(machine_).get(), xml.c_str(), VIR_DOMAIN_AFFECT_LIVE),
            0)
      << virGetLastErrorMessage();
  (*config_.mutable_drives())["late"].set_size(64 << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->ChangeDisk(machine_, {DiskChange::kPlug, "late", {}}), absl::OkStatus());
  const std::string live = TakeText(virDomainGetXMLDesc(Domain(machine_).get(), 0));
  EXPECT_THAT(live, testing::HasSubstr(theirs));
  EXPECT_THAT(live, testing::HasSubstr("<target dev='vdd' bus='virtio'/>"));
  const DomainState state = *hypervisor_->Inspect(machine_);
  EXPECT_EQ(state.live.drives().at("late").size(), 64u << 20);
  EXPECT_EQ(state.live.DebugString(), state.persistent.DebugString());
  fs::remove(theirs);
}

// Of a build that gave none to spare: all ports have a device.
TEST_F(Files, AMachineWithoutPortsToSpareSaysSo) {
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr), absl::OkStatus());
  EditInLibvirt(Uri(), machine_.domain_name(), [](std::string* xml) {
    for (size_t at; (at = xml->find("<controller type='pci'")) != std::string::npos;) {
      const size_t end = xml->find("</controller>", at);
      const size_t slash = xml->find("/>", at);
      const size_t close = xml->find('>', at) == slash + 1 ? slash + 2 : end + 13;
      xml->erase(at, close - at);
    }
    for (size_t at; (at = xml->find("<address type='pci'")) != std::string::npos;) {
      xml->erase(at, xml->find("/>", at) + 2 - at);
    }
  });
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const DomainState state = *hypervisor_->Inspect(machine_);
  ASSERT_TRUE(state.ports.has_value());
  EXPECT_LE(state.ports->free, 1u) << "libvirt's own";
  EXPECT_THAT(MakePlan(config_, {}, {.domain = state}, {}).actions(), testing::IsEmpty())
      << "no drift";
}

// A person with virsh, virt-clone and qemu-img beside rum.
class OthersHands : public Files {
 protected:
  void SetUp() override {
    Files::SetUp();
    connection_ = virConnectOpen(Uri().c_str());
    ASSERT_NE(connection_, nullptr);
    Define();
  }
  // As a build before the ledger left it.
  void ForgetWhatIsOwn() {
    std::string xml = Definition();
    for (size_t at; (at = xml.find("<rum:volume")) != std::string::npos;) {
      xml.erase(at, xml.find("/>", at) + 2 - at);
    }
    virDomainPtr defined = virDomainDefineXML(connection_, xml.c_str());
    ASSERT_NE(defined, nullptr);
    virDomainFree(defined);
    fs::remove_all(Folder() / "state");
  }
  // What rum keeps is theirs to take away.
  void TearDown() override {
    for (const std::string& name : {std::string("theirs"), machine_.domain_name()}) {
      virDomainPtr domain = virDomainLookupByName(connection_, name.c_str());
      if (domain == nullptr) continue;
      virDomainDestroy(domain);
      virDomainUndefineFlags(domain, VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA);
      virDomainFree(domain);
    }
    EXPECT_TRUE(hypervisor_->Remove(machine_).ok());
    std::error_code none;
    for (const std::string& name : Disks()) fs::remove(Folder() / "data" / "disks" / name, none);
    fs::remove_all(Folder() / "data" / "elsewhere", none);
    EXPECT_TRUE(hypervisor_->Remove(machine_).ok());
    virConnectClose(connection_);
    Files::TearDown();
  }
  absl::Status Defined() {
    return hypervisor_->Define(machine_, config_, Fresh::kNothing, nullptr);
  }
  void Define() { ASSERT_EQ(Defined(), absl::OkStatus()); }
  void Edit() {
    config_.mutable_resources()->set_memory_mb(config_.resources().memory_mb() + 8);
    config_.mutable_network()->set_hostname("dev" +
                                            std::to_string(config_.resources().memory_mb()));
    Define();
  }
  static std::string PathOf(const std::string& name) {
    return (Folder() / "data" / "disks" / name).string();
  }
  // The one volume whose name has `part` in it.
  static std::string The(const std::string& part) {
    std::string found;
    for (const std::string& name : Disks()) {
      if (name.find(part) == std::string::npos) continue;
      EXPECT_EQ(found, "") << name;
      found = PathOf(name);
    }
    EXPECT_NE(found, "") << part;
    return found;
  }
  static void Shell(const std::string& line) { ASSERT_EQ(std::system(line.c_str()), 0) << line; }
  void Layer(const std::string& on, const std::string& at) {
    fs::create_directories(fs::path(at).parent_path());
    Shell("qemu-img create -q -f qcow2 -b " + on + " -F qcow2 " + at);
  }
  void Snapshot(const std::string& name, unsigned flags) {
    const std::string xml = "<domainsnapshot><name>" + name + "</name></domainsnapshot>";
    virDomainSnapshotPtr made =
        virDomainSnapshotCreateXML(Domain(machine_).get(), xml.c_str(), flags);
    ASSERT_NE(made, nullptr) << virGetLastErrorMessage();
    virDomainSnapshotFree(made);
  }
  std::string Definition(unsigned flags = VIR_DOMAIN_XML_INACTIVE) {
    return TakeText(virDomainGetXMLDesc(Domain(machine_).get(), flags));
  }
  // A domain of somebody else's with `path` as its disk.
  void DefineTheirs(const std::string& path) {
    const std::string xml =
        "<domain type='qemu'><name>theirs</name><memory>65536</memory><os><type "
        "arch='x86_64'>hvm</type></os><devices><disk type='file' device='disk'><driver "
        "name='qemu' type='qcow2'/><source file='" +
        path + "'/><target dev='vda'/></disk></devices></domain>";
    virDomainPtr theirs = virDomainDefineXML(connection_, xml.c_str());
    ASSERT_NE(theirs, nullptr) << virGetLastErrorMessage();
    virDomainFree(theirs);
  }
  Removal Destroy() {
    absl::StatusOr<Removal> removal = hypervisor_->Remove(machine_);
    EXPECT_TRUE(removal.ok()) << removal.status();
    return removal.ok() ? *removal : Removal();
  }

  virConnectPtr connection_ = nullptr;
};

constexpr unsigned kDiskOnly = VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY;

TEST_F(OthersHands, AnExternalSnapshotOfARunningMachineIsFollowedAndDestroyKeepsWhatItStandsOn) {
  const std::string root = The(".root."), data = The(".drive.");
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  Snapshot("s1", kDiskOnly);
  EXPECT_THAT(hypervisor_->Inspect(machine_)->snapshots, testing::ElementsAre("s1"));
  const std::string new_root = fs::path(root).replace_extension(".s1");
  const std::string new_data = fs::path(data).replace_extension(".s1");
  for (int i = 0; i < 3; ++i) Edit();
  for (const std::string& path : {root, data, new_root, new_data}) EXPECT_TRUE(fs::exists(path));
  EXPECT_THAT(Definition(), testing::HasSubstr("'" + new_root + "'"));
  EXPECT_THAT(Definition(), testing::HasSubstr("'" + new_data + "'"));
  // What is below it may be named there too, as its <backingStore>.
  EXPECT_THAT(
      Definition(),
      testing::Not(testing::HasSubstr("discard='unmap'/>\n      <source file='" + data + "'")));
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());
  config_.mutable_resources()->set_disk(2ULL << 30);
  (*config_.mutable_drives())["data"].set_size(128 << 20);
  Edit();
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Inspect(machine_)->live.resources().disk(), 2ULL << 30);
  EXPECT_EQ(hypervisor_->Inspect(machine_)->live.drives().at("data").size(), 128u << 20);
  EXPECT_THAT(Definition(0), testing::HasSubstr("'" + new_data + "'"));
  const Removal removal = Destroy();
  for (const std::string& path : {root, data, new_root, new_data}) {
    EXPECT_TRUE(fs::exists(path));
    EXPECT_THAT(removal.kept, testing::Contains(testing::StartsWith(path + ": ")));
  }
  EXPECT_THAT(removal.kept, testing::Contains(root + ": " + new_root + " stands on it"));
  // Once that is gone, a second time has more to do.
  fs::remove(new_root);
  fs::remove(new_data);
  EXPECT_THAT(Destroy().removed, testing::IsSupersetOf({"disk " + root, "drive " + data}));
}

TEST_F(OthersHands, ACommittedSnapshotIsFollowedBack) {
  const std::string data = The(".drive.");
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  Snapshot("s1", kDiskOnly | VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA);
  Edit();
  const std::string layer = fs::path(data).replace_extension(".s1");
  ASSERT_EQ(virDomainBlockCommit(Domain(machine_).get(), "vdb", nullptr, nullptr, 0,
                                 VIR_DOMAIN_BLOCK_COMMIT_ACTIVE),
            0)
      << virGetLastErrorMessage();
  config_.mutable_resources()->set_memory_mb(512);
  EXPECT_EQ(Defined().code(), absl::StatusCode::kAborted) << "a block job goes on";
  for (int i = 0; i < 6000; ++i) {
    if (virDomainBlockJobAbort(Domain(machine_).get(), "vdb", VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT) ==
        0) {
      break;
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
  for (int i = 0; i < 6000 && Definition(0).find("<mirror") != std::string::npos; ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  Edit();
  EXPECT_THAT(Definition(), testing::HasSubstr("<source file='" + data + "'"));
  EXPECT_TRUE(fs::exists(layer)) << "it is not rum's to remove";
}

TEST_F(OthersHands, CopiesBesideLiveThroughEditsAndDestroy) {
  const std::string root = The(".root."), data = The(".drive.");
  std::vector<std::string> copies;
  for (const std::string& path : {root, data}) {
    const std::string stem = fs::path(path).replace_extension("");
    for (const std::string& copy : {stem + "-backup.qcow2", stem + "-clone.qcow2", stem + "1.qcow2",
                                    path + "-old", stem + ".img"}) {
      fs::copy_file(path, copy);
      copies.push_back(copy);
    }
  }
  DefineTheirs(copies[1]);
  Edit();
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kDiskAndDrives, nullptr),
            absl::OkStatus());
  const Removal removal = Destroy();
  for (const std::string& copy : copies) {
    EXPECT_TRUE(fs::exists(copy)) << copy;
    EXPECT_THAT(removal.kept, testing::Contains(copy + ": rum did not make it"));
  }
  EXPECT_EQ(Disks().size(), copies.size());
}

TEST_F(OthersHands, AFreshDiskKeepsTheOldOneUnderALinkedClone) {
  const std::string root = The(".root."), data = The(".drive.");
  const std::string clone = TestFile("data/elsewhere/clone.qcow2");
  Layer(root, clone);
  DefineTheirs(clone);
  const std::string inside = PathOf("their-layer.qcow2");
  Layer(data, inside);
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kDiskAndDrives, nullptr),
            absl::OkStatus());
  EXPECT_TRUE(fs::exists(root));
  EXPECT_TRUE(fs::exists(data));
  EXPECT_THAT(Definition(), testing::Not(testing::HasSubstr("'" + data + "'")));
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const Removal removal = Destroy();
  EXPECT_THAT(removal.kept, testing::UnorderedElementsAre(root + ": domain theirs stands on it",
                                                          data + ": " + inside + " stands on it"));
}

TEST_F(OthersHands, ADriveThatAnotherDomainHasStaysWhenTheMachineGoes) {
  const std::string data = The(".drive.");
  DefineTheirs(data);
  const Removal removal = Destroy();
  EXPECT_THAT(removal.kept, testing::ElementsAre(data + ": domain theirs stands on it"));
  EXPECT_THAT(Disks(), testing::SizeIs(1));
  // Nor is it taken up again.
  const absl::Status again = Defined();
  EXPECT_THAT(std::string(again.message()), testing::HasSubstr("domain theirs stands on it"));
}

TEST_F(OthersHands, AnInternalSnapshotKeepsItsDiskUntilTheMachineGoes) {
  const std::string root = The(".root.");
  Snapshot("s1", 0);
  EXPECT_THAT(hypervisor_->Inspect(machine_)->snapshots, testing::ElementsAre("s1"));
  ASSERT_EQ(hypervisor_->Define(machine_, config_, Fresh::kDisk, nullptr), absl::OkStatus());
  EXPECT_TRUE(fs::exists(root));
  EXPECT_THAT(Destroy().kept, testing::IsEmpty());
  EXPECT_THAT(Disks(), testing::IsEmpty());
}

TEST_F(OthersHands, ADiskThatWasMovedElsewhereIsFollowed) {
  const std::string root = The(".root.");
  const std::string moved = TestFile("data/elsewhere/moved.qcow2");
  fs::create_directories(fs::path(moved).parent_path());
  fs::copy_file(root, moved);
  std::string xml = Definition();
  xml.replace(xml.find("<source file='" + root), 14 + root.size(), "<source file='" + moved);
  virDomainPtr defined = virDomainDefineXML(connection_, xml.c_str());
  ASSERT_NE(defined, nullptr) << virGetLastErrorMessage();
  virDomainFree(defined);
  Edit();
  EXPECT_THAT(Definition(), testing::HasSubstr("<source file='" + moved + "'"));
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  Destroy();
  EXPECT_TRUE(fs::exists(moved)) << "rum did not make it";
}

TEST_F(OthersHands, AMissingDiskIsSaidAndNoNewOneTakesItsPlace) {
  const std::string data = The(".drive.");
  fs::rename(data, data + "-aside");
  const absl::Status said = Defined();
  EXPECT_THAT(std::string(said.message()), testing::HasSubstr(data + " is gone"));
  EXPECT_FALSE(fs::exists(data));
  fs::rename(data + "-aside", data);
  Define();
}

TEST_F(OthersHands, WhatIsOwnIsKnownWithoutTheLedgerToo) {
  fs::remove_all(Folder() / "state");
  EXPECT_THAT(Destroy().kept, testing::IsEmpty());
  EXPECT_THAT(Disks(), testing::IsEmpty());
}

TEST_F(OthersHands, AMachineOfABuildBeforeTheLedgerIsTakenOver) {
  ForgetWhatIsOwn();
  Edit();
  EXPECT_EQ(Disks().size(), 3u) << "the old seed is gone";
  EXPECT_THAT(Destroy().kept, testing::IsEmpty());
}

TEST_F(OthersHands, ASizeThatIsRoundedIsTheOneThatWasAsked) {
  (*config_.mutable_drives())["odd"].set_size(10000001);
  config_.mutable_resources()->set_disk((1 << 30) + 1);
  Define();
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const DomainState state = *hypervisor_->Inspect(machine_);
  EXPECT_EQ(state.persistent.drives().at("odd").size(), 10000001u);
  EXPECT_EQ(DiskSize(state.live.drives().at("odd").size()), DiskSize(10000001));
  EXPECT_EQ(DiskSize(state.live.resources().disk()), DiskSize((1 << 30) + 1));
  EXPECT_TRUE(Diff(state.live, state.persistent).empty());
}

// virt-clone copies rum's metadata and aliases too, and shares the seed, as it is read-only.
TEST_F(OthersHands, AMachineAndItsVirtCloneLiveWithoutEachOther) {
  const std::string root = The(".root."), data = The(".drive.");
  const auto clone = [&] {
    Shell("HOME=" + Folder().string() + " virt-clone --quiet --connect " + Uri() + " --original " +
          machine_.domain_name() + " --name theirs --auto-clone");
  };
  // What is theirs: the definition and every byte of the disks.
  const auto theirs = [&] {
    virDomainPtr domain = virDomainLookupByName(connection_, "theirs");
    EXPECT_NE(domain, nullptr) << virGetLastErrorMessage();
    if (domain == nullptr) return std::string();
    std::ostringstream all;
    all << TakeText(virDomainGetXMLDesc(domain, 0));
    virDomainFree(domain);
    for (const std::string& name : Disks()) {
      if (name.find("-clone") == std::string::npos) continue;
      all << name << "\n" << std::ifstream(PathOf(name), std::ios::binary).rdbuf();
    }
    return all.str();
  };
  clone();
  const std::string before = theirs();
  EXPECT_THAT(before, testing::HasSubstr(fs::path(root).stem().string() + "-clone.qcow2"));
  EXPECT_THAT(before, testing::HasSubstr(fs::path(data).stem().string() + "-clone.qcow2"));
  for (int i = 0; i < 3; ++i) Edit();
  EXPECT_TRUE(theirs() == before);
  Shell("virsh -q -c " + Uri() + " undefine theirs --remove-all-storage >/dev/null");
  EXPECT_TRUE(fs::exists(root) && fs::exists(data));
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus()) << "without the seed of before";
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());

  const std::string seed = The(".seed.");
  clone();
  const std::string again = theirs();
  EXPECT_THAT(Destroy().kept, testing::Contains(seed + ": domain theirs stands on it"));
  EXPECT_FALSE(fs::exists(root) || fs::exists(data));
  EXPECT_FALSE(hypervisor_->Inspect(machine_)->defined) << "the clone is not this machine";
  EXPECT_TRUE(theirs() == again);
  virDomainPtr domain = virDomainLookupByName(connection_, "theirs");
  EXPECT_EQ(virDomainCreate(domain), 0) << virGetLastErrorMessage();
  virDomainFree(domain);
}

// virt-clone calls its copies so.
TEST_F(OthersHands, ACopyThatHasTheNameOfALaterDriveIsNotTakenForIt) {
  const std::string data = The(".drive.");
  const std::string copy = fs::path(data).replace_extension("").string() + "-clone.qcow2";
  fs::copy_file(data, copy);
  (*config_.mutable_drives())["data-clone"].set_size(64 << 20);
  Define();
  EXPECT_THAT(Definition(), testing::Not(testing::HasSubstr("'" + copy + "'")));
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_THAT(Destroy().kept, testing::ElementsAre(copy + ": rum did not make it"));
}

TEST_F(OthersHands, ADriveThatLeftTheFileUnderABuildBeforeTheLedgerComesBack) {
  const std::string data = The(".drive.");
  const Config with = config_;
  config_.clear_drives();
  Define();
  ForgetWhatIsOwn();
  Edit();
  config_ = with;
  Define();
  EXPECT_THAT(Definition(), testing::HasSubstr("'" + data + "'"));
}

TEST_F(OthersHands, ADriveThatComesBackIsWhereItWasLast) {
  const std::string data = The(".drive.");
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  Snapshot("s1", kDiskOnly | VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA);
  ASSERT_EQ(hypervisor_->Stop(machine_, absl::ZeroDuration()), absl::OkStatus());
  Define();
  Config without = config_;
  without.clear_drives();
  ASSERT_EQ(hypervisor_->Define(machine_, without, Fresh::kNothing, nullptr), absl::OkStatus());
  Define();
  EXPECT_THAT(Definition(),
              testing::HasSubstr("'" + fs::path(data).replace_extension(".s1").string() + "'"));
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
                                  ? "kill -9 $(pgrep -f '[g]uest=" + machine.domain_name() + ",')"
                                  : virsh + what + " " + machine.domain_name() + " >/dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return true;
}

void TheirNetwork(Hypervisor*, const std::string& name, bool there) {
  there ? DefineTheirNetwork(Uri(), name) : UndefineTheirNetwork(Uri(), name);
}

}  // namespace

const std::vector<Contractor>& Contractors() {
  static const auto* const all = new std::vector<Contractor>{
      {"Qemu", Make, TestFile("base.qcow2"), TestFile("other.raw"), false,
       [](const std::string& domain, const auto& edit) {
         return EditInLibvirt(Uri(), domain, edit);
       },
       Hand, Uri() == "qemu:///system" ? TheirNetwork : nullptr}};
  return *all;
}

}  // namespace rum
