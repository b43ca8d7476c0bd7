// Random edits of all that goes live within the machine's room: at rest the machine is as its file
// says, or says why it is not; and after a restart it is the machine that the last file makes.
// $RUM_TEST_EDITS says how many (default 20), $RUM_TEST_SEED which (default: 1).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <pugixml.hpp>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

constexpr uint32_t kStartedCpus = 3, kMaxCpus = 4;
constexpr uint64_t kStartedMb = 512, kMaxMb = 1024;

// What an item may say that does not hold once rum is done.
const char* const kReasons[] = {
    "QEMU may die of a vCPU that is plugged into an emulated machine",
    "room for \\d+ vCPUs? \\(resources\\.max_cpus\\)",
    "started with room for \\d+ MiB \\(resources\\.max_memory_mb\\)",
    "the guest uses \\d+ MiB of it: \\d+ MiB are left to it",
};

int Setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : std::atoi(value);
}

// A file by the few things that an edit moves.
struct Wanted {
  uint32_t cpus = kStartedCpus;
  uint64_t memory_mb = kStartedMb;
  int disk_mb = 4096;
  int hostname = 0;
  bool forwards = false;
  // By drive; 0: it has none. None is ever smaller than it was, which would need a new one.
  std::map<std::string, int> drives_mb = {{"first", 0}, {"second", 0}, {"third", 0}};
  std::map<std::string, bool> has_fs = {{"first", true}, {"second", true}, {"third", true}};
  bool nat = true;
  // Under qemu:///system: the last byte of a card's address, by network, and where a folder is; 0
  // and empty: there is none.
  std::map<std::string, int> cards = {{"lab", 0}, {"lan", 0}};
  std::map<std::string, std::string> folders = {{"left", ""}, {"right", ""}};
  bool readonly = false;
};

const std::map<std::string, std::string> kFilesystems = {
    {"first", "ext4"}, {"second", "xfs"}, {"third", "btrfs"}};

class Editor {
 public:
  Editor(uint32_t seed, bool system) : random_(seed), system_(system) {
    for (const auto& [drive, type] : kFilesystems) largest_mb_[drive] = 300;
  }

  void Edit(Wanted* wanted) {
    for (int i = Pick(1, 3); i > 0; --i) Once(wanted);
  }

 private:
  int Pick(int least, int most) { return std::uniform_int_distribution<>(least, most)(random_); }

  void Once(Wanted* wanted) {
    switch (Pick(0, system_ ? 12 : 8)) {
      case 0:
        wanted->cpus = static_cast<uint32_t>(Pick(1, kMaxCpus + 1));
        break;
      case 1:
        // Beyond its room once in a while; any number, as blocks and pages are not the file's.
        wanted->memory_mb = static_cast<uint64_t>(Pick(384, kMaxMb + 64));
        break;
      case 2:
        wanted->disk_mb += Pick(1, 300);
        break;
      case 3:
        wanted->hostname = Pick(0, 9);
        break;
      case 4:
        wanted->forwards = !wanted->forwards;
        break;
      case 5:
        wanted->nat = !wanted->nat;
        break;
      case 9:
      case 10:
        std::next(wanted->cards.begin(), Pick(0, 1))->second = Pick(0, 2) * Pick(5, 99);
        break;
      case 11:
        std::next(wanted->folders.begin(), Pick(0, 1))->second =
            Pick(0, 2) == 0 ? "" : "/at-" + std::to_string(Pick(0, 1));
        // No two at one place.
        if (wanted->folders["left"] == wanted->folders["right"]) wanted->folders["left"].clear();
        break;
      case 12:
        wanted->readonly = !wanted->readonly;
        break;
      default:
        EditDrive(std::next(wanted->drives_mb.begin(), Pick(0, 2))->first, wanted);
    }
  }

  void EditDrive(const std::string& drive, Wanted* wanted) {
    int& size = wanted->drives_mb[drive];
    if (size == 0) {
      size = largest_mb_[drive] += Pick(0, 50);
      wanted->has_fs[drive] = true;
    } else if (Pick(0, 2) == 0) {
      size = 0;
    } else if (Pick(0, 2) == 0) {
      wanted->has_fs[drive] = !wanted->has_fs[drive];
    } else {
      size = largest_mb_[drive] += Pick(1, 200);
    }
  }

  std::mt19937 random_;
  const bool system_;
  std::map<std::string, int> largest_mb_;  // that a drive ever was
};

