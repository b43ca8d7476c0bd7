// What people do beside rum on the same libvirt, with virt-manager, virsh and virt-clone: nothing
// of theirs is lost by rum, and nothing that the guest wrote. The edits of rum.toml are drawn by a
// seed, $RUM_TEST_SEED.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <pugixml.hpp>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

// As virt-manager adds them. The TPM is one that this host does not have.
constexpr char kDesktop[] = R"(
<input type='tablet' bus='usb'/>
<graphics type='spice' autoport='yes' passwd='geheim'>
  <listen type='address'/><image compression='off'/></graphics>
<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
<redirdev bus='usb' type='spicevmc'/>
<redirdev bus='usb' type='spicevmc'/>
<sound model='ich9'/>
<audio id='1' type='spice'/>
<video><model type='virtio' heads='1' primary='yes'/></video>
<watchdog model='i6300esb' action='reset'/>
<rng model='virtio'><rate bytes='1024' period='1000'/>
  <backend model='random'>/dev/random</backend></rng>
<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm-none'/></backend></tpm>
)";
constexpr char kOsInfo[] =
    "<libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>"
    "<libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo>";

std::string DriveTables(const std::string& name) {
  return "[drives." + name + "]\nsize = \"64M\"\n[[fs.ext4]]\ndrive = \"" + name +
         "\"\ntarget = \"/" + name + "\"\n";
}

// All elements of a definition but those that rum.toml speaks of, as text.
std::multiset<std::string> Foreign(const std::string& xml) {
  pugi::xml_document document;
  EXPECT_TRUE(document.load_string(xml.c_str())) << xml;
  std::multiset<std::string> all;
  const auto take = [&](pugi::xml_node node, const std::set<std::string>& but) {
    for (pugi::xml_node child : node.children()) {
      const std::string alias = child.child("alias").attribute("name").value();
      if (but.count(child.name()) > 0 || alias.rfind("ua-rum-", 0) == 0) continue;
      // libvirt's own doing: one of them gets another function when more are needed.
      if (std::strcmp(child.attribute("model").value(), "pcie-root-port") == 0) continue;
      std::ostringstream text;
      child.print(text, "", pugi::format_raw);
      all.insert(text.str());
    }
  };
  const pugi::xml_node domain = document.child("domain");
  take(domain, {"memory", "currentMemory", "vcpu", "metadata", "devices"});
  take(domain.child("metadata"), {"rum:machine"});
  take(domain.child("devices"), {});
  return all;
}

// What the backing chain of an image is made of. Fails the test where one of it is missing.
std::set<std::string> Chain(const std::string& image) {
  const Result info = Run({"qemu-img", "info", "-U", "--backing-chain", "--output=json", image});
  EXPECT_EQ(info.exit_status, 0) << info.err;
  std::set<std::string> files;
  std::istringstream lines(info.out);
  for (std::string line; std::getline(lines, line);) {
    const std::string key = "\"filename\": \"";
    const size_t at = line.find(key);
    if (at == std::string::npos) continue;
    const size_t begin = at + key.size();
    files.insert(line.substr(begin, line.rfind('"') - begin));
  }
  EXPECT_EQ(files.count(image), 1u) << info.out;
  return files;
}

