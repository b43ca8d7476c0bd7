#include "tests/controller/fake_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace rum {
namespace {

// Lends a hypervisor to a controller: it goes on when the controller ends.
class LentHypervisor : public Hypervisor {
 public:
  explicit LentHypervisor(std::shared_ptr<Hypervisor> lent) : lent_(std::move(lent)) {}
  absl::StatusOr<DomainState> Inspect(const MachineIdentity& machine) override {
    return lent_->Inspect(machine);
  }
  absl::Status Define(const MachineIdentity& machine, const Config& config, Fresh fresh,
                      const Onlooker& onlooker) override {
    return lent_->Define(machine, config, fresh, onlooker);
  }
  absl::StatusOr<std::set<std::string>> NetworksOfOthers(const MachineIdentity& machine) override {
    return lent_->NetworksOfOthers(machine);
  }
  absl::StatusOr<std::set<std::string>> ImagesInUse() override { return lent_->ImagesInUse(); }
  absl::Status ChangeDisk(const MachineIdentity& machine, const DiskChange& change) override {
    return lent_->ChangeDisk(machine, change);
  }
  absl::Status ChangeCard(const MachineIdentity& machine, const CardChange& change) override {
    return lent_->ChangeCard(machine, change);
  }
  absl::Status ChangeFolder(const MachineIdentity& machine, const FolderChange& change) override {
    return lent_->ChangeFolder(machine, change);
  }
  absl::Status Start(const MachineIdentity& machine) override { return lent_->Start(machine); }
  absl::Status PlugCpus(const MachineIdentity& machine, uint32_t cpus) override {
    return lent_->PlugCpus(machine, cpus);
  }
  absl::StatusOr<Room> ResizeMemory(const MachineIdentity& machine, uint64_t memory_mb) override {
    return lent_->ResizeMemory(machine, memory_mb);
  }
  absl::Status Stop(const MachineIdentity& machine, absl::Duration grace) override {
    return lent_->Stop(machine, grace);
  }
  absl::StatusOr<Removal> Remove(const MachineIdentity& machine) override {
    return lent_->Remove(machine);
  }
  absl::StatusOr<int> OpenChannel(const MachineIdentity& machine, GuestChannel channel) override {
    return lent_->OpenChannel(machine, channel);
  }
  absl::StatusOr<int> OpenConsole(const MachineIdentity& machine, bool force) override {
    return lent_->OpenConsole(machine, force);
  }
  absl::StatusOr<std::string> ConsoleLog(const MachineIdentity& machine, size_t most) override {
    return lent_->ConsoleLog(machine, most);
  }
  absl::StatusOr<std::map<std::string, Usage>> Usages(
      const std::vector<MachineIdentity>& machines) override {
    return lent_->Usages(machines);
  }

 private:
  const std::shared_ptr<Hypervisor> lent_;
};

}  // namespace

std::string FileSpec::Toml() const {
  std::string text = absl::StrCat(
      "[image]\nbase = \"", image, "\"\n[resources]\ncpus = ", cpus, "\nmemory_mb = ", memory_mb,
      "\n[network]\nhostname = \"", hostname, "\"\n[provision.system]\nscript = \"", system,
      "\"\n[provision.boot]\nscript = \"", boot, "\"\n[user]\ngroups = [");
  for (const std::string& group : groups) absl::StrAppend(&text, "\"", group, "\", ");
  absl::StrAppend(&text, "]\n[reconcile]\nauto = ", auto_reconcile ? "true" : "false", "\n");
  for (const auto& [host, guest] : ports) {
    absl::StrAppend(&text, "[[ports]]\nhost = ", host, "\nguest = ", guest, "\n");
  }
  return text + more;
}

FakeWorld::FakeWorld()
    : hypervisor(std::make_shared<FakeHypervisor>([this](const std::string& name) {
        if (on_event) on_event(name);
      })) {
  guest->given = [this] {
    auto* const fake =
        libvirt == nullptr ? hypervisor.get() : dynamic_cast<FakeHypervisor*>(libvirt.get());
    if (fake != nullptr) return fake->Given(identity);
    const absl::StatusOr<DomainState> domain = libvirt->Inspect(identity);
    const Resources live = domain.ok() ? domain->live.resources() : Resources();
    return std::pair<uint32_t, uint64_t>(live.cpus(), live.memory_mb());
  };
  std::string folder = absl::StrCat(std::getenv("TEST_TMPDIR"), "/world.XXXXXX");
  folder_ = mkdtemp(folder.data());
  identity = *IdentityOf(folder_ + "/dev.rum.toml");
  store_ = std::make_unique<MemoryStateStore>(disk);
  Save();
}

