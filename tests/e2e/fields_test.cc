// Every restart and recreate field on a VM that runs: by the file and by virsh, there and back.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "controller/service/control.pb.h"
#include "state/diff.h"
#include "state/schema.h"
#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr char kMore[] = R"(
[[mounts]]
source = "one"
target = "/src"
readonly = false
tag = "src"
default = false
[drives.a]
size = "64M"
[drives.b]
size = "128M"
[drives.c]
size = "128M"
[drives.d]
size = "128M"
[[fs.ext4]]
drive = "a"
target = "/a"
[[fs.btrfs]]
drives = ["b", "c"]
mode = "raid1"
target = "/pair"
)";
constexpr char kCard[] = "[[network.interfaces]]\nnetwork = \"lan\"\nip = \"192.168.231.9\"\n";

// What stands in the file once, and what comes in its place.
struct Case {
  std::string field;  // of the schema
  std::string from;
  std::string to;
};

bool IsSystem() { return std::getenv("RUM_TEST_URI") == std::string("qemu:///system"); }

std::vector<Case> Cases() {
  std::vector<Case> cases = {
      {"image.base", "/image.qcow2\"", "/another.qcow2\""},
      {"image.sha256", "[resources]", "sha256 = \"" + std::string(64, 'a') + "\"\n[resources]"},
      {"resources.cpus", "cpus = 1", "cpus = 2"},
      {"resources.memory_mb", "memory_mb = 512", "memory_mb = 640"},
      {"resources.max_cpus", "disk = \"4G\"", "disk = \"4G\"\nmax_cpus = 2"},
      {"resources.max_memory_mb", "disk = \"4G\"", "disk = \"4G\"\nmax_memory_mb = 1024"},
      {"resources.disk", "disk = \"4G\"", "disk = \"5G\""},
      {"network.nat", "[network]\n", "[network]\nnat = false\n"},
      {"user.name", "[user]\n", "[user]\nname = \"ada\"\n"},
      {"mounts.source", "source = \"one\"", "source = \"two\""},
      {"mounts.target", "target = \"/src\"", "target = \"/work\""},
      {"mounts.readonly", "readonly = false", "readonly = true"},
      {"mounts.tag", "tag = \"src\"", "tag = \"code\""},
      {"mounts.default", "default = false", "default = true"},
      {"drives.size", "[drives.d]\nsize = \"128M\"", "[drives.d]\nsize = \"160M\""},
      {"fs.drive", "drive = \"a\"", "drive = \"d\""},
      {"fs.drives", "[\"b\", \"c\"]", "[\"b\", \"c\", \"d\"]"},
      {"fs.target", "target = \"/a\"", "target = \"/data\""},
      {"fs.mode", "mode = \"raid1\"", "mode = \"raid0\""},
      {"fs.pool", "[[fs.ext4]]",
       "[[fs.zfs]]\ndrives = [\"d\"]\npool = \"tank\"\ntarget = \"/z\"\n[[fs.ext4]]"},
      {"advanced.libvirt_uri", std::string("uri = \"") + std::getenv("RUM_TEST_URI") + "\"",
       "uri = \"test:///default\""},
      {"advanced.domain_type", "[advanced]\n", "[advanced]\ndomain_type = \"qemu\"\n"},
      {"advanced.machine", "[advanced]\n", "[advanced]\nmachine = \"pc\"\n"},
      {"advanced.autologin", "[advanced]\n", "[advanced]\nautologin = true\n"},
  };
  // A session's libvirt has no networks: there the fields are refused, by storage_test.
  // On another subnet: the machine's old network lives until the restart.
  cases.push_back({"network.interfaces.network", "network = \"lan\"\nip = \"192.168.231.9\"",
                   "network = \"lab\"\nip = \"192.168.232.9\""});
  cases.push_back({"network.interfaces.ip", "192.168.231.9", "192.168.231.8"});
  return cases;
}

bool Waits(Effect effect) {
  return effect == RESTART || effect == RECREATE || effect == EFFECT_UNSPECIFIED;
}

