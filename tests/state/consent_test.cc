#include "state/consent.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "state/surroundings.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using google::protobuf::Descriptor;
using google::protobuf::util::MessageDifferencer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A project in a folder of its own, with links and images in it and beside it.
class ConsentTest : public testing::Test {
 protected:
  ConsentTest() {
    std::string folder = "/tmp/rum-consent.XXXXXX";  // where everybody comes to
    root_ = fs::canonical(mkdtemp(folder.data()));
    fs::permissions(root_, fs::perms(0755));
    project_ = root_ + "/home/project";
    fs::create_directories(project_ + "/src");
    fs::create_directories(root_ + "/home/secret");
    setenv("HOME", (root_ + "/home").c_str(), 1);
    setenv("RUM_CACHE_DIR", (root_ + "/home/cache").c_str(), 1);
  }
  ~ConsentTest() override { fs::remove_all(root_); }

  // A file by its tables besides the ones that every file has.
  Config Read(const std::string& more, const std::string& image = "debian-12") const {
    ParsedConfig parsed =
        ReadToml(absl::StrCat("[image]\nbase = \"", image,
                              "\"\n[resources]\ncpus = 1\nmemory_mb = 512\n", more),
                 project_ + "/rum.toml");
    for (const Problem& problem : parsed.problems) ADD_FAILURE() << problem.message;
    return parsed.config;
  }
  Withheld Judge(const Config& wanted, const Consent& consent = Consent()) const {
    Surroundings around =
        LookAround(project_ + "/rum.toml", {&wanted, consent.in_force}, consent.given);
    around.networks = networks_;
    return Withhold(wanted, consent, around);
  }
  Withheld Judge(const std::string& more) const { return Judge(Read(more)); }
  std::vector<std::string> Asked(const Config& wanted, const Consent& consent = Consent()) const {
    std::vector<std::string> asked;
    for (const Ask& ask : Judge(wanted, consent).asks) asked.push_back(AskText(ask));
    return asked;
  }
  std::vector<std::string> Asked(const std::string& more) const { return Asked(Read(more)); }
  static Consent To(const std::vector<Ask>& asks, const Config* in_force = nullptr) {
    Consent consent;
    for (const Ask& ask : asks) consent.given.push_back(ConsentTo(ask, 1));
    consent.in_force = in_force;
    return consent;
  }
  void Image(const std::string& path, const std::string& below = "", int mode = 0644) const {
    fs::create_directories(fs::path(path).parent_path());
    std::string bytes(512, 0);
    bytes.replace(0, 8, std::string("QFI\xfb\0\0\0\3", 8));
    if (!below.empty()) {
      bytes[14] = 1;  // the name's offset, 256
      bytes[19] = static_cast<char>(below.size());
      bytes += below;
      bytes.replace(256, below.size(), below);
    }
    bytes[30] = 1;
    std::ofstream(path) << bytes;
    fs::permissions(path, fs::perms(mode));
  }
  static bool Same(const Config& a, const Config& b) { return MessageDifferencer::Equals(a, b); }

  std::string root_;
  std::string project_;
  std::optional<std::set<std::string>> networks_ = std::set<std::string>{"default", "lab"};
};

std::string CardOn(const std::string& network) {
  return absl::StrCat("[[network.interfaces]]\nnetwork = \"", network, "\"\n");
}

std::string MountOf(const std::string& source, bool readonly = false) {
  return absl::StrCat("[[mounts]]\nsource = \"", source,
                      "\"\ntarget = \"/data\"\nreadonly = ", readonly ? "true" : "false", "\n");
}

std::string PortAt(const std::string& bind, int guest = 80) {
  return absl::StrCat("[[ports]]\nhost = 8080\nguest = ", guest, "\nbind = \"", bind, "\"\n");
}

