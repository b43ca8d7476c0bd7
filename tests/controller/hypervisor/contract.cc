#include "tests/controller/hypervisor/contract.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/decide/plan.h"
#include "controller/hypervisor/definition.h"

namespace rum {
namespace {

constexpr absl::Duration kNoGrace = absl::ZeroDuration();

MachineIdentity Machine(const std::string& name, const std::string& id) {
  return {"/home/somebody/" + name + "/rum.toml", name, id};
}

// What libvirt told, to be waited for.
class Events {
 public:
  void Add(const std::string& domain) {
    std::lock_guard<std::mutex> lock(mutex_);
    domains_.insert(domain);
    changed_.notify_all();
  }
  bool Wait(const std::string& domain) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return domains_.count(domain) > 0; });
  }
  void Forget() {
    std::lock_guard<std::mutex> lock(mutex_);
    domains_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> domains_;
};

class Suite : public HypervisorContract {
 protected:
  void SetUp() override {
    hypervisor_ = GetParam().make([this](const std::string& domain) { events_.Add(domain); });
    ASSERT_NE(hypervisor_, nullptr);
    Clean();
  }
  void TearDown() override {
    if (hypervisor_) Clean();
  }
  void Clean() {
    for (const MachineIdentity& machine : {machine_, other_}) {
      auto removed = hypervisor_->Remove(machine);
      EXPECT_TRUE(removed.ok()) << removed.status();
    }
  }

  Config SomeConfig() {
    Config config;
    config.mutable_image()->set_base(GetParam().image);
    config.mutable_resources()->set_cpus(1);
    config.mutable_resources()->set_memory_mb(256);
    config.mutable_resources()->set_disk(1 << 30);
    config.mutable_network()->set_nat(true);
    config.mutable_network()->set_hostname("dev");
    config.mutable_user()->set_name("rum");
    config.mutable_user()->add_groups("docker");
    config.mutable_advanced()->set_domain_type("auto");
    config.mutable_advanced()->set_machine("q35");
    (*config.mutable_drives())["data"].set_size(64 << 20);
    config.add_ports()->set_host(8080);
    config.mutable_provision()->mutable_boot()->set_script("echo");
    return config;
  }

  // The memory after it, MiB.
  uint64_t Resize(uint64_t memory_mb) {
    const absl::StatusOr<Room> room = hypervisor_->ResizeMemory(machine_, memory_mb);
    EXPECT_TRUE(room.ok()) << room.status();
    return room.ok() ? room->balloon_mb + room->added_mb : 0;
  }
  DomainState Look(const MachineIdentity& machine) {
    auto state = hypervisor_->Inspect(machine);
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? *state : DomainState();
  }

  static void ExpectEqual(const Config& found, const Config& wanted) {
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(found, wanted))
        << found.DebugString() << "is not\n"
        << wanted.DebugString();
  }

  Events events_;
  std::unique_ptr<Hypervisor> hypervisor_;
  const MachineIdentity machine_ = Machine("dev", "0123456789ab");
  // Its domain's name begins with the first one's.
  const MachineIdentity other_ = Machine("dev-0123456789ab", "ba9876543210");
};

TEST_P(Suite, KnowsNothingOfAMachineThatWasNeverDefined) {
  DomainState state = Look(machine_);
  EXPECT_FALSE(state.defined);
  EXPECT_FALSE(state.running);
  EXPECT_EQ(hypervisor_->Start(machine_).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  auto removed = hypervisor_->Remove(machine_);
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_THAT(removed->removed, testing::IsEmpty());
}

TEST_P(Suite, ReadsADefinitionBackWithoutPortsAndScripts) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  DomainState state = Look(machine_);
  EXPECT_TRUE(state.defined);
  EXPECT_FALSE(state.running);
  ExpectEqual(state.persistent, DefinitionFor(SomeConfig(), std::nullopt));
}

TEST_P(Suite, DefinesTheSameTwiceAndStaysTheSame) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  ExpectEqual(Look(machine_).persistent, DefinitionFor(SomeConfig(), std::nullopt));
}

// Of those whose definitions are XML.
class Edited : public Suite {};