void AddFields(const Descriptor& table, const std::string& prefix, std::set<std::string>* fields) {
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    const std::string name = prefix + field.name();
    if (!IsKey(field)) continue;
    if (const Descriptor* below = TableOf(field); below != nullptr) {
      AddFields(*below, name + ".", fields);
    } else if (Waits(EffectOf(name))) {
      fields->insert(name);
    }
  }
}

std::string Table(const std::string& field) { return field.substr(0, field.find_first_of("[.")); }

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// One VM for all cases: they run in the order of this file and each leaves the machine in sync.
class Fields : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    for (const char* name : {"one", "two"}) {
      fs::create_directory(world_->folder() + "/project/" + name);
    }
    // Of this user's own, so that a case may change it.
    image_ = world_->folder() + "/image.qcow2";
    fs::copy_file(world_->file.image, image_);
    world_->file.image = image_;
    world_->file.more = std::string(kMore) + (IsSystem() ? kCard : "");
    world_->file.live = false;  // what has room: live_*_test
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  static control::ApplyReport Reload(const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"-o", "json", "reload"};
    words.insert(words.end(), options.begin(), options.end());
    const Result result = world_->Rum(words);
    control::ApplyReport report;
    EXPECT_TRUE(ReadJson(result.out, &report)) << result.out << result.err;
    EXPECT_FALSE(report.outcome().failed()) << result.out << result.err;
    return report;
  }
  static void ExpectSilence() {
    const MachineStatus status = world_->Status();
    for (const Item& item : status.items()) {
      EXPECT_EQ(item.state(), Item::HOLDS) << item.ShortDebugString();
    }
  }
  static Item ItemOf(const std::string& field) {
    const MachineStatus status = world_->Status();
    Item found;
    for (const Item& item : status.items()) {  // the guest's word on it may be another item
      if (item.field() == field && found.state() == Item::HOLDS) found = item;
    }
    return found;
  }
  static std::string Definition() {
    return world_->Virsh({"dumpxml", "--inactive", world_->DomainName()}).out;
  }
  static void Define(const std::string& xml) {
    const std::string path = world_->folder() + "/definition.xml";
    std::ofstream(path) << xml;
    const Result defined = world_->Virsh({"define", path});
    EXPECT_EQ(defined.exit_status, 0) << defined.err;
  }
  // `field` was moved by virsh in the persistent definition; `rum apply` puts it right.
  static void ExpectMovedAndPutRight(const std::string& field) {
    const Item item = ItemOf(field);
    EXPECT_EQ(item.state(), Item::DRIFTED) << field << ": " << item.ShortDebugString();
    EXPECT_EQ(item.moved_by(), Item::LIBVIRT) << field;
    const std::string moved = Definition();
    Reload();
    EXPECT_NE(Definition(), moved);
    ExpectSilence();
  }

  static inline World* world_ = nullptr;
  static inline std::string image_;
  static inline Result up_;
};

TEST_F(Fields, ThatWaitHaveACaseEach) {
  std::set<std::string> fields, cases;
  AddFields(*Config::descriptor(), "", &fields);
  for (const Case& c : Cases()) cases.insert(c.field);
  EXPECT_EQ(cases, fields);
}

TEST_F(Fields, ChangedInTheFileCostWhatTheSchemaSaysAndNothingWhenTakenBack) {
  ExpectSilence();
  const std::string text = world_->file.Toml();
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.field);
    if (!IsSystem() && Table(c.field) == "network" && c.field != "network.nat") continue;
    world_->SaveText(Replaced(text, c.from, c.to));
    const Plan plan = Reload({"--dry-run"}).outcome().plan();
    EXPECT_GT(plan.waiting_size(), 0);
    for (const Change& change : plan.waiting()) {
      EXPECT_EQ(Table(change.field()), Table(c.field));
      EXPECT_EQ(change.effect(), EffectOf(c.field)) << change.field();
      if (RoomOf(c.field).empty()) EXPECT_EQ(change.reason(), ReasonOf(c.field)) << change.field();
      EXPECT_NE(change.reason(), "");
    }
    EXPECT_EQ(Reload().outcome().plan().waiting_size(), plan.waiting_size());
    world_->SaveText(text);
    Reload();
    ExpectSilence();
  }
}