TEST_F(ConsentTest, WhatStaysInTheProjectIsNotAskedAbout) {
  Image(project_ + "/disk.qcow2", "", 0600);
  Image(root_ + "/home/cache/base/x.qcow2", "", 0600);
  Image(root_ + "/srv/public.qcow2");
  for (const std::string& more : {std::string(), MountOf("."), MountOf("src"), MountOf("src", true),
                                  PortAt("127.0.0.1"), PortAt("127.9.0.1"), PortAt("::1"),
                                  std::string("[advanced]\nlibvirt_uri = \"qemu:///system\"\n"),
                                  std::string("[advanced]\nlibvirt_uri = \"qemu:///session\"\n"),
                                  std::string("[advanced]\nlibvirt_uri = \"test:///default\"\n"),
                                  std::string("[[ports]]\nauto = true\nguest = 80\n")}) {
    const Config wanted = Read(more);
    EXPECT_THAT(Asked(wanted), IsEmpty()) << more;
    EXPECT_TRUE(Same(Judge(wanted).config, wanted)) << more;
  }
  for (const std::string& image :
       {std::string("debian-12"), std::string("https://example.org/a.qcow2"),
        std::string("disk.qcow2"), std::string("./disk.qcow2"), root_ + "/home/cache/base/x.qcow2",
        root_ + "/srv/public.qcow2", absl::StrCat("file://", root_, "/srv/public.qcow2"),
        std::string("/not/there.qcow2")}) {
    EXPECT_THAT(Asked(Read("", image)), IsEmpty()) << image;
  }
}

TEST_F(ConsentTest, AFolderElsewhereIsAskedAbout) {
  const std::string secret = root_ + "/home/secret";
  EXPECT_THAT(Asked(MountOf("~/secret")),
              ElementsAre(absl::StrCat("mounts[/data]: ", secret, ": shares ", secret,
                                       " with the guest, which can write there")));
  const std::string reads = absl::StrCat("mounts[/data]: read-only ", secret, ": shares ", secret,
                                         " with the guest, which ");
  EXPECT_THAT(Asked(MountOf("../secret", true)),
              ElementsAre(reads + "is to read it (under qemu:///system its root can write there "
                                  "all the same)"))
      << "virtiofsd keeps nothing read-only";
  const std::string session = "[advanced]\nlibvirt_uri = \"qemu:///session\"\n";
  EXPECT_THAT(Asked(MountOf("../secret", true) + session), ElementsAre(reads + "can read it"));
  EXPECT_EQ(Asked(MountOf("..")).size(), 1u);
  EXPECT_EQ(Asked(MountOf("~")).size(), 1u);
  EXPECT_EQ(Asked(MountOf("/")).size(), 1u);
  EXPECT_EQ(Judge(MountOf("~/secret")).config.mounts_size(), 0);
  fs::create_directory(root_ + "/home/project-of-another");
  EXPECT_EQ(Asked(MountOf("../project-of-another")).size(), 1u) << "is not inside";
}

TEST_F(ConsentTest, ALinkThatLeadsOutIsWhatItLeadsTo) {
  fs::create_directory_symlink("../secret", project_ + "/out");
  fs::create_directory_symlink("src", project_ + "/in");
  EXPECT_THAT(Asked(MountOf("out")), ElementsAre(HasSubstr("shares " + root_ + "/home/secret")));
  EXPECT_THAT(Asked(MountOf("in")), IsEmpty());
  // By another path to the same folder consent is the same; another folder by the same path is new.
  fs::create_directory_symlink("secret", root_ + "/home/link");
  const Consent consent = To(Judge(MountOf("~/link")).asks);
  EXPECT_THAT(Asked(Read(MountOf("~/link")), consent), IsEmpty());
  fs::remove(root_ + "/home/link");
  fs::create_directory_symlink(".", root_ + "/home/link");
  EXPECT_EQ(Asked(Read(MountOf("~/link")), consent).size(), 1u);
}

TEST_F(ConsentTest, TheRepositoryOfTheFileIsTheProjectButAHomeIsNone) {
  const auto make = [](const std::string& top) {
    fs::create_directories(top + "/.git");
    std::ofstream(top + "/.git/HEAD") << "ref: refs/heads/main\n";
  };
  make(root_ + "/home");
  EXPECT_EQ(Asked(MountOf("git")).size(), 1u) << "a home that is kept in git";
  fs::remove_all(root_ + "/home/.git");
  const std::string top = project_;
  make(top);
  project_ += "/deep/er";
  fs::create_directories(project_);
  EXPECT_THAT(Asked(MountOf("git")), IsEmpty());
  EXPECT_THAT(Asked(MountOf("../../src")), IsEmpty());
  EXPECT_EQ(Asked(MountOf("../../..")).size(), 1u);
  fs::remove(top + "/.git/HEAD");
  EXPECT_EQ(Asked(MountOf("../..")).size(), 1u) << "a folder .git makes no repository";
}