// Also while it runs, and by the definition that a start writes.
TEST_P(Edited, LeavesWhatOthersAddedToADefinition) {
  const std::string domain = machine_.domain_name();
  const auto look = [&] { return GetParam().edit(domain, [](std::string*) {}); };
  const auto expect_all = [&](const std::string& xml) {
    for (const char* added :
         {"<title>Ada&apos;s</title>", "passwd='geheim'", "<graphics type='vnc'", "<video>",
          "<on_crash>restart</on_crash>", "/nobody/ever/reads.qcow2", "52:54:00:aa:bb:cc"}) {
      EXPECT_THAT(xml, testing::HasSubstr(added));
    }
  };
  Config config = SomeConfig();
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  const std::string edited = GetParam().edit(domain, [](std::string* xml) {
    const auto replace = [xml](const std::string& old, const std::string& other) {
      ASSERT_NE(xml->find(old), std::string::npos) << old << " in\n" << *xml;
      xml->replace(xml->find(old), old.size(), other);
    };
    replace("<metadata>", "<title>Ada's</title><metadata>");
    replace("<on_crash>preserve", "<on_crash>restart");
    replace(
        "</devices>",
        "<graphics type='vnc' port='-1' passwd='geheim'/><video><model type='vga'/></video>"
        "<interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='default'/>"
        "</interface>"
        "<disk type='file' device='disk'><source file='/nobody/ever/reads.qcow2'/>"
        "<target dev='vdc' bus='virtio'/></disk></devices>");
  });
  expect_all(edited);
  ExpectEqual(Look(machine_).persistent, DefinitionFor(config, std::nullopt));

  const std::string settled = look();  // libvirt sorts the controllers that it added itself
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(look(), settled) << "nothing is to be done";
  config.mutable_resources()->set_memory_mb(320);
  config.mutable_network()->set_nat(false);
  (*config.mutable_drives())["more"].set_size(64 << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  expect_all(look());
  ExpectEqual(Look(machine_).persistent, DefinitionFor(config, std::nullopt));
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kDisk, nullptr), absl::OkStatus());
  expect_all(look());
}

TEST_P(Suite, StartsWithWhatIsDefined) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  DomainState state = Look(machine_);
  EXPECT_TRUE(state.running);
  ExpectEqual(state.live, state.persistent);
  EXPECT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
}

TEST_P(Suite, DefinesForTheNextStartWhileTheMachineRuns) {
  Config config = SomeConfig();
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  config.mutable_resources()->set_memory_mb(320);
  config.mutable_resources()->set_cpus(2);
  config.mutable_resources()->set_disk(2u << 30);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  DomainState state = Look(machine_);
  EXPECT_TRUE(state.running);
  ExpectEqual(state.live, DefinitionFor(SomeConfig(), std::nullopt));
  ExpectEqual(state.persistent, DefinitionFor(config, std::nullopt));

  ASSERT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  EXPECT_FALSE(Look(machine_).running);
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  ExpectEqual(Look(machine_).live, DefinitionFor(config, std::nullopt));
}

TEST_P(Suite, TakesAChangeBackWithoutARestart) {
  Config config = SomeConfig();
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  config.mutable_resources()->set_memory_mb(320);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  DomainState state = Look(machine_);
  ExpectEqual(state.persistent, state.live);
}

// Its disk was made when the drive came into the file: what was asked for then stays, and is told.
TEST_P(Suite, KeepsTheDiskOfADriveThatNeverRanAndIsThenAskedSmaller) {
  Config config = SomeConfig();
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const auto expect_size = [&](uint64_t asked, uint64_t expected) {
    (*config.mutable_drives())["late"].set_size(asked);
    ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
    const DomainState state = Look(machine_);
    EXPECT_EQ(state.persistent.drives().at("late").size(), expected);
    const Plan plan = MakePlan(config, {}, {.domain = state}, {});
    for (const Action& action : plan.actions()) EXPECT_FALSE(action.has_define_domain());
    const bool told = std::any_of(plan.waiting().begin(), plan.waiting().end(), [](const auto& c) {
      return c.field() == "drives.late.size" && c.effect() == RECREATE;
    });
    EXPECT_EQ(told, expected > asked);
  };
  expect_size(64 << 20, 64 << 20);
  expect_size(128 << 20, 128 << 20);  // nobody uses it: it grows at once
  expect_size(32 << 20, 128 << 20);
  ASSERT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(Look(machine_).live.drives().at("late").size(), 128u << 20);
}