// One VM for all cases, which go on from each other.
class Beside : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* given = std::getenv("RUM_TEST_SEED");
    const int seed = given == nullptr || *given == '\0' ? 18 : std::atoi(given);
    std::fprintf(stderr, "== RUM_TEST_SEED=%d\n", seed);
    random_.seed(seed);
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    for (const std::string& name : drives_) world_->file.more += DriveTables(name);
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
    domain_ = world_->DomainName();
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  static void ExpectOk(const Result& result, const std::string& what) {
    EXPECT_EQ(result.exit_status, 0) << what << ": " << result.out << result.err;
  }
  // By virsh; says whether it went well.
  static bool Hand(const std::vector<std::string>& words) {
    const Result result = world_->Virsh(words);
    ExpectOk(result, words[0] + " " + (words.size() > 2 ? words[2] : ""));
    return result.exit_status == 0;
  }
  static std::string Definition(const std::string& domain, bool live = false) {
    std::vector<std::string> words = {"dumpxml", domain, "--security-info"};
    if (!live) words.push_back("--inactive");
    const Result xml = world_->Virsh(words);
    ExpectOk(xml, "dumpxml");
    return xml.out;
  }
  // `virsh edit`.
  static void EditByHand(const std::string& domain,
                         const std::function<void(pugi::xml_node domain)>& hand) {
    pugi::xml_document document;
    EXPECT_TRUE(document.load_string(Definition(domain).c_str()));
    hand(document.child("domain"));
    const std::string path = world_->folder() + "/edited.xml";
    EXPECT_TRUE(document.save_file(path.c_str()));
    Hand({"define", path});
  }

  // One of the edits of rum.toml that people make.
  static void Edit() {
    FileSpec* file = &world_->file;
    const unsigned kind = random_() % 4;
    if (kind == 0 && drives_.size() < 5) {
      drives_.push_back("d" + std::to_string(drives_.size()));
      file->more += DriveTables(drives_.back());
    } else if (kind == 1) {
      file->cpus = 3 - file->cpus;
    } else {
      const uint64_t other = 448 + 8 * (random_() % 24);
      file->memory_mb = other == file->memory_mb ? other + 8 : other;
    }
    world_->Save();
    ExpectOk(world_->Rum({"reload"}), "reload");
  }

  // The files that the disks of a domain stand on, in both definitions, down to the last.
  static std::set<std::string> FilesOf(const std::string& domain) {
    std::set<std::string> files;
    for (const bool live : {false, true}) {
      pugi::xml_document document;
      document.load_string(Definition(domain, live).c_str());
      for (const auto& found : document.select_nodes("//disk//source/@file")) {
        const std::string image = found.attribute().value();
        if (files.count(image) > 0) continue;
        const std::set<std::string> chain = Chain(image);
        files.insert(chain.begin(), chain.end());
      }
    }
    EXPECT_GE(files.size(), 3u) << "at least a disk, its base and the seed";
    return files;
  }

  // All files that were written until now are there, byte for byte, and so is every file of the
  // host that a disk stands on. Then each place gets one more.
  static void Check(const std::string& when) {
    SCOPED_TRACE(when);
    FilesOf(domain_);
    const std::string step = std::to_string(++steps_);
    std::string line = "set -e\nsync\necho 3 > /proc/sys/vm/drop_caches\n";  // from the disks
    if (!sums_.empty()) {
      line += "sha256sum --check --strict --quiet >&2 <<'SUMS'\n" + sums_ + "SUMS\n";
    }
    line += "for place in " + places_ + "; do mkdir -p $place/kept; file=$place/kept/" + step +
            "; seq " + step + "000 " + step + "999 > $file; sha256sum $file; done\nsync";
    const std::string written = world_->Guest(line);
    EXPECT_NE(written, "");
    if (!written.empty()) sums_ += written + "\n";
  }
  // A restart has brought the drives that were added.
  static void TakeNewPlaces() {
    places_ = "/var";
    for (const std::string& name : drives_) places_ += " /" + name;
  }

  static std::string ImageOf(const std::string& part) {
    std::istringstream disks(world_->Virsh({"domblklist", domain_}).out);
    for (std::string target, path; disks >> target && std::getline(disks >> std::ws, path);) {
      if (path.find(part) != std::string::npos) return path;
    }
    ADD_FAILURE() << "no disk " << part;
    return "";
  }
  // `virsh blockcommit` of what a disk is now; what it was is nobody's then.
  static void Commit(const std::string& part, bool shallow) {
    const std::string layer = ImageOf(part);
    std::set<std::string> left = Chain(layer);
    std::vector<std::string> words = {"blockcommit", domain_, layer, "--active", "--pivot"};
    words.push_back("--wait");
    if (shallow) words.push_back("--shallow");
    if (!Hand(words)) return;
    for (const std::string& file : Chain(ImageOf(part))) left.erase(file);
    EXPECT_EQ(left.count(layer), 1u);
    layers_.insert(left.begin(), left.end());
    Check("after the commit of " + layer);
  }

  // virt-clone; the new domain's name.
  static std::string Clone() {
    const Result cloned = e2e::Run({"virt-clone", "--connect", world_->file.uri, "--original",
                                    domain_, "--auto-clone", "--quiet"},
                                   world_->env());
    ExpectOk(cloned, "virt-clone");
    return domain_ + "-clone";
  }
  // A domain that is off, with every byte of what it alone stands on.
  static std::string Whole(const std::string& domain) {
    std::vector<std::string> argv = {"sha256sum"};
    const std::set<std::string> files = FilesOf(domain);
    argv.insert(argv.end(), files.begin(), files.end());
    const Result sums = e2e::Run(argv);
    ExpectOk(sums, "sha256sum");
    return Definition(domain) + sums.out;
  }

  static inline World* world_ = nullptr;
  static inline std::mt19937 random_;
  static inline std::vector<std::string> drives_ = {"a", "b"};
  static inline std::string domain_;
  static inline std::string places_ = "/var /a /b";
  static inline std::string sums_;  // of all files in the guest
  static inline int steps_ = 0;
  static inline std::set<std::string> layers_;  // that were committed
  static inline Result up_;
};