TEST_F(ConsentTest, AnAddressThatOthersReachIsAskedAbout) {
  EXPECT_THAT(Asked(PortAt("0.0.0.0")),
              ElementsAre("ports[0.0.0.0:8080]: 0.0.0.0:8080 to guest port 80: listens on all "
                          "addresses of this host: others in your network reach guest port 80"));
  EXPECT_THAT(Asked(PortAt("::")), ElementsAre(HasSubstr("all addresses of this host")));
  EXPECT_THAT(Asked(PortAt("192.168.1.5")), ElementsAre(HasSubstr("address 192.168.1.5: others")));
  EXPECT_THAT(Asked(PortAt("fe80::1%eth0")), ElementsAre(HasSubstr("fe80::1%eth0")));
  EXPECT_THAT(Asked("[[ports]]\nauto = true\nguest = 80\nbind = \"0.0.0.0\"\n"),
              ElementsAre(HasSubstr("ports[0.0.0.0:auto:80]: 0.0.0.0 at any port")));
  const Withheld withheld = Judge("[[ports]]\nhost = 1\nguest = 1\n" + PortAt("0.0.0.0"));
  ASSERT_EQ(withheld.config.ports_size(), 1) << "the others go on";
  EXPECT_EQ(withheld.config.ports(0).host(), 1u);
}

std::string SocketAt(const std::string& path, int guest = 80) {
  return absl::StrCat("[[ports]]\nguest = ", guest, "\nbind = \"unix:", path, "\"\n");
}

TEST_F(ConsentTest, ASocketOutsideOfTheProjectIsAskedAbout) {
  fs::create_directory(root_ + "/run");
  fs::create_directory_symlink("../secret", project_ + "/out");
  for (const char* near : {"./app.sock", "src/new/app.sock"}) {
    EXPECT_THAT(Asked(SocketAt(near)), IsEmpty()) << near;
  }
  // Where agents of keys and daemons have theirs, which may not be there yet.
  setenv("XDG_RUNTIME_DIR", (root_ + "/run").c_str(), 1);
  EXPECT_EQ(Asked(SocketAt(root_ + "/run/gnupg.sock")).size(), 1u);
  unsetenv("XDG_RUNTIME_DIR");
  const std::string secret = root_ + "/home/secret/app.sock";
  const std::vector<std::string> asked = {absl::StrCat(
      "ports[unix:", secret, "]: unix:", secret, " to guest port 80: makes the socket ", secret,
      ": your programs that connect there reach guest port 80")};
  for (const std::string& far : {secret, std::string("~/secret/app.sock"),
                                 std::string("../secret/app.sock"), std::string("out/app.sock")}) {
    EXPECT_EQ(Asked(SocketAt(far)), asked) << far;
    EXPECT_EQ(Judge(SocketAt(far)).config.ports_size(), 0);
  }
  const Consent consent = To(Judge(SocketAt(secret)).asks);
  EXPECT_THAT(Asked(Read(SocketAt(secret)), consent), IsEmpty());
  EXPECT_EQ(Asked(Read(SocketAt(secret, 22)), consent).size(), 1u);
  // A folder that is exchanged for a link afterwards.
  const Config inside = Read(SocketAt("src/app.sock"));
  fs::remove(project_ + "/src");
  fs::create_directory_symlink("../secret", project_ + "/src");
  EXPECT_EQ(Asked(inside).size(), 1u);
}

TEST_F(ConsentTest, ALibvirtOfAnotherHostIsAskedAboutBeforeAnythingIsDone) {
  const Withheld withheld =
      Judge("[advanced]\nlibvirt_uri = \"qemu+ssh://me@vm.example.org:22/system\"\n");
  ASSERT_EQ(withheld.asks.size(), 1u);
  EXPECT_EQ(withheld.asks[0].sentence, "works on the libvirt of vm.example.org:22, as me");
  EXPECT_THAT(withheld.blocked_by, ElementsAre("advanced.libvirt_uri"));
  EXPECT_EQ(withheld.config.advanced().libvirt_uri(), "");
  EXPECT_EQ(Asked("[advanced]\nlibvirt_uri = \"qemu+tls://vm/system\"\n").size(), 1u);
}