TEST_P(Suite, ChangesTheDisksOfAMachineThatRuns) {
  const std::string late = "a-name-longer-than-a-serial";
  Config config = SomeConfig();
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const auto change = [&](DiskChange::What what, const std::string& drive) {
    EXPECT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
    absl::Status status;
    for (int twice = 0; twice < 2 && status.ok(); ++twice)
      status = hypervisor_->ChangeDisk(machine_, {what, drive, config.fs()});
    return status;
  };
  const auto expect_live = [&] {
    const DomainState state = Look(machine_);
    ExpectEqual(state.live, state.persistent);
  };
  const std::optional<PlugPorts> ports = Look(machine_).ports;
  Fs* const fs = (*config.mutable_fs())["ext4"].add_entries();
  fs->set_drive("data");
  fs->set_target("/data");
  EXPECT_EQ(change(DiskChange::kFilesystems, ""), absl::OkStatus());
  expect_live();
  if (!ports.has_value()) return;

  EXPECT_GE(ports->free, 4u) << "of a machine as rum makes it";
  (*config.mutable_drives())[late].set_size(64 << 20);
  EXPECT_EQ(change(DiskChange::kPlug, late), absl::OkStatus());
  expect_live();
  EXPECT_EQ(Look(machine_).ports->free, ports->free - 1);
  EXPECT_THAT(Look(machine_).grown, testing::IsEmpty());

  config.mutable_resources()->set_disk(2u << 30);
  (*config.mutable_drives())[late].set_size(128 << 20);
  for (const std::string& drive : {std::string(), late}) {
    EXPECT_EQ(change(DiskChange::kGrow, drive), absl::OkStatus());
    EXPECT_EQ(Look(machine_).grown.count(drive), 1u);
  }
  expect_live();
  Config smaller = config;
  (*smaller.mutable_drives())[late].set_size(32 << 20);
  ASSERT_EQ(hypervisor_->Define(machine_, smaller, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(hypervisor_->ChangeDisk(machine_, {DiskChange::kGrow, late, {}}), absl::OkStatus());
  EXPECT_EQ(Look(machine_).live.drives().at(late).size(), 128u << 20) << "never smaller";

  config.mutable_drives()->erase(late);
  const absl::Status unplugged = change(DiskChange::kUnplug, late);
  if (GetParam().acpi) {
    EXPECT_EQ(unplugged, absl::OkStatus());
    expect_live();
  } else {
    EXPECT_EQ(unplugged.code(), absl::StatusCode::kUnavailable) << "no guest lets it go";
  }
  ASSERT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  EXPECT_EQ(hypervisor_->ChangeDisk(machine_, {DiskChange::kGrow, "", {}}).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  ExpectEqual(Look(machine_).live, DefinitionFor(config, std::nullopt));
  EXPECT_THAT(Look(machine_).grown, testing::IsEmpty());
}

TEST_P(Suite, ChangesTheCardsOfAMachineThatRuns) {
  Config config = SomeConfig();
  Network* const network = config.mutable_network();
  network->set_nat(false);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const auto change = [&](CardChange::What what, const std::string& card) {
    EXPECT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
    absl::Status status;
    for (int twice = 0; twice < 2 && status.ok(); ++twice)
      status = hypervisor_->ChangeCard(machine_, {what, card});
    return status;
  };
  const auto expect_live = [&] {
    const DomainState state = Look(machine_);
    ExpectEqual(state.live, state.persistent);
    ExpectEqual(state.live, DefinitionFor(config, std::nullopt));
  };
  const std::optional<PlugPorts> ports = Look(machine_).ports;
  network->set_nat(true);
  const absl::Status plugged = change(CardChange::kPlug, "nat");
  EXPECT_EQ(plugged.ok(), ports.has_value()) << plugged;
  EXPECT_EQ(Look(machine_).live.network().nat(), ports.has_value());
  if (!ports.has_value()) return;

  expect_live();
  EXPECT_EQ(Look(machine_).ports->free, ports->free - 1);
  EXPECT_EQ(hypervisor_->ChangeCard(machine_, {CardChange::kPlug, "network:none"}).code(),
            absl::StatusCode::kAborted);
  if (GetParam().network) {
    for (const char* name : {"zone", "a name with more letters than an alias has", "lan"}) {
      network->add_interfaces()->set_network(name);
      EXPECT_EQ(change(CardChange::kPlug, absl::StrCat("network:", name)), absl::OkStatus());
      expect_live();
    }
    // Only a card that its guest lets go can be exchanged.
    network->mutable_interfaces(0)->set_ip("192.168.77.9");
    const absl::Status exchanged = change(CardChange::kPlug, "network:zone");
    EXPECT_EQ(exchanged.code(),
              GetParam().acpi ? absl::StatusCode::kOk : absl::StatusCode::kUnavailable);
    if (GetParam().acpi) expect_live();
    if (!GetParam().acpi) EXPECT_EQ(Look(machine_).live.network().interfaces(0).ip(), "");
  }
  network->set_nat(false);
  const absl::Status unplugged = change(CardChange::kUnplug, "nat");
  EXPECT_EQ(unplugged.code(),
            GetParam().acpi ? absl::StatusCode::kOk : absl::StatusCode::kUnavailable);
  if (GetParam().acpi) expect_live();
  ASSERT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  EXPECT_EQ(hypervisor_->ChangeCard(machine_, {CardChange::kUnplug, "nat"}).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  expect_live();
}

TEST_P(Suite, ChangesTheFoldersOfAMachineThatRuns) {
  Config config = SomeConfig();
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const DomainState first = Look(machine_);
  Mount* const mount = config.add_mounts();
  mount->set_source("/tmp");
  mount->set_target("/src");
  mount->set_tag("code");
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  const auto change = [&](const FolderChange& wanted) {
    absl::Status status;
    for (int twice = 0; twice < 2 && status.ok(); ++twice)
      status = hypervisor_->ChangeFolder(machine_, wanted);
    return status;
  };
  const FolderChange attach = {FolderChange::kAttach, "code", {}, {}};
  if (first.room.sharing != Sharing::kLive) {
    EXPECT_FALSE(change(attach).ok());
    EXPECT_EQ(Look(machine_).live.mounts_size(), 0);
    return;
  }
  ASSERT_EQ(change(attach), absl::OkStatus());
  ExpectEqual(Look(machine_).live, Look(machine_).persistent);
  EXPECT_TRUE(Look(machine_).virtiofs);
  EXPECT_EQ(Look(machine_).ports->free, first.ports->free - 1);

  mount->set_target("/work");
  mount->set_readonly(true);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(change({FolderChange::kMounts, "", {"code"}, config.mounts()}), absl::OkStatus());
  ExpectEqual(Look(machine_).live, Look(machine_).persistent);

  ASSERT_EQ(change({FolderChange::kMounts, "", {"code"}, {}}), absl::OkStatus());
  EXPECT_EQ(Look(machine_).live.mounts_size(), 0);
  EXPECT_THAT(Look(machine_).leaving_folders, testing::ElementsAre(testing::Pair("code", "/tmp")));
  const absl::Status gone = change({FolderChange::kDetach, "code", {}, {}});
  if (!GetParam().acpi) {
    EXPECT_EQ(gone.code(), absl::StatusCode::kUnavailable) << "no guest lets it go";
    return;
  }
  EXPECT_EQ(gone, absl::OkStatus());
  EXPECT_THAT(Look(machine_).leaving_folders, testing::IsEmpty());
  EXPECT_EQ(Look(machine_).ports->free, first.ports->free);
  ASSERT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  EXPECT_EQ(hypervisor_->ChangeFolder(machine_, attach).code(),
            absl::StatusCode::kFailedPrecondition);
}

// Its next start is as it was defined.
TEST_P(Suite, PlugsVCpusIntoARunningMachineAsFarAsItHasRoomAndCanTakeItAndTakesNoneOut) {
  Config config = SomeConfig();
  config.mutable_resources()->set_max_cpus(4);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_EQ(hypervisor_->PlugCpus(machine_, 2).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(Look(machine_).room.cpus, 4u);
  const bool plugs = Look(machine_).room.plugs_cpus;
  for (const uint32_t cpus : {3, 3, 2}) {
    EXPECT_EQ(hypervisor_->PlugCpus(machine_, cpus).code(),
              plugs ? absl::StatusCode::kOk : absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(Look(machine_).live.resources().cpus(), plugs ? 3u : 1u);
  }
  EXPECT_EQ(hypervisor_->PlugCpus(machine_, 1), absl::OkStatus());
  EXPECT_EQ(hypervisor_->PlugCpus(machine_, 5).code(), absl::StatusCode::kFailedPrecondition);
  ExpectEqual(Look(machine_).persistent, DefinitionFor(config, std::nullopt));
  ASSERT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(Look(machine_).live.resources().cpus(), 1u);
}

TEST_P(Suite, ResizesTheMemoryOfARunningMachineAsFarAsItHasRoomAndItsGuestDoes) {
  Config config = SomeConfig();
  config.mutable_resources()->set_max_memory_mb(512);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  EXPECT_TRUE(absl::IsFailedPrecondition(hypervisor_->ResizeMemory(machine_, 128).status()));
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(Resize(256), 256u) << "as it is";
  EXPECT_TRUE(absl::IsFailedPrecondition(hypervisor_->ResizeMemory(machine_, 514).status()));
  EXPECT_EQ(Resize(128), GetParam().acpi ? 128u : 256u);
  EXPECT_EQ(Look(machine_).live.resources().memory_mb(), GetParam().acpi ? 128u : 256u);
  EXPECT_EQ(Resize(256), 256u);
  EXPECT_EQ(Look(machine_).live.resources().memory_mb(), 256u);
  if (Look(machine_).room.addable_mb > 0) {
    Resize(383);
    EXPECT_EQ(Look(machine_).room.asked_mb, 128u);
  }
  ExpectEqual(Look(machine_).persistent, DefinitionFor(config, std::nullopt));
}

TEST_P(Suite, StopsAGuestThatAnswersAndOneThatDoesNot) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  const absl::Duration grace = GetParam().acpi ? absl::Seconds(30) : absl::Milliseconds(300);
  ASSERT_EQ(hypervisor_->Stop(machine_, grace), absl::OkStatus());
  DomainState state = Look(machine_);
  EXPECT_TRUE(state.defined);
  EXPECT_FALSE(state.running);
  EXPECT_EQ(hypervisor_->Stop(machine_, grace), absl::OkStatus());
}

TEST_P(Suite, KeepsWhatTheDiskHoldsUntilThereIsANewDisk) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  Config config = SomeConfig();
  config.mutable_image()->set_base(GetParam().other_image);
  config.mutable_user()->set_name("somebody");
  config.mutable_resources()->set_disk(512 << 20);
  config.mutable_resources()->set_cpus(2);
  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
  Config kept = SomeConfig();
  kept.mutable_resources()->set_cpus(2);
  ExpectEqual(Look(machine_).persistent, DefinitionFor(kept, std::nullopt));

  ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kDisk, nullptr), absl::OkStatus());
  ExpectEqual(Look(machine_).persistent, DefinitionFor(config, std::nullopt));
}

TEST_P(Suite, MakesNoNewDiskUnderARunningMachine) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kDisk, nullptr).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Look(machine_).running);
}