TEST_F(Beside, WhatVirtManagerWroteIsThereUnchangedAfterTenEdits) {
  EditByHand(domain_, [](pugi::xml_node domain) {
    domain.child("devices").remove_child("audio");  // libvirt's, of type "none"
    domain.child("devices").append_buffer(kDesktop, std::strlen(kDesktop));
    domain.child("metadata").append_buffer(kOsInfo, std::strlen(kOsInfo));
    domain.append_child("title").text().set("Shop & more");
    domain.append_child("description").text().set("Ada's own words");
    domain.append_child("pm").append_child("suspend-to-mem").append_attribute("enabled") = "no";
  });
  const std::multiset<std::string> before = Foreign(Definition(domain_));
  for (const char* kind : {"<input type=\"tablet\"", "passwd=\"geheim\"", "com.redhat.spice.0",
                           "<redirdev", "<sound", "<audio", "<video", "<watchdog", "/dev/random",
                           "<tpm", "debian/12", "<title>Shop &amp; more", "<description", "<pm>"}) {
    const auto has = [&](const std::string& element) {
      return element.find(kind) != std::string::npos;
    };
    EXPECT_TRUE(std::any_of(before.begin(), before.end(), has)) << kind;
  }
  for (int i = 1; i <= 10; ++i) {
    Edit();
    const std::multiset<std::string> after = Foreign(Definition(domain_));
    for (const std::string& element : before) {
      EXPECT_GE(after.count(element), before.count(element)) << "edit " << i << ": " << element;
    }
  }
  Check("after ten edits of a definition of virt-manager's");
  EditByHand(domain_, [](pugi::xml_node domain) { domain.child("devices").remove_child("tpm"); });
}