void Write(const Wanted& wanted, uint16_t port, FileSpec* file) {
  file->cpus = wanted.cpus;
  file->memory_mb = wanted.memory_mb;
  // The maxima stay, so that a larger value is beyond the room of the machine that runs.
  file->resources = "max_cpus = " + std::to_string(std::max(wanted.cpus, kMaxCpus)) +
                    "\nmax_memory_mb = " + std::to_string(std::max(wanted.memory_mb, kMaxMb)) +
                    "\n";
  file->disk = std::to_string(wanted.disk_mb) + "M";
  file->nat = wanted.nat;
  file->hostname = "edited-" + std::to_string(wanted.hostname);
  file->ports.clear();
  if (wanted.forwards) file->ports.push_back({port, 7000});
  file->more.clear();
  for (const auto& [drive, size] : wanted.drives_mb) {
    if (size == 0) continue;
    file->more += "[drives." + drive + "]\nsize = \"" + std::to_string(size) + "M\"\n";
    if (!wanted.has_fs.at(drive)) continue;
    const std::string& type = kFilesystems.at(drive);
    file->more += "[[fs." + type + "]]\n" +
                  (type == "btrfs" ? "drives = [\"" + drive + "\"]" : "drive = \"" + drive + "\"") +
                  "\ntarget = \"/" + drive + "\"\n";
  }
  int subnet = 240;
  for (const auto& [network, last] : wanted.cards) {
    ++subnet;
    if (last == 0) continue;
    file->more += "[[network.interfaces]]\nnetwork = \"" + network + "\"\nip = \"192.168." +
                  std::to_string(subnet) + "." + std::to_string(last) + "\"\n";
  }
  for (const auto& [folder, target] : wanted.folders) {
    if (target.empty()) continue;
    file->more += "[[mounts]]\nsource = \"" + folder + "\"\ntarget = \"" + target +
                  "\"\nreadonly = " + (wanted.readonly ? "true" : "false") + "\n";
  }
}

// What the guest sees of all that, without the names that depend on the order of arrival.
std::string InGuest(const World& world) {
  return world.Guest(
      "nproc; hostname\n"
      "for f in /sys/block/vd*; do [ -s $f/serial ] && echo $(cat $f/serial) $(cat $f/size); done |"
      " LC_ALL=C sort\n"
      "findmnt -rno TARGET,FSTYPE -t ext4,xfs,btrfs,virtiofs | LC_ALL=C sort\n"
      "ls -d /sys/class/net/*/device | wc -l\n"
      "grep -c ' /first \\| /second \\| /third ' /etc/fstab");
}

// What the guest has of all that: its drives with their filesystems, its cards, its folders.
struct Seen {
  uint32_t cpus = 0;
  uint64_t memory_mb = 0;
  std::string devices;
};
// By one command: each costs an emulated guest a third of a second.
Seen LookAt(const World& world) {
  std::istringstream words(world.Guest(
      "nproc; awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo\n"
      "for d in first second third; do\n"
      "  echo $d $(cat /sys/block/vd*/serial | grep -c rum-$d) $(findmnt -no FSTYPE /$d)\n"
      "done\n"
      "echo $(ls -d /sys/class/net/*/device 2>/dev/null | wc -l) cards\n"
      "findmnt -rno TARGET,FSTYPE,OPTIONS -t virtiofs | sed 's/,.*//' | LC_ALL=C sort"));
  Seen seen;
  words >> seen.cpus >> seen.memory_mb >> std::ws;
  std::getline(words, seen.devices, '\0');
  return seen;
}

// The same, as it is to be.
std::string DevicesOf(const Wanted& wanted) {
  std::string devices;
  for (const auto& [drive, size] : wanted.drives_mb) {
    const bool has_fs = size > 0 && wanted.has_fs.at(drive);
    devices += drive + (size > 0 ? " 1" : " 0") +
               (has_fs ? " " + kFilesystems.at(drive) : std::string()) + "\n";
  }
  int cards = wanted.nat ? 1 : 0;
  for (const auto& [network, last] : wanted.cards) cards += last > 0 ? 1 : 0;
  devices += std::to_string(cards) + " cards";
  std::set<std::string> folders;
  for (const auto& [folder, target] : wanted.folders) {
    if (!target.empty())
      folders.insert(target + (wanted.readonly ? " virtiofs ro" : " virtiofs rw"));
  }
  for (const std::string& folder : folders) devices += "\n" + folder;
  return devices;
}

// What its balloon leaves the guest of the memory that the machine started with.
uint64_t BalloonMb(const World& world) {
  std::istringstream words(world.Virsh({"dommemstat", world.DomainName()}).out);
  uint64_t kib = 0;
  for (std::string name; words >> name >> kib;) {
    if (name == "actual") return kib / 1024;
  }
  return 0;
}

// The definition for the next start, without what is each machine's own (names, addresses, files)
// and without the order of its devices.
std::multiset<std::string> Definition(const World& world) {
  pugi::xml_document document;
  document.load_string(world.Virsh({"dumpxml", "--inactive", world.DomainName()}).out.c_str());
  std::multiset<std::string> parts;
  const auto add = [&](pugi::xml_node node) {
    for (const char* own : {"address", "source", "mac", "backingStore"}) {
      while (node.remove_child(own)) {
      }
    }
    node.child("target").remove_attribute("dev");
    node.remove_attribute("index");
    node.child("target").remove_attribute("chassis");
    node.child("target").remove_attribute("port");
    std::ostringstream text;
    node.print(text, "", pugi::format_raw);
    parts.insert(text.str());
  };
  for (const char* own : {"name", "uuid", "metadata", "description", "title"}) {
    document.child("domain").remove_child(own);
  }
  for (pugi::xml_node device : document.child("domain").child("devices").children()) add(device);
  document.child("domain").remove_child("devices");
  for (pugi::xml_node node : document.child("domain").children()) {
    std::ostringstream text;
    node.print(text, "", pugi::format_raw);
    parts.insert(text.str());
  }
  return parts;
}