TEST_P(Suite, RemovesARunningMachineAndNoOther) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  ASSERT_EQ(hypervisor_->Define(other_, SomeConfig(), Fresh::kNothing, nullptr), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(other_), absl::OkStatus());
  auto removed = hypervisor_->Remove(machine_);
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_THAT(removed->removed, testing::Contains("domain rum-dev-0123456789ab"));
  EXPECT_FALSE(Look(machine_).defined);
  EXPECT_FALSE(Look(machine_).running);
  EXPECT_TRUE(Look(other_).running);
  ASSERT_EQ(hypervisor_->Stop(other_, kNoGrace), absl::OkStatus());
  EXPECT_EQ(hypervisor_->Start(other_), absl::OkStatus());
}

TEST_P(Suite, TellsOfStartsAndStops) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  EXPECT_TRUE(events_.Wait(machine_.domain_name()));
  events_.Forget();
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_TRUE(events_.Wait(machine_.domain_name()));
  events_.Forget();
  ASSERT_EQ(hypervisor_->Stop(machine_, kNoGrace), absl::OkStatus());
  EXPECT_TRUE(events_.Wait(machine_.domain_name()));
}

TEST_P(Suite, KnowsWhyAMachineIsAsItIs) {
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_EQ(Look(machine_).cause, DomainCause::kNone);
  EXPECT_FALSE(StandsStill(Look(machine_)));
  const std::vector<std::pair<std::string, DomainCause>> hands = {
      {"suspend", DomainCause::kPausedByUser},
      {"managedsave", DomainCause::kSaved},
      {"destroy", DomainCause::kDestroyed},
      {"kill", DomainCause::kCrashed}};
  for (const auto& [what, cause] : hands) {
    if (!GetParam().hand || !GetParam().hand(hypervisor_.get(), machine_, what)) continue;
    const absl::Time limit =
        absl::Now() + absl::Seconds(60);  // a killed QEMU is missed in a moment
    while (Look(machine_).cause != cause && absl::Now() < limit) {
      absl::SleepFor(absl::Milliseconds(20));
    }
    const DomainState state = Look(machine_);
    EXPECT_EQ(state.cause, cause) << what;
    EXPECT_EQ(state.running, what == "suspend");
    EXPECT_EQ(state.paused, what == "suspend");
    EXPECT_EQ(StandsStill(state), what == "suspend");
    ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus()) << what;
    EXPECT_TRUE(Look(machine_).running);
    EXPECT_EQ(Look(machine_).cause, DomainCause::kNone);
    EXPECT_FALSE(Look(machine_).paused);
  }
}