TEST_F(ConsentTest, ANetworkThatRumDidNotMakeIsAskedAbout) {
  const Config wanted = Read(CardOn("lab") + CardOn("lan") + CardOn("default"));
  const Withheld withheld = Judge(wanted);
  ASSERT_EQ(withheld.asks.size(), 1u);
  EXPECT_EQ(AskText(withheld.asks[0]),
            "network.interfaces[lab]: lab: joins libvirt's network lab, which rum did not make: "
            "the guest and all that is on it reach each other");
  const auto& cards = withheld.config.network().interfaces();
  ASSERT_EQ(cards.size(), 2) << "the others go on";
  EXPECT_EQ(cards[0].network(), "lan");
  EXPECT_FALSE(cards[0].joined()) << "the machine's own is made";
  EXPECT_EQ(cards[1].network(), "default");
  EXPECT_TRUE(cards[1].joined());
  const Withheld given = Judge(wanted, To(withheld.asks));
  EXPECT_THAT(given.asks, IsEmpty());
  ASSERT_EQ(given.config.network().interfaces_size(), 3);
  EXPECT_TRUE(given.config.network().interfaces(0).joined());
  EXPECT_EQ(Asked(Read(CardOn("lab") + CardOn("net2")), To(withheld.asks)).size(), 0u);
  networks_->insert("net2");
  EXPECT_EQ(Asked(Read(CardOn("lab") + CardOn("net2")), To(withheld.asks)).size(), 1u)
      << "another network is another value";
}

TEST_F(ConsentTest, ANetworkOfTheMachinesOwnStaysThatWhenSomebodyMakesAnotherOfItsName) {
  const Config had = Judge(CardOn("lan")).config;
  networks_->insert("lan");
  Consent consent;
  consent.in_force = &had;
  const Withheld withheld = Judge(had, consent);
  ASSERT_EQ(withheld.asks.size(), 1u);
  EXPECT_EQ(withheld.asks[0].before, "one of the machine's own");
  EXPECT_TRUE(Same(withheld.config, had));
  EXPECT_TRUE(Judge(had, To(withheld.asks, &had)).config.network().interfaces(0).joined());
}

TEST_F(ConsentTest, ANetworkIsLeftWhenConsentIsTakenBackOrTheNetworkIsGone) {
  const Config wanted = Read(CardOn("lab"));
  Consent consent = To(Judge(wanted).asks);
  const Config had = Judge(wanted, consent).config;
  consent.in_force = &had;
  EXPECT_TRUE(Same(Judge(wanted, consent).config, had));
  const std::vector<ConsentedValue> given = std::exchange(consent.given, {});
  EXPECT_EQ(Judge(wanted, consent).asks.size(), 1u);
  EXPECT_EQ(Judge(wanted, consent).config.network().interfaces_size(), 0);
  consent.given = given;
  networks_->erase("lab");
  EXPECT_FALSE(Judge(wanted, consent).config.network().interfaces(0).joined()) << "its own then";
}

TEST_F(ConsentTest, WhereLibvirtWasNotAskedAnyNetworkMayBeThereAndNothingChanges) {
  const Config own = Judge(CardOn("lan")).config;
  const Config wanted = Read(CardOn("lab"));
  Consent joins = To(Judge(wanted).asks);
  const Config joined = Judge(wanted, joins).config;
  networks_.reset();
  EXPECT_THAT(Asked(wanted),
              ElementsAre(HasSubstr("joins libvirt's network lab, if there is one")));
  EXPECT_EQ(Judge(wanted).config.network().interfaces_size(), 0);
  EXPECT_THAT(Asked(CardOn("default")), IsEmpty());
  Consent held;
  held.in_force = &own;
  EXPECT_TRUE(Same(Judge(Read(CardOn("lan")), held).config, own));
  EXPECT_THAT(Asked(Read(CardOn("lan")), held), IsEmpty());
  joins.in_force = &joined;
  EXPECT_TRUE(Same(Judge(wanted, joins).config, joined));
}