TEST_F(Beside, SnapshotsAreFollowedThroughEditsRestartsAndCommits) {
  ASSERT_TRUE(Hand({"snapshot-create-as", domain_, "s1", "--disk-only"}));
  Check("after a snapshot");
  for (int i = 1; i <= 20; ++i) {
    if (i == 11) {
      ASSERT_TRUE(Hand({"snapshot-create-as", domain_, "s2", "--disk-only", "--no-metadata"}));
      Check("after another snapshot");
    }
    Edit();
    Check("after edit " + std::to_string(i));
  }
  ExpectOk(world_->Rum({"down"}), "down");
  FilesOf(domain_);
  const Result up = world_->Rum({"up", "-d"});
  ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
  const std::string live = Definition(domain_, true);
  for (const char* kind : {"<graphics type='spice'", "<sound", "<watchdog", "<redirdev"}) {
    EXPECT_NE(live.find(kind), std::string::npos) << kind;
  }
  Check("after a restart on the snapshots");
  TakeNewPlaces();
  Check("on the new drives too");
  Commit(".root.", true);
  Edit();
  Check("after an edit between commits");
  Commit(".drive.rum-a.", false);
  Commit(".drive.rum-b.", true);
  for (int i = 1; i <= 3; ++i) {
    Edit();
    Check("after edit " + std::to_string(i) + " on what was committed");
  }
  // The rest of the way.
  Commit(".root.", true);
  Commit(".drive.rum-b.", true);
  Edit();
  Check("after an edit on what was before the snapshots");
  EXPECT_TRUE(Hand({"snapshot-delete", domain_, "s1", "--metadata"}));
  EXPECT_EQ(layers_.size(), 6u);
  for (const std::string& layer : layers_) {
    EXPECT_TRUE(fs::remove(layer)) << layer << ": not rum's to remove";
  }
  Edit();
  Check("after all layers were taken away");
}

TEST_F(Beside, ACloneAndItsOriginalLiveWithoutEachOther) {
  ExpectOk(world_->Rum({"down"}), "down");
  std::string clone = Clone();
  std::string whole = Whole(clone);
  std::set<std::string> of_clone = FilesOf(clone);
  for (const std::string& file : FilesOf(domain_)) of_clone.erase(file);
  EXPECT_EQ(of_clone.size(), 1 + drives_.size()) << "the root disk's and each drive's";
  const std::string own = Definition(domain_);
  for (int i = 0; i < 3; ++i) Edit();
  // virt-clone has given a file the name that rum would give this one's.
  drives_.push_back("a-clone");
  world_->file.more += DriveTables("a-clone");
  world_->Save();
  ExpectOk(world_->Rum({"apply"}), "apply");
  EXPECT_NE(Definition(domain_), own);
  EXPECT_EQ(Whole(clone), whole) << "edits of the original are not the clone's";
  // virsh takes all that the clone names: the original's seed too, which both read.
  ASSERT_TRUE(Hand({"undefine", clone, "--remove-all-storage"}));
  for (const std::string& file : of_clone) EXPECT_FALSE(fs::exists(file)) << file;
  const Result up = world_->Rum({"up", "-d"});
  ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
  TakeNewPlaces();
  Check("after the clone went, with its storage");
  Edit();
  Check("after an edit without the clone");

  ExpectOk(world_->Rum({"down"}), "down");
  clone = Clone();
  whole = Whole(clone);
  const Result destroyed = world_->Rum({"destroy"});
  ExpectOk(destroyed, "destroy");
  EXPECT_NE(destroyed.out.find(".iso: domain " + clone + " stands on it"), std::string::npos)
      << destroyed.out;
  EXPECT_EQ(Whole(clone), whole);
  EXPECT_EQ(world_->DomainName(), clone) << "the one domain of all";
  // It has rum's metadata, and is no machine of rum's all the same.
  EXPECT_EQ(world_->Rum({"list"}).out.find("project"), std::string::npos);
  ExpectOk(world_->Rum({"destroy"}), "a second destroy");
  EXPECT_EQ(Whole(clone), whole);
  // Where libvirt's own place for its sockets is too long, it can have none.
  if (world_->file.uri == "qemu:///session") {
    EditByHand(clone, [](pugi::xml_node domain) {
      const auto ours =
          domain.select_nodes("devices/channel[starts-with(target/@name,'org.rum.')]");
      EXPECT_EQ(ours.size(), 2u);
      for (const auto& found : ours) {
        EXPECT_FALSE(found.node().child("source")) << "not the sockets of the original";
        found.node().parent().remove_child(found.node());
      }
    });
  }
  EXPECT_TRUE(Hand({"start", clone})) << "all that it stands on is there";
  Hand({"destroy", clone});
  Hand({"undefine", clone, "--remove-all-storage"});
}

}  // namespace
}  // namespace rum::e2e