// By what is noted, whatever libvirt has: a network that somebody made meanwhile is not joined.
TEST_P(Suite, JoinsANetworkOfOthersWhereThatIsNotedAndElseMakesItsOwn) {
  Config config = SomeConfig();
  Interface* const card = config.mutable_network()->add_interfaces();
  card->set_network("theirs");
  const auto of_others = [&] {
    const auto networks = hypervisor_->NetworksOfOthers(machine_);
    EXPECT_TRUE(networks.ok()) << networks.status();
    return networks.ok() ? *networks : std::set<std::string>();
  };
  if (!GetParam().network) {
    EXPECT_THAT(of_others(), testing::IsEmpty());
    EXPECT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr).code(),
              absl::StatusCode::kFailedPrecondition);
    return;
  }
  EXPECT_EQ(of_others().count("theirs"), 0u);
  GetParam().network(hypervisor_.get(), "theirs", true);
  EXPECT_EQ(of_others().count("theirs"), 1u);
  for (const bool joined : {false, true, false}) {
    card->set_joined(joined);
    ASSERT_EQ(hypervisor_->Define(machine_, config, Fresh::kNothing, nullptr), absl::OkStatus());
    ExpectEqual(Look(machine_).persistent, DefinitionFor(config, std::nullopt));
    EXPECT_EQ(of_others().count("theirs"), 1u);
  }
  EXPECT_EQ(hypervisor_->Remove(machine_)->kept.size(), 0u);
  EXPECT_EQ(of_others().count("theirs"), 1u);
  GetParam().network(hypervisor_.get(), "theirs", false);
}