TEST_F(ConsentTest, AnImageThatReadsMoreThanItselfIsAskedAbout) {
  Image(project_ + "/layer.qcow2", "/home/you/.ssh/id_ed25519");
  const Withheld layer = Judge(Read("", "./layer.qcow2"));
  ASSERT_EQ(layer.asks.size(), 1u);
  EXPECT_THAT(layer.asks[0].sentence, HasSubstr("a layer over /home/you/.ssh/id_ed25519"));
  EXPECT_THAT(layer.blocked_by, ElementsAre("image.base"));
  Image(root_ + "/srv/layer.qcow2", "x");
  EXPECT_EQ(Asked(Read("", root_ + "/srv/layer.qcow2")).size(), 1u);
  Image(root_ + "/home/secret/own.qcow2", "", 0600);
  EXPECT_THAT(Asked(Read("", "../secret/own.qcow2")),
              ElementsAre(HasSubstr("which not everybody on this host may read")));
  fs::create_symlink("../secret/own.qcow2", project_ + "/link.qcow2");
  EXPECT_EQ(Asked(Read("", "./link.qcow2")).size(), 1u);
  fs::permissions(root_ + "/home/secret", fs::perms(0700));
  fs::permissions(root_ + "/home/secret/own.qcow2", fs::perms(0644));
  EXPECT_EQ(Asked(Read("", "../secret/own.qcow2")).size(), 1u) << "nobody comes to it";
  ASSERT_EQ(mkfifo((project_ + "/pipe").c_str(), 0666), 0);
  EXPECT_THAT(Asked(Read("", "./pipe")), ElementsAre(HasSubstr("cannot be looked into")));
  EXPECT_EQ(Asked(Read("", "/dev/null")).size(), 1u);
}

TEST_F(ConsentTest, ConsentToAnImageIsNoneToWhatItBecomes) {
  Image(root_ + "/home/secret/own.qcow2", "", 0600);
  const Config wanted = Read("", "../secret/own.qcow2");
  const Consent consent = To(Judge(wanted).asks);
  EXPECT_THAT(Asked(wanted, consent), IsEmpty());
  Image(root_ + "/home/secret/own.qcow2", "/etc/shadow", 0600);
  EXPECT_EQ(Asked(wanted, consent).size(), 1u);
  const Consent layer = To(Judge(wanted, consent).asks);
  EXPECT_THAT(Asked(wanted, layer), IsEmpty());
  Image(root_ + "/home/secret/own.qcow2", "/etc/passwd", 0600);
  EXPECT_EQ(Asked(wanted, layer).size(), 1u);
}

TEST_F(ConsentTest, AnImageThatIsNobodyElsesIsNotLookedIntoBeforeConsent) {
  Image(root_ + "/home/secret/own.qcow2", "/etc/shadow", 0600);
  const Withheld first = Judge(Read("", "../secret/own.qcow2"));
  ASSERT_EQ(first.asks.size(), 1u);
  EXPECT_THAT(first.asks[0].sentence, testing::Not(HasSubstr("shadow")));
  EXPECT_THAT(Asked(Read("", "../secret/own.qcow2"), To(first.asks)),
              ElementsAre(HasSubstr("a layer over /etc/shadow")));
}

TEST_F(ConsentTest, AMachineGoesOnWithWhatItHas) {
  Image(project_ + "/layer.qcow2", "/etc/shadow");
  const Config had = Read(MountOf(".") + PortAt("127.0.0.1"));
  const Config wanted = Read(MountOf("~/secret") + PortAt("0.0.0.0") +
                                 "[advanced]\nlibvirt_uri = \"qemu+ssh://vm/system\"\n",
                             "./layer.qcow2");
  Consent consent;
  consent.in_force = &had;
  const Withheld withheld = Judge(wanted, consent);
  EXPECT_EQ(withheld.asks.size(), 4u);
  EXPECT_THAT(withheld.blocked_by, IsEmpty());
  EXPECT_TRUE(withheld.may_start);
  EXPECT_EQ(withheld.config.image().base(), "debian-12");
  EXPECT_EQ(withheld.config.advanced().libvirt_uri(), "");
  ASSERT_EQ(withheld.config.mounts_size(), 1);
  EXPECT_EQ(withheld.config.mounts(0).source(), project_);
  EXPECT_EQ(withheld.config.ports_size(), 0) << "that of 127.0.0.1 is not in the file any more";
  EXPECT_EQ(withheld.asks[2].before, project_);
}

TEST_F(ConsentTest, WhatIsInForceCountsNoLongerThanItsConsent) {
  const Config had = Read(MountOf("~/secret") + PortAt("0.0.0.0"));
  Consent consent = To(Judge(had).asks, &had);
  EXPECT_TRUE(Same(Judge(had, consent).config, had));
  consent.given.clear();
  const Withheld revoked = Judge(had, consent);
  EXPECT_EQ(revoked.config.mounts_size(), 0);
  EXPECT_EQ(revoked.config.ports_size(), 0);
  Image(project_ + "/disk.qcow2");
  const Config image = Read("", "./disk.qcow2");
  consent.in_force = &image;
  EXPECT_THAT(Asked(image, consent), IsEmpty());
  Image(project_ + "/disk.qcow2", "/etc/shadow");  // by the guest
  EXPECT_FALSE(Judge(image, consent).may_start);
}