TEST_F(Fields, MovedByVirshShowAndArePutRight) {
  const std::string domain = world_->DomainName();
  world_->Virsh({"setvcpus", domain, "3", "--maximum", "--config"});
  world_->Virsh({"setvcpus", domain, "3", "--config"});
  ExpectMovedAndPutRight("resources.cpus");
  world_->Virsh({"setmaxmem", domain, "700M", "--config"});
  world_->Virsh({"setmem", domain, "700M", "--config"});
  ExpectMovedAndPutRight("resources.memory_mb");
  world_->Virsh({"detach-disk", domain, "vdd", "--config"});
  ExpectMovedAndPutRight("drives.c");
  Define(std::regex_replace(Definition(), std::regex("<filesystem[^]*?</filesystem>"), ""));
  ExpectMovedAndPutRight("mounts[/src]");
  const std::string card = IsSystem() ? "<source network='default'/>" : "<interface type='user'>";
  ASSERT_NE(Definition().find(card), std::string::npos) << Definition();
  Define(std::regex_replace(Definition(),
                            std::regex("<interface[^>]*>(?:(?!</interface>)[^])*?ua-rum-nat"
                                       "(?:(?!</interface>)[^])*?</interface>"),
                            ""));
  ExpectMovedAndPutRight("network.nat");
  // Another machine has other buses: libvirt finds the places anew.
  std::string other =
      std::regex_replace(Definition(), std::regex("<address type='pci'[^>]*/>"), "");
  other = std::regex_replace(
      other, std::regex("<controller type='(pci|sata|usb)'[^>]*?(/>|>[^]*?</controller>)"), "");
  Define(std::regex_replace(other, std::regex("pc-q35-[0-9.]+"), "pc"));
  ExpectMovedAndPutRight("advanced.machine");
}

TEST_F(Fields, ABalloonThatVirshMovedShowsUntilItIsMovedBack) {
  const std::string domain = world_->DomainName();
  const auto shows = [](Item::State state) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (ItemOf("resources.memory_mb").state() != state) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return true;
  };
  world_->Virsh({"setmem", domain, "440M", "--live"});
  EXPECT_TRUE(shows(Item::NEEDS_RESTART));
  EXPECT_EQ(ItemOf("resources.memory_mb").moved_by(), Item::LIBVIRT);
  world_->Virsh({"setmem", domain, "512M", "--live"});
  EXPECT_TRUE(shows(Item::HOLDS));
}

TEST_F(Fields, AnImageThatWasReplacedUnderTheDiskShows) {
  const fs::file_time_type then = fs::last_write_time(image_);
  fs::last_write_time(image_, then + std::chrono::hours(1));
  const Item item = ItemOf("image.base");
  EXPECT_EQ(item.state(), Item::NEEDS_RECREATE);
  EXPECT_EQ(item.moved_by(), Item::HOST);
  EXPECT_EQ(world_->Rum({"status", "--exit-code"}).exit_status, 5);
  fs::last_write_time(image_, then);
  ExpectSilence();
}

TEST_F(Fields, ADiskGrowsWithItsFilesystemAndTheConsoleLogsInAfterARestart) {
  // The image for tests starts no login on the console by itself.
  const std::string getty =
      "systemctl -q unmask serial-getty@ttyS0; "
      "systemctl restart serial-getty@ttyS0; "
      "until ps -o args= -t ttyS0 | grep -q .; do sleep 0.2; done; ";
  EXPECT_EQ(world_->Guest(getty + "sleep 3; ps -o user= -t ttyS0 | sort -u"), "root");
  const std::string free_mb = "df --output=size -BM / | tail -1 | tr -dc 0-9";
  const int before = std::atoi(world_->Guest(free_mb).c_str());
  std::string text = Replaced(world_->file.Toml(), "disk = \"4G\"", "disk = \"6G\"");
  world_->SaveText(Replaced(text, "[advanced]\n", "[advanced]\nautologin = true\n"));
  const Result restart = world_->Rum({"restart"});
  ASSERT_EQ(restart.exit_status, 0) << restart.out << restart.err;
  EXPECT_EQ(world_->Guest("cat /sys/block/vda/size"), std::to_string((6ULL << 30) / 512));
  EXPECT_GT(std::atoi(world_->Guest(free_mb).c_str()), before + 1900);
  EXPECT_EQ(world_->Guest(getty + "until ps -o user= -t ttyS0 | grep -qx rum; do sleep 0.2; done; "
                                  "ps -o user= -t ttyS0 | sort -u | tail -1"),
            "rum");
  ExpectSilence();
}