TEST_P(Suite, HasNoChannelToAMachineThatIsOff) {
  EXPECT_EQ(hypervisor_->OpenChannel(machine_, GuestChannel::kAgent).status().code(),
            absl::StatusCode::kUnavailable);
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  EXPECT_EQ(hypervisor_->OpenChannel(machine_, GuestChannel::kAgent).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_P(Suite, HasNoConsoleOfAMachineThatIsOff) {
  EXPECT_EQ(hypervisor_->OpenConsole(machine_, false).status().code(),
            absl::StatusCode::kUnavailable);
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  for (const bool force : {false, true}) {
    EXPECT_EQ(hypervisor_->OpenConsole(machine_, force).status().code(),
              absl::StatusCode::kUnavailable);
  }
}

TEST_P(Suite, TellsWhatRunsOfTheMachinesThatAreAskedAboutAndOfNoOther) {
  const auto usages = [&](const std::vector<MachineIdentity>& machines) {
    auto told = hypervisor_->Usages(machines);
    EXPECT_TRUE(told.ok()) << told.status();
    return told.ok() ? *std::move(told) : std::map<std::string, Usage>();
  };
  EXPECT_TRUE(usages({machine_}).empty());
  ASSERT_EQ(hypervisor_->Define(machine_, SomeConfig(), Fresh::kNothing, nullptr),
            absl::OkStatus());
  EXPECT_TRUE(usages({machine_}).empty()) << "it is off";
  ASSERT_EQ(hypervisor_->Start(machine_), absl::OkStatus());
  EXPECT_TRUE(usages({}).empty());
  const auto told = usages({machine_});
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told.begin()->first, machine_.id);
}

}  // namespace

extern const std::vector<Contractor>& Contractors();

static std::vector<Contractor> WithEdit() {
  std::vector<Contractor> edited = Contractors();
  edited.erase(std::remove_if(edited.begin(), edited.end(), [](const auto& c) { return !c.edit; }),
               edited.end());
  return edited;
}

INSTANTIATE_TEST_SUITE_P(Contract, Suite, testing::ValuesIn(Contractors()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Contract, Edited, testing::ValuesIn(WithEdit()),
                         [](const auto& info) { return info.param.name; });

}  // namespace rum