TEST_F(ConsentTest, MoreThanWasConsentedToIsAskedAbout) {
  const Consent reads = To(Judge(MountOf("~/secret", true)).asks);
  EXPECT_EQ(Asked(Read(MountOf("~/secret")), reads).size(), 1u);
  const Consent writes = To(Judge(MountOf("~/secret")).asks);
  EXPECT_THAT(Asked(Read(MountOf("~/secret", true)), writes), IsEmpty()) << "less is no more";
  const Consent port = To(Judge(PortAt("0.0.0.0", 80)).asks);
  EXPECT_EQ(Asked(Read(PortAt("0.0.0.0", 22)), port).size(), 1u);
  const Config had = Read(PortAt("0.0.0.0", 80));
  Consent held = port;
  held.in_force = &had;
  const Withheld withheld = Judge(Read(PortAt("0.0.0.0", 22)), held);
  ASSERT_EQ(withheld.config.ports_size(), 1);
  EXPECT_EQ(withheld.config.ports(0).guest(), 80u);
}

TEST_F(ConsentTest, OnlyReachIsAskedAbout) {
  const std::string reach = MountOf("~/secret") + PortAt("0.0.0.0");
  const Consent consent = To(Judge(reach).asks);
  const Config wanted =
      Read(reach +
           "[provision.boot]\nscript = \"rm -rf /\"\n[user]\ngroups = [\"wheel\"]\n"
           "[ssh]\ncommand = \"make\"\n[drives.data]\nsize = \"1G\"\n");
  EXPECT_THAT(Asked(wanted, consent), IsEmpty());
  EXPECT_TRUE(Same(Judge(wanted, consent).config, wanted));
}

TEST_F(ConsentTest, AGuestThatCanWriteTheFileIsKnown) {
  EXPECT_TRUE(Judge(MountOf(".")).guest_writes_file);
  EXPECT_TRUE(Judge(MountOf("..")).guest_writes_file);
  EXPECT_FALSE(Judge(MountOf(".", true)).guest_writes_file);
  EXPECT_FALSE(Judge(MountOf("src")).guest_writes_file);
  fs::create_symlink("src/rum.toml", project_ + "/rum.toml");
  std::ofstream(project_ + "/src/rum.toml") << "by a link";
  EXPECT_TRUE(Judge(MountOf("src")).guest_writes_file);
}

TEST_F(ConsentTest, WordsOfAUserMeanItemsTablesAndFields) {
  for (const char* word : {"mounts", "mounts[/data]", "mounts[/data].source", "mounts.source"})
    EXPECT_TRUE(Means(word, "mounts[/data]")) << word;
  for (const char* word : {"", "mount", "mounts[/dat]", "mounts[/other].source", "ports.bind"})
    EXPECT_FALSE(Means(word, "mounts[/data]")) << word;
  EXPECT_TRUE(Means("image", "image.base"));
  for (const char* word : {"network", "network.interfaces", "network.interfaces[lab].network",
                           "network.interfaces.network"})
    EXPECT_TRUE(Means(word, "network.interfaces[lab]")) << word;
  EXPECT_FALSE(Means("network.nat", "network.interfaces[lab]"));
  EXPECT_FALSE(Means("image.sha256", "image.base"));
}

void CollectMarked(const Descriptor& table, const std::string& at, std::set<std::string>* marked) {
  for (int i = 0; i < table.field_count(); ++i) {
    const auto& field = *table.field(i);
    if (!field.options().GetExtension(rum::reaches_host).empty()) marked->insert(at + field.name());
    const Descriptor* below = field.message_type();
    if (field.is_map()) below = below->FindFieldByName("value")->message_type();
    if (below != nullptr) CollectMarked(*below, at + field.name() + ".", marked);
  }
}