// Another user of this host, with all homes of his own, and the same file.
class OtherUser {
 public:
  explicit OtherUser(const World& world) : world_(world), folder_(world.folder() + "/other") {
    fs::create_directory(folder_);
    for (const char* sub : {"/state", "/run", "/data", "/home"})
      fs::create_directory(folder_ + sub);
    for (const auto& [name, value] : world.env()) {
      const bool path = value.rfind(world.folder(), 0) == 0;
      env_[name] = path ? folder_ + value.substr(world.folder().size()) : value;
    }
    const Result given = e2e::Run({"chown", "-R", std::string(kUser) + ":" + kGroup, folder_});
    EXPECT_EQ(given.exit_status, 0) << given.err;
    fs::permissions(folder_ + "/run", fs::perms::owner_all);
    // Of this test's own libvirtd.
    fs::permissions("/run/libvirt/libvirt-sock", fs::perms::all);
  }
  ~OtherUser() {
    Rum({"controller", "stop"});
    fs::permissions("/run/libvirt/libvirt-sock", fs::perms::owner_all);
  }
  Result Rum(const std::vector<std::string>& words) const {
    std::vector<std::string> argv = {"setpriv", std::string("--reuid=") + kUser,
                                     std::string("--regid=") + kGroup, "--clear-groups"};
    for (const std::string& word : world_.Argv(words)) argv.push_back(word);
    Result result = e2e::Run(argv, env_);
    std::fprintf(stderr, "other$ rum %s\n%s%s(exit %d)\n", words[0].c_str(), result.out.c_str(),
                 result.err.c_str(), result.exit_status);
    return result;
  }

 private:
  // libvirtd and ssh-keygen ask for an account.
  static constexpr char kUser[] = "nobody";
  static constexpr char kGroup[] = "nogroup";
  const World& world_;
  const std::string folder_;
  std::map<std::string, std::string> env_;
};

TEST_F(Fields, AnotherUserWithTheSameFileIsToldWhoseTheMachineIsAndTouchesNothing) {
  if (!IsSystem()) return;  // a session is one user's
  const OtherUser other(*world_);
  const auto all = [] {
    std::string seen = world_->RecordBytes() + Definition() + ListeningPorts() +
                       world_->Guest("cat /proc/sys/kernel/random/boot_id; hostname; id rum");
    for (const std::vector<std::string>& list : {std::vector<std::string>{"list", "--all"},
                                                 {"net-list", "--all"},
                                                 {"pool-list", "--all"},
                                                 {"vol-list", "rum"},
                                                 {"dumpxml", world_->DomainName()}}) {
      seen += world_->Virsh(list).out;
    }
    return seen;
  };
  const std::string before = all();
  const std::string whose = "this machine belongs to user root (uid 0): the domain " +
                            world_->DomainName() + ", made from " + world_->folder();
  for (const std::vector<std::string>& words : {std::vector<std::string>{"status"},
                                                {"up", "-d"},
                                                {"up", "-d", "--reset"},
                                                {"apply"},
                                                {"apply", "--dry-run"},
                                                {"restart"},
                                                {"exec", "reboot"},
                                                {"down"},
                                                {"destroy"},
                                                {"list"},
                                                {"status"}}) {
    const Result result = other.Rum(words);
    if (words[0] == "list") continue;
    EXPECT_NE((result.out + result.err).find(whose), std::string::npos)
        << words[0] << ": " << result.out << result.err;
    if (words[0] != "status") EXPECT_NE(result.exit_status, 0) << words[0];
  }
  EXPECT_EQ(all(), before);
  // Who says that he means it may.
  const Result down = other.Rum({"down", "--force"});
  EXPECT_EQ(down.exit_status, 0) << down.out << down.err;
  EXPECT_EQ(world_->Status().phase(), MachineStatus::STOPPED);
}

}  // namespace
}  // namespace rum::e2e
