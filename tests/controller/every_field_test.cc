// Every field of the schema on a machine that runs: a change costs what the schema says, for the
// reason that it says, and leaves nothing when it is taken back.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "state/diff.h"
#include "state/schema.h"
#include "tests/controller/fake_world.h"

namespace rum {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr char kFile[] = R"([image]
base = "/images/one.qcow2"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[resources]
cpus = 2
memory_mb = 1024
max_cpus = 4
max_memory_mb = 4096
disk = "20G"
[network]
nat = true
hostname = "dev"
wait_for_ip = true
ip_wait_timeout_s = 5
[[network.interfaces]]
network = "lan"
ip = "192.168.50.9"
[provision]
timeout_s = 70
[provision.system]
script = "system 1"
[provision.boot]
script = "boot 1"
[[ports]]
host = 8080
guest = 80
bind = "127.0.0.1"
[user]
name = "rum"
groups = ["docker"]
[ssh]
user = "rum"
command = "ssh"
interface = ""
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ one"]
[[mounts]]
source = "one"
target = "/src"
readonly = false
tag = "src"
default = false
[drives.a]
size = "1G"
[drives.b]
size = "1G"
[drives.c]
size = "1G"
[drives.d]
size = "1G"
[[fs.ext4]]
drive = "a"
target = "/a"
[[fs.zfs]]
drives = ["b", "d"]
target = "/z"
mode = "mirror"
pool = "tank"
[advanced]
libvirt_uri = "test:///default"
domain_type = "auto"
machine = "q35"
autologin = false
[reconcile]
auto = true
restart = "on-crash"
live = true
[guest]
timezone = "Europe/Berlin"
)";

struct Case {
  std::string field;  // of the schema, without keys
  std::string from;   // stands in kFile once
  std::string to;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {"image.base", "/images/one.qcow2", "/images/two.qcow2"},
      {"image.sha256", "\"0000", "\"ffff"},
      {"resources.cpus", "cpus = 2", "cpus = 3"},
      {"resources.memory_mb", "1024", "2048"},
      {"resources.max_cpus", "max_cpus = 4", "max_cpus = 8"},
      {"resources.max_memory_mb", "4096", "3072"},
      {"resources.disk", "20G", "30G"},
      {"network.nat", "nat = true", "nat = false"},
      {"network.hostname", "hostname = \"dev\"", "hostname = \"devbox\""},
      {"network.wait_for_ip", "wait_for_ip = true", "wait_for_ip = false"},
      {"network.ip_wait_timeout_s", "timeout_s = 5", "timeout_s = 6"},
      {"network.interfaces.network", "\"lan\"", "\"lab\""},
      {"network.interfaces.ip", "192.168.50.9", "192.168.50.8"},
      {"provision.timeout_s", "timeout_s = 70", "timeout_s = 80"},
      {"provision.system.script", "system 1", "system 2"},
      {"provision.boot.script", "boot 1", "boot 2"},
      {"ports.host", "host = 8080", "host = 8081"},
      {"ports.guest", "guest = 80", "guest = 81"},
      {"ports.auto", "host = 8080\n", "auto = true\n"},
      {"ports.bind", "bind = \"127.0.0.1\"", "bind = \"127.0.0.2\""},
      {"user.name", "name = \"rum\"", "name = \"ada\""},
      {"user.groups", "[\"docker\"]", "[\"video\"]"},
      {"ssh.user", "user = \"rum\"", "user = \"root\""},
      {"ssh.command", "command = \"ssh\"", "command = \"mosh\""},
      {"ssh.interface", "interface = \"\"", "interface = \"lan\""},
      {"ssh.authorized_keys", "JzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ one",
       "BSecond000000000000000000000000000000000000 two"},
      {"mounts.source", "source = \"one\"", "source = \"two\""},
      {"mounts.target", "target = \"/src\"", "target = \"/work\""},
      {"mounts.readonly", "readonly = false", "readonly = true"},
      {"mounts.tag", "tag = \"src\"", "tag = \"code\""},
      {"mounts.default", "default = false", "default = true"},
      {"drives.size", "[drives.c]\nsize = \"1G\"", "[drives.c]\nsize = \"2G\""},
      {"fs.drive", "drive = \"a\"", "drive = \"c\""},
      {"fs.drives", "drives = [\"b\", \"d\"]", "drives = [\"b\", \"d\", \"c\"]"},
      {"fs.target", "target = \"/a\"", "target = \"/data\""},
      {"fs.mode", "mode = \"mirror\"", "mode = \"raidz\""},
      {"fs.pool", "pool = \"tank\"", "pool = \"pond\""},
      {"advanced.libvirt_uri", "test:///default", "test:///other"},
      {"advanced.domain_type", "domain_type = \"auto\"", "domain_type = \"kvm\""},
      {"advanced.machine", "machine = \"q35\"", "machine = \"pc\""},
      {"advanced.autologin", "autologin = false", "autologin = true"},
      {"reconcile.auto", "auto = true", "auto = false"},
      {"reconcile.live", "live = true", "live = false"},
      {"reconcile.restart", "\"on-crash\"", "\"always\""},
      {"guest.timezone", "Europe/Berlin", "Asia/Tokyo"},
  };
  return cases;
}