// A field that is marked in the schema and that Withhold() does not know would be a hole.
TEST_F(ConsentTest, EveryFieldThatReachesTheHostIsJudged) {
  Image(project_ + "/layer.qcow2", "/etc/shadow");
  const Config reads = Read(MountOf("~/secret", true));
  const std::map<std::string, std::pair<Config, Config>> changes = {
      {"image.base", {Read(""), Read("", "./layer.qcow2")}},
      {"ports.bind", {Read(PortAt("127.0.0.1")), Read(PortAt("0.0.0.0"))}},
      {"mounts.source", {Read(MountOf(".")), Read(MountOf("~/secret"))}},
      {"mounts.readonly", {reads, Read(MountOf("~/secret"))}},
      {"network.interfaces.network", {Read(""), Read(CardOn("lab"))}},
      {"advanced.libvirt_uri",
       {Read(""), Read("[advanced]\nlibvirt_uri = \"qemu+ssh://vm/system\"\n")}},
  };
  std::set<std::string> marked;
  CollectMarked(*Config::descriptor(), "", &marked);
  std::set<std::string> known;
  for (const auto& [field, change] : changes) {
    known.insert(field);
    const Consent consent = To(Judge(change.first).asks, &change.first);
    EXPECT_TRUE(Same(Judge(change.first, consent).config, change.first)) << field;
    EXPECT_EQ(Judge(change.second, consent).asks.size(), 1u) << field;
    EXPECT_FALSE(Same(Judge(change.second, consent).config, change.second)) << field;
  }
  EXPECT_EQ(marked, known);
}

// Without what is noted in it.
Config AsRead(Config config) {
  for (Interface& card : *config.mutable_network()->mutable_interfaces()) card.clear_joined();
  return config;
}

class ConsentProperty : public ConsentTest {};

RC_GTEST_FIXTURE_PROP(ConsentProperty, ConsentToWhatIsAskedIsConsentToTheFile, ()) {
  fs::create_directory_symlink("../secret", project_ + "/out");
  Image(project_ + "/layer.qcow2", "/etc/shadow");
  const auto any_file = [&] {
    std::string more;
    const int mounts = *rc::gen::inRange(0, 4);
    for (int i = 0; i < mounts; ++i) {
      const auto source = *rc::gen::element<std::string>(".", "src", "out", "..", "~/secret", "/");
      absl::StrAppend(&more, "[[mounts]]\nsource = \"", source, "\"\ntarget = \"/m", i,
                      "\"\nreadonly = ", *rc::gen::arbitrary<bool>() ? "true" : "false", "\n");
    }
    const int ports = *rc::gen::inRange(0, 4);
    for (int i = 0; i < ports; ++i) {
      const auto bind =
          *rc::gen::element<std::string>("127.0.0.1", "0.0.0.0", "::1", "192.168.1.5");
      absl::StrAppend(&more, "[[ports]]\nhost = ", 8000 + i, "\nguest = ", *rc::gen::inRange(1, 9),
                      "\nbind = \"", bind, "\"\n");
    }
    const auto uri = *rc::gen::element<std::string>("qemu:///system", "qemu+ssh://vm/system");
    absl::StrAppend(&more, "[advanced]\nlibvirt_uri = \"", uri, "\"\n");
    if (*rc::gen::arbitrary<bool>()) absl::StrAppend(&more, CardOn("lab"));
    return Read(more, *rc::gen::element<std::string>("debian-12", "./layer.qcow2"));
  };
  Config had = any_file();
  for (Interface& card : *had.mutable_network()->mutable_interfaces()) card.set_joined(true);
  const Config wanted = any_file();
  const bool made = *rc::gen::arbitrary<bool>();
  const std::vector<Ask> had_asks = Judge(had).asks;
  Consent consent =
      To(*rc::gen::arbitrary<bool>() ? had_asks : std::vector<Ask>(), made ? &had : nullptr);
  const Withheld before = Judge(wanted, consent);
  if (before.asks.empty()) RC_ASSERT(Same(AsRead(before.config), wanted));
  // What is let through asks nothing itself.
  if (before.blocked_by.empty() && before.may_start) {
    const Withheld again = Judge(before.config, consent);
    RC_ASSERT(again.asks.empty());
    RC_ASSERT(Same(again.config, before.config));
  }
  for (const Ask& ask : before.asks) consent.given.push_back(ConsentTo(ask, 1));
  const Withheld after = Judge(wanted, consent);
  RC_ASSERT(after.asks.empty());
  RC_ASSERT(after.blocked_by.empty());
  RC_ASSERT(Same(AsRead(after.config), wanted));
}

}  // namespace
}  // namespace rum
