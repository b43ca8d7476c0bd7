// Drives, filesystems, shared folders and keys on a real VM, over restarts.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

constexpr char kDrives[] = R"(
[drives.m]
size = "256M"
[drives.pair-1]
size = "512M"
[drives.pair-2]
size = "512M"
[drives.x]
size = "320M"
[drives.z-exfat]
size = "64M"
[drives.z-f2fs]
size = "64M"
[drives.z-home]
size = "128M"
[drives.z-ntfs]
size = "64M"

[[fs.btrfs]]
drives = ["pair-1", "pair-2"]
mode = "raid1"
target = "/pair"
[[fs.xfs]]
drive = "x"
target = "/x"
[[fs.exfat]]
drive = "z-exfat"
target = "/z/exfat"
[[fs.f2fs]]
drive = "z-f2fs"
target = "/z/f2fs"
[[fs.ext4]]
drive = "z-home"
target = "/home"
[[fs.ntfs]]
drive = "z-ntfs"
target = "/z/ntfs"

[[mounts]]
source = "WORK"
target = "/work/./"
default = true
[[mounts]]
source = "pictures"
target = "/pictures"
readonly = true
)";
constexpr char kFsOnM[] = "[[fs.ext4]]\ndrive = \"m\"\ntarget = \"/srv/my 'data'\"\n";
constexpr char kFirst[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst00000000000000000000000000000000000000 first@host";
constexpr char kSecond[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBSecond000000000000000000000000000000000000 second@host";

std::string Keys(const std::string& key) { return "[ssh]\nauthorized_keys = [\"" + key + "\"]\n"; }

// One VM for all cases: they run in the order of this file and each leaves the machine in sync.
class Storage : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new World(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
    for (const std::string& name : {Work(), std::string("pictures")})
      fs::create_directory(OnHost(name));
    std::ofstream(OnHost(Work() + "/from-host")) << "hello";
    std::ofstream(OnHost("pictures/one")) << "picture";
    world_->file.system =
        "set -e\nfor folder in \"/srv/my 'data'\" /pair /x /z/*; do echo kept > \"$folder/file\"; "
        "done";
    world_->file.boot = "findmnt -no FSTYPE \"/srv/my 'data'\" >> /var/log/boots";
    world_->file.more = Drives() + kFsOnM + Keys(kFirst) + Cards();
    if (IsSystem()) {
      // As after a boot of the host, where nobody said that it starts by itself.
      world_->Virsh({"net-destroy", "default"});
      // A VPN's: what is left is little.
      for (const char* to : {"192.168.0.0/17", "192.168.128.0/18", "192.168.192.0/19"}) {
        EXPECT_EQ(e2e::Run({"ip", "route", "add", to, "dev", "lo"}).exit_status, 0);
      }
    }
    before_ = Surroundings();
    world_->Save();
    up_ = world_->Rum({"up", "-d"});
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(up_.exit_status, 0) << up_.out << up_.err; }

  static std::string OnHost(const std::string& name) {
    return world_->folder() + "/project/" + name;
  }
  static std::string Source(const std::string& target) {
    return world_->Guest("findmnt -no SOURCE \"" + target + "\"");
  }
  static Item ItemOf(const std::string& field) {
    const MachineStatus status = world_->Status();
    for (const Item& item : status.items()) {
      if (item.field() == field) return item;
    }
    return Item();
  }

  // virtiofsd takes no comma in a path, QEMU's 9p does.
  static std::string Work() { return IsSystem() ? "work folder" : "work, folder"; }
  static std::string Drives() {
    std::string tables = kDrives;
    return tables.replace(tables.find("WORK"), std::strlen("WORK"), Work());
  }
  // A session's libvirt has no networks.
  static bool IsSystem() { return std::getenv("RUM_TEST_URI") == std::string("qemu:///system"); }
  static std::string Cards() {
    if (!IsSystem()) return "";
    return "[[network.interfaces]]\nnetwork = \"lan\"\nip = \"192.168.231.9\"\n"
           "[[network.interfaces]]\nnetwork = \"other\"\n";
  }
  // All that libvirt lists, and every file of the data folder.
  static std::string Surroundings() {
    std::string all;
    for (const char* list : {"list", "net-list", "pool-list"}) {
      all += world_->Virsh({list, "--all"}).out;
    }
    for (const auto& entry : fs::recursive_directory_iterator(world_->folder() + "/data")) {
      all += entry.path().string() + "\n";
    }
    return all;
  }
  static std::string OwnNetworks() {
    std::istringstream names(world_->Virsh({"net-list", "--all", "--name"}).out);
    std::string own;
    for (std::string name; std::getline(names, name);) {
      if (name.rfind("rum-", 0) == 0) own += name.substr(name.find('.')) + " ";
    }
    return own;
  }

  static inline World* world_ = nullptr;
  static inline std::string before_;
  static inline Result up_;
};

TEST_F(Storage, OneUpMakesFilesystemsAndSharedFolders) {
  EXPECT_EQ(world_->Guest("cat /var/log/boots"), "ext4") << "mounted before the scripts ran";
  EXPECT_EQ(world_->Guest("cat \"/srv/my 'data'/file\" /pair/file"), "kept\nkept");
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /pair"), "btrfs");
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /x"), "xfs");
  // Debian's kernel has no driver for NTFS: ntfs-3g is one in user space.
  EXPECT_EQ(world_->Guest("for t in exfat f2fs ntfs; do findmnt -no FSTYPE /z/$t; done"),
            "exfat\nf2fs\nfuseblk");
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /work"), IsSystem() ? "virtiofs" : "9p");
  if (IsSystem()) {
    fs::create_directory(OnHost("with, comma"));
    const std::string before = world_->file.more;
    world_->file.more += "[[mounts]]\nsource = \"with, comma\"\ntarget = \"/comma\"\n";
    world_->Save();
    const Result refused = world_->Rum({"reload"});
    EXPECT_EQ(refused.exit_status, 1);
    EXPECT_NE(refused.out.find("no folder with a comma in its path"), std::string::npos)
        << refused.out << refused.err;
    world_->file.more = before;
    world_->Save();
  }
  EXPECT_EQ(world_->Guest("btrfs filesystem df /pair | grep -c RAID1"), "3");
  EXPECT_EQ(Source("/srv/my 'data'"), "/dev/vdb");
  EXPECT_EQ(ItemOf("fs.ext4[/srv/my 'data']").state(), Item::HOLDS);
  EXPECT_EQ(ItemOf("mounts[/work/./]").text(), "mounted");
}

TEST_F(Storage, ADriveAtHomeHasTheUsersHomeAndKeys) {
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /home"), "ext4");
  EXPECT_EQ(world_->Guest("stat -c '%U %G' /home/rum /home/rum/.profile"), "rum rum\nrum rum");
  EXPECT_EQ(world_->Guest("stat -c '%U %a' /home/rum/.ssh /home/rum/.ssh/authorized_keys"),
            "rum 700\nrum 600");
  EXPECT_EQ(ItemOf("fs.ext4[/home]").state(), Item::HOLDS);
  EXPECT_EQ(ItemOf("ssh.authorized_keys").state(), Item::HOLDS);
}

TEST_F(Storage, ASharedFolderIsTheHostsAndAReadOnlyOneCannotBeWritten) {
  EXPECT_EQ(world_->Guest("cat from-host"), "hello") << "commands start in the default mount";
  world_->Guest("echo answer > /work/from-guest");
  std::ostringstream answer;
  answer << std::ifstream(OnHost(Work() + "/from-guest")).rdbuf();
  EXPECT_EQ(answer.str(), "answer\n");
  EXPECT_EQ(world_->Guest("cat /pictures/one"), "picture");
  EXPECT_EQ(world_->Guest("touch /pictures/two 2>/dev/null || echo refused"), "refused");
  EXPECT_FALSE(fs::exists(OnHost("pictures/two")));
}

TEST_F(Storage, KeysGoLive) {
  const std::string file = "~rum/.ssh/authorized_keys";
  EXPECT_EQ(world_->Guest("grep -c first@host " + file), "1");
  world_->Guest("echo 'ssh-rsa AAAAbyhand me' >> " + file);
  world_->file.more = Drives() + kFsOnM + Keys(kSecond) + Cards();
  world_->Save();
  const Result reload = world_->Rum({"reload"});
  EXPECT_EQ(reload.exit_status, 0) << reload.out << reload.err;
  // The machine's own key, of which the host alone has the other half, comes from rum.
  const std::string keys = world_->folder() + "/state/keys/";
  const fs::path own = fs::directory_iterator(keys)->path() / "id_ed25519";
  EXPECT_EQ(fs::status(own).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  const Result line = e2e::Run({"ssh-keygen", "-y", "-f", own.string()});
  EXPECT_EQ(world_->Guest("grep rum- " + file) + "\n", line.out);
  EXPECT_EQ(world_->Guest("grep -v rum- " + file + " | cut -d' ' -f3"), "me\nsecond@host");
  EXPECT_EQ(world_->Guest("stat -c '%a %U' " + file), "600 rum");
  EXPECT_EQ(world_->Guest("grep -c '^rum:!' /etc/shadow"), "1") << "no password lets anybody in";
}

TEST_F(Storage, NamesOfTheUserOnTheLineOfTheHostnameStay) {
  const std::string hostname = world_->file.hostname;
  world_->Guest("{ grep -v ^127.0.1.1 /etc/hosts; echo '127.0.1.1 " + hostname + " " + hostname +
                ".lan shop.test # mine'; } > /run/hosts; cat /run/hosts > /etc/hosts");
  world_->file.hostname = "renamed";
  world_->Save();
  const Result reload = world_->Rum({"reload"});
  EXPECT_EQ(reload.exit_status, 0) << reload.out << reload.err;
  EXPECT_EQ(world_->Guest("grep ^127.0.1.1 /etc/hosts"),
            "127.0.1.1 renamed renamed.lan shop.test # mine");
  world_->file.hostname = hostname;
  world_->Save();
  EXPECT_EQ(world_->Rum({"reload"}).exit_status, 0);
}

TEST_F(Storage, HostOnlyNetworksAreTheMachinesOwnAndAFixedAddressHolds) {
  if (!IsSystem()) {
    world_->file.more += "[[network.interfaces]]\nnetwork = \"lan\"\n";
    world_->Save();
    const Result refused = world_->Rum({"reload"});
    EXPECT_EQ(refused.exit_status, 1);
    EXPECT_NE(refused.out.find("cannot join networks"), std::string::npos) << refused.out;
    world_->file.more.resize(world_->file.more.find("[[network"));
    world_->Save();
    return;
  }
  EXPECT_EQ(OwnNetworks(), ".lan .other ");
  EXPECT_EQ(ItemOf("network.interfaces[lan]").text(), "192.168.231.9");
  const std::string other = ItemOf("network.interfaces[other]").text();
  EXPECT_EQ(other.rfind("192.168.", 0), 0u) << other;
  EXPECT_GE(std::atoi(other.c_str() + std::strlen("192.168.")), 224) << other << " has a route";
  // A port that nothing listens on: only who is there refuses.
  const Result knock = e2e::Run({"bash", "-c", "exec 3<>/dev/tcp/192.168.231.9/9"});
  EXPECT_NE(knock.err.find("Connection refused"), std::string::npos) << knock.err;
  EXPECT_EQ(world_->Guest("ip route show default | wc -l"), "1") << "no way out but NAT's";
}

TEST_F(Storage, ADriveBeforeTheOthersMovesNothing) {
  // A network that leaves the file goes when the machine no longer uses it.
  if (IsSystem()) {
    const size_t at = world_->file.more.find("[[network.interfaces]]\nnetwork = \"other\"");
    world_->file.more.resize(at);
  }
  world_->file.more += "[drives.a]\nsize = \"64M\"\n";
  world_->Save();
  const Result reload = world_->Rum({"reload"});
  EXPECT_EQ(reload.exit_status, 0) << reload.out << reload.err;
  // It takes the port of the card that has gone, where one has.
  EXPECT_EQ(ItemOf("drives.a").state(), IsSystem() ? Item::HOLDS : Item::NEEDS_RESTART);
  const Result restart = world_->Rum({"restart"});
  ASSERT_EQ(restart.exit_status, 0) << restart.out << restart.err;
  // Whatever letters they have now: the new one's address may come before theirs.
  EXPECT_EQ(world_->Guest(
                "cat \"/srv/my 'data'/file\" /pair/file /x/file /z/*/file | uniq -c | tr -d ' '"),
            "6kept");
  EXPECT_EQ(world_->Guest("cat /work/from-host /pictures/one"), "hellopicture");
  EXPECT_EQ(world_->Guest("touch /pictures/two 2>/dev/null || echo refused"), "refused");
  EXPECT_EQ(world_->Guest("cat /var/log/boots"), "ext4\next4");
  EXPECT_EQ(world_->Rum({"apply", "--exit-code"}).exit_status, 0);
  EXPECT_EQ(OwnNetworks(), IsSystem() ? ".lan " : "");
}

TEST_F(Storage, WhatHoldsDataIsNeverFormattedAndWhatLeftTheFileIsUnmounted) {
  const std::string drive = "/dev/disk/by-id/virtio-rum-a";
  world_->Guest("printf precious | dd of=" + drive + " bs=8 seek=64 conv=fsync status=none");
  world_->file.boot = "true";
  world_->file.more = Drives() + Keys(kSecond) +
                      "[drives.a]\nsize = \"64M\"\n[[fs.vfat]]\ndrive = \"a\"\ntarget = \"/a\"\n";
  world_->Save();
  const Result restart = world_->Rum({"restart"});
  EXPECT_EQ(restart.exit_status, 1);
  EXPECT_NE((restart.out + restart.err).find("fs.vfat[/a]: drive rum-a (/dev/vd"),
            std::string::npos)
      << restart.out << restart.err;
  EXPECT_NE((restart.out + restart.err).find(") holds data of"), std::string::npos)
      << restart.out << restart.err;
  EXPECT_EQ(world_->Guest("dd if=" + drive + " bs=8 skip=64 count=1 status=none"), "precious");
  EXPECT_EQ(world_->Guest("findmnt \"/srv/my 'data'\" >/dev/null || echo none"), "none");
  EXPECT_EQ(world_->Guest("grep -c my /etc/fstab || true"), "0");
  EXPECT_EQ(world_->Guest("cat /pair/file"), "kept");
  world_->Guest("dd if=/dev/zero of=" + drive + " bs=1M count=1 conv=fsync status=none");
  const Result apply = world_->Rum({"apply"});
  EXPECT_EQ(apply.exit_status, 0) << apply.out << apply.err;
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /a"), "vfat");
}

TEST_F(Storage, AFreshDiskKeepsTheDrivesAndFindsThemAgain) {
  if (IsSystem()) return;  // nothing else there, but for the time
  world_->Guest("for folder in /pair /x /z/*; do echo old > $folder/old; done; sync");
  world_->file.system = "true";  // the first one's folders are no longer all there
  world_->Save();
  const Result reset = world_->Rum({"up", "-d", "--reset"});
  ASSERT_EQ(reset.exit_status, 0) << reset.out << reset.err;
  EXPECT_NE(reset.err.find("drives kept: a, m, pair-1, pair-2, x, z-exfat"), std::string::npos)
      << reset.err;
  EXPECT_EQ(world_->Guest("ls /var/log/boots 2>/dev/null || echo new"), "new");
  EXPECT_EQ(world_->Guest("cat /pair/old /x/old /z/*/old | uniq -c | tr -d ' '"), "5old");
  EXPECT_EQ(world_->Guest("findmnt -no FSTYPE /a"), "vfat");
  EXPECT_EQ(ItemOf("fs.btrfs[/pair]").state(), Item::HOLDS);
  EXPECT_EQ(world_->Guest("stat -c %U /home/rum"), "rum");
}

TEST_F(Storage, DestroyLeavesNothingOfTheMachineAndAllOfWhatIsNot) {
  EXPECT_NE(Surroundings(), before_);
  fs::path root;
  for (const auto& entry : fs::directory_iterator(world_->folder() + "/data/disks")) {
    if (entry.path().string().find(".root.") != std::string::npos) root = entry.path();
  }
  const std::string copy = fs::path(root).replace_extension("").string() + "-backup.qcow2";
  fs::copy_file(root, copy);
  const Result destroyed = world_->Rum({"destroy"});
  EXPECT_EQ(destroyed.exit_status, 0) << destroyed.err;
  EXPECT_NE(destroyed.out.find("Kept " + copy + ": rum did not make it"), std::string::npos)
      << destroyed.out;
  EXPECT_FALSE(fs::exists(root));
  EXPECT_TRUE(fs::remove(copy));
  const Result again = world_->Rum({"destroy"});  // the pool, which is empty now
  EXPECT_EQ(again.exit_status, 0) << again.err;
  EXPECT_EQ(Surroundings(), before_);
}

}  // namespace
}  // namespace rum::e2e