bool IsReason(const Item& item) {
  return std::any_of(std::begin(kReasons), std::end(kReasons), [&](const char* reason) {
    return std::regex_search(item.text() + "\n" + item.reason(), std::regex(reason));
  });
}

TEST(LiveEdits, AtRestTheMachineIsAsItsFileSaysOrSaysWhyNotAndARestartMakesTheRestTrue) {
  const int seed = Setting("RUM_TEST_SEED", 1);
  const int edits = Setting("RUM_TEST_EDITS", 20);
  SCOPED_TRACE("seed " + std::to_string(seed));
  World world(std::getenv("RUM_TEST_URI"), FirstBoot::kShort);
  const uint16_t port = FreePort();
  const bool system = world.file.uri == "qemu:///system";
  Wanted wanted;
  for (const auto& [folder, target] : wanted.folders)
    std::filesystem::create_directory(world.folder() + "/project/" + folder);
  Write(wanted, port, &world.file);
  world.Save();
  ASSERT_EQ(world.Rum({"up", "-d"}).exit_status, 0);
  const std::string boot = world.Guest("cat /proc/sys/kernel/random/boot_id");
  const uint64_t kernel_mb = kStartedMb - LookAt(world).memory_mb;  // that it keeps to itself

  Editor editor(static_cast<uint32_t>(seed), system);
  for (int i = 0; i < edits; ++i) {
    editor.Edit(&wanted);
    Write(wanted, port, &world.file);
    SCOPED_TRACE("edit " + std::to_string(i) + ":\n" + world.file.Toml());
    world.Save();
    const Result reload = world.Rum({"reload"});
    ASSERT_EQ(reload.exit_status, 0) << reload.out << reload.err;
    std::set<std::string> waits;
    const MachineStatus status = world.Status();
    for (const Item& item : status.items()) {
      if (item.state() == Item::HOLDS) continue;
      waits.insert(item.field());
      EXPECT_EQ(item.state(), Item::NEEDS_RESTART) << item.ShortDebugString();
      // The room itself moves with the field that is beyond it.
      EXPECT_TRUE(IsReason(item) || item.field() == "resources.max_cpus" ||
                  item.field() == "resources.max_memory_mb")
          << item.ShortDebugString();
    }
    if (waits.count("resources.cpus") > 0) EXPECT_GT(wanted.cpus, kStartedCpus);
    const bool all_memory = waits.count("resources.memory_mb") == 0;
    const Seen seen = LookAt(world);
    if (waits.count("resources.cpus") == 0) EXPECT_EQ(seen.cpus, wanted.cpus);
    // What a balloon took that gives it back to a guest in need still counts as the guest's.
    if (all_memory) {
      EXPECT_NEAR(static_cast<double>(seen.memory_mb + kernel_mb),
                  static_cast<double>(std::max(wanted.memory_mb, kStartedMb)), 4);
      EXPECT_EQ(BalloonMb(world), std::min(wanted.memory_mb, kStartedMb));
    }
    EXPECT_EQ(seen.devices, DevicesOf(wanted));
    EXPECT_EQ(world.Rum({"apply", "--exit-code"}).exit_status, waits.empty() ? 0 : 5)
        << "nothing is left to do but what waits";
    if (HasFailure()) return;
  }
  EXPECT_EQ(world.Guest("cat /proc/sys/kernel/random/boot_id"), boot);

  ASSERT_EQ(world.Rum({"restart"}).exit_status, 0);
  const MachineStatus status = world.Status();
  for (const Item& item : status.items()) {
    EXPECT_EQ(item.state(), Item::HOLDS) << item.ShortDebugString();
  }
  const std::string edited = InGuest(world);
  const uint64_t edited_mb = LookAt(world).memory_mb;
  const std::multiset<std::string> ours = Definition(world);
  ASSERT_EQ(world.Rum({"destroy"}).exit_status, 0);
  ASSERT_EQ(world.Rum({"up", "-d"}).exit_status, 0);
  EXPECT_EQ(edited, InGuest(world)) << "edited, and made of the last file";
  EXPECT_NEAR(static_cast<double>(edited_mb), static_cast<double>(LookAt(world).memory_mb), 4);
  const std::multiset<std::string> fresh = Definition(world);
  for (const std::string& part : ours)
    EXPECT_EQ(ours.count(part), fresh.count(part)) << "edited: " << part;
  for (const std::string& part : fresh)
    EXPECT_EQ(ours.count(part), fresh.count(part)) << "fresh: " << part;
}

}  // namespace
}  // namespace rum::e2e