FakeWorld::~FakeWorld() {
  {
    std::lock_guard<std::mutex> lock(guest->mutex);
    guest->given = nullptr;  // it may outlive this
  }
  std::filesystem::remove_all(folder_);
}

void FakeWorld::Save() const { SaveText(file.Toml()); }

void FakeWorld::SaveText(const std::string& text) const {
  const std::string temporary = identity.config_path + ".new";
  std::ofstream(temporary) << text;
  std::rename(temporary.c_str(), identity.config_path.c_str());
}

LinkSources FakeWorld::Sources() {
  LinkSources sources;
  sources.hypervisor =
      [this](const std::string& uri) -> absl::StatusOr<std::shared_ptr<Hypervisor>> {
    if (on_connect) on_connect(uri);
    if (const auto other = elsewhere.find(uri); other != elsewhere.end()) return other->second;
    if (libvirt != nullptr) return libvirt;
    return hypervisor;
  };
  sources.guest = [this](const std::string&, ChannelOpener,
                         std::function<void()> on_change) -> GuestLink {
    if (agent) return {agent(std::move(on_change))};
    std::lock_guard<std::mutex> lock(guest->mutex);
    guest->on_change = std::move(on_change);
    return {std::make_unique<FakeGuestAgent>(guest)};
  };
  sources.listeners = [this](GuestRoute route) {
    return std::make_unique<FakeListenerSet>(host, std::move(route));
  };
  sources.runs = runs;
  sources.now = now;
  return sources;
}

std::unique_ptr<Machine> FakeWorld::NewMachine() {
  return std::make_unique<Machine>(identity, Sources(), store_.get(), MachineKeys(key_folder),
                                   [] {});
}

ControllerParts FakeWorld::Parts() {
  ControllerParts parts;
  parts.hypervisor = [this](const std::string& uri, std::function<void(const std::string&)> event)
      -> absl::StatusOr<std::unique_ptr<Hypervisor>> {
    if (const auto other = elsewhere.find(uri); other != elsewhere.end())
      return std::make_unique<LentHypervisor>(other->second);
    on_event = std::move(event);
    return std::make_unique<LentHypervisor>(hypervisor);
  };
  parts.guest = Sources().guest;
  parts.listeners = Sources().listeners;
  parts.store = std::make_unique<MemoryStateStore>(disk);
  parts.key_folder = key_folder;
  parts.now = now;
  return parts;
}

MachineRecord FakeWorld::Record() const {
  absl::StatusOr<MachineRecord> record = store_->Load(identity.id);
  return record.ok() ? *record : MachineRecord();
}

void FakeWorld::ExpectConverged() const {
  EXPECT_EQ(guest->hostname, file.hostname);
  EXPECT_EQ(guest->static_hostname, file.hostname);
  for (const std::string& group : file.groups) EXPECT_EQ(guest->groups.count(group), 1u) << group;
  EXPECT_EQ(host->open.size(), file.ports.size());
  for (const auto& [port, target] : file.ports) EXPECT_EQ(host->open[port].guest, target);
  absl::StatusOr<DomainState> domain = hypervisor->Inspect(identity);
  ASSERT_TRUE(domain.ok());
  EXPECT_TRUE(domain->running);
  EXPECT_EQ(domain->persistent.resources().memory_mb(), static_cast<uint64_t>(file.memory_mb));
  const MachineRecord record = Record();
  EXPECT_TRUE(record.want_running());
  EXPECT_EQ(record.applied_generation(), record.generation());
  EXPECT_EQ(record.applied().network().hostname(), file.hostname);
  EXPECT_EQ(record.applied().ports_size(), static_cast<int>(file.ports.size()));
}

ApplyOptions Trusting(Machine& machine, ApplyOptions options) {
  const absl::StatusOr<Machine::TrustState> state = machine.Trust({});
  EXPECT_TRUE(state.ok()) << state.status();
  // As a client gives it: what was shown.
  for (const Ask& ask : state->asks) options.trust.push_back(ConsentTo(ask, 0));
  return options;
}

Seen Apply(Machine& machine, const ApplyOptions& options) {
  Seen seen;
  EventSink sink;
  sink.progress = [&](const std::string& text) { seen.progress.push_back(text); };
  sink.result = [&](const ActionResult& result) {
    std::string text = result.message();
    const size_t time = text.find(" (0.");  // how long a script took
    if (result.action().has_run_script() && time != std::string::npos) text.resize(time);
    (result.ok() ? seen.done : seen.failed).push_back(text);
  };
  sink.script_output = [&](const std::string& bytes, bool) { seen.output += bytes; };
  seen.outcome = machine.Apply(options, sink);
  return seen;
}

}  // namespace rum