void AddFields(const Descriptor& table, const std::string& prefix, std::set<std::string>* fields) {
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    const std::string name = absl::StrCat(prefix, field.name());
    if (!IsKey(field)) continue;
    if (const Descriptor* below = TableOf(field); below != nullptr) {
      AddFields(*below, name + ".", fields);
    } else {
      fields->insert(name);
    }
  }
}

TEST(EveryField, OfTheSchemaHasACase) {
  std::set<std::string> fields, cases;
  AddFields(*Config::descriptor(), "", &fields);
  for (const Case& c : Cases()) cases.insert(c.field);
  EXPECT_EQ(cases, fields);
}

// The field of a change without its keys: "ports.host" of "ports[127.0.0.1:8080]" is "ports".
std::string Table(const std::string& field) { return field.substr(0, field.find_first_of("[.")); }

class EveryField : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (const char* name : {"one", "two"}) {
      std::filesystem::create_directory(
          std::filesystem::path(world_.identity.config_path).parent_path() / name);
    }
    if (GetParam() == "fake") return;
    auto libvirt = ConnectLibvirt(GetParam(), "/nowhere/rum-agent", nullptr);
    ASSERT_TRUE(libvirt.ok()) << libvirt.status();
    world_.libvirt = *std::move(libvirt);
  }
  Seen Save(const std::string& text, const ApplyOptions& options = ApplyOptions()) {
    world_.SaveText(text);
    const Seen seen = Apply(*machine_, options);
    EXPECT_FALSE(seen.outcome.failed) << seen.outcome.error << testing::PrintToString(seen.failed);
    return seen;
  }
  // libvirt's test driver has no device that adds memory, and the guest's agent tells of no drives.
  bool HasRoom(const std::string& field) const {
    if (Table(field) != "resources" || field == "resources.disk") return false;
    return !RoomOf(field).empty() && (field != "resources.memory_mb" || GetParam() == "fake");
  }
  void Check(const Case& c) {
    const std::string changed = absl::StrReplaceAll(kFile, {{c.from, c.to}});
    ASSERT_NE(changed, kFile);
    const Effect effect = EffectOf(c.field);
    const Seen seen = Save(changed);
    const auto& waiting = seen.outcome.plan.waiting();
    const bool waits =
        (effect == RESTART && !HasRoom(c.field)) || effect == RECREATE || effect == LIVE_OPT_IN;
    EXPECT_EQ(waiting.empty(), !waits);
    for (const Change& change : waiting) {
      EXPECT_EQ(Table(change.field()), Table(c.field));
      EXPECT_EQ(change.effect(), effect) << change.field();
      // Of what is live within a room, the machine's own.
      if (RoomOf(c.field).empty()) EXPECT_EQ(change.reason(), ReasonOf(c.field)) << change.field();
      EXPECT_NE(change.reason(), "") << change.field();
    }
    // What waits for a start is written for it; what waits for a new disk or a word is not.
    const bool acts = effect == LIVE || effect == RESTART;
    EXPECT_EQ(seen.done.empty(), !acts) << testing::PrintToString(seen.done);
    EXPECT_THAT(Save(changed).done, testing::IsEmpty()) << "twice is once";
    EXPECT_TRUE(Save(kFile).outcome.plan.waiting().empty()) << "taken back";
    EXPECT_THAT(Save(kFile).done, testing::IsEmpty()) << "taken back";
    EXPECT_EQ(Definition(), first_) << "the next start knows nothing of it";
  }

  std::string Definition() {
    Hypervisor& hypervisor = world_.libvirt ? *world_.libvirt : *world_.hypervisor;
    return hypervisor.Inspect(world_.identity)->persistent.DebugString();
  }

  FakeWorld world_;
  std::unique_ptr<Machine> machine_;
  std::string first_;
};

TEST_P(EveryField, CostsWhatTheSchemaSaysAndNothingWhenTakenBack) {
  machine_ = world_.NewMachine();
  Save(kFile, Up());
  first_ = Definition();
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.field);
    Check(c);
  }
  EXPECT_FALSE(machine_->Destroy({}).failed);
}

INSTANTIATE_TEST_SUITE_P(On, EveryField, testing::Values("fake", "test:///default"),
                         [](const auto& info) {
                           return info.param == "fake" ? "Fake" : "LibvirtsTestDriver";
                         });

}  // namespace
}  // namespace rum
