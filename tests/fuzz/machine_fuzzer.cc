// Any bytes as all that a guest answers while its machine is made, looked at, edited and edited
// back: every command ends, asks of the guest nothing but what the file says, does to libvirt and
// the host's ports nothing that only a guest wanted, and leaves a record that can be kept.
#include <google/protobuf/util/json_util.h>
#include <stdlib.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "agent-api/client/checked_reply.h"
#include "tests/controller/fake_world.h"

namespace {

constexpr char kBetweenAnswers = '\xff';  // in no UTF-8, so that answers may be JSON

void Break(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

// What a guest will have said, answer for answer.
class Sayings {
 public:
  explicit Sayings(std::string bytes) : bytes_(std::move(bytes)) {}

  bool over() const { return at_ >= bytes_.size(); }

  // Unavailable: it says no more. DataLoss: what comes next is no such message.
  template <typename Message>
  absl::Status Take(Message* message) {
    if (over()) return absl::UnavailableError("the guest says no more");
    const size_t end = std::min(bytes_.find(kBetweenAnswers, at_), bytes_.size());
    const std::string said = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    message->Clear();
    const bool json = absl::StartsWith(said, "{");
    const bool is_one = json ? google::protobuf::util::JsonStringToMessage(said, message).ok()
                             : message->ParseFromString(said);
    return is_one ? absl::OkStatus() : absl::DataLossError("no such message");
  }

 private:
  const std::string bytes_;
  size_t at_ = 0;
};

// A client whose guest says that. What it asks for is held against `file`.
class SayingAgent final : public rum::FakeGuestAgent {
 public:
  SayingAgent(std::shared_ptr<Sayings> sayings, const rum::FileSpec* file)
      : FakeGuestAgent(std::make_shared<rum::FakeGuest>()),
        sayings_(std::move(sayings)),
        file_(file) {}

  absl::Status WaitConnected(absl::Duration) override { return Said(); }

  absl::StatusOr<rum::agent::Observation> Observe(
      const rum::agent::ObserveRequest& request) override {
    rum::agent::Observation seen;
    absl::Status status = sayings_->Take(&seen);
    if (status.ok()) status = rum::CheckReply(request, seen);
    if (!status.ok()) return status;
    return seen;
  }
  absl::Status SetHostname(const std::string& hostname) override {
    if (hostname != file_->hostname) Break("another hostname: " + hostname);
    return Done();
  }
  absl::Status SetGroups(const rum::agent::SetGroupsRequest& request) override {
    const std::set<std::string> named(file_->groups.begin(), file_->groups.end());
    for (const std::string& group : request.add()) {
      if (named.count(group) == 0) Break("a group that the file does not name: " + group);
    }
    for (const std::string& group : request.remove()) {
      if (group != "docker" && group != "wheel") Break("a group that no file named: " + group);
    }
    return Done();
  }
  absl::Status SetAuthorizedKeys(const rum::agent::SetAuthorizedKeysRequest&) override {
    return Done();
  }
  absl::StatusOr<rum::agent::SetStorageReply> SetStorage(
      const rum::agent::SetStorageRequest& request) override {
    rum::agent::SetStorageReply reply;
    absl::Status status = sayings_->Take(&reply);
    if (status.ok()) status = rum::CheckReply(request, reply);
    if (!status.ok()) return status;
    return reply;
  }
  absl::StatusOr<rum::agent::ScriptRun> RunScript(
      const rum::agent::RunScriptRequest& request,
      const std::function<void(const rum::agent::RunScriptEvent&)>& output) override {
    if (request.script() != file_->system && request.script() != file_->boot) {
      Break("another script: " + request.script());
    }
    return Events(request.run_id(), [&](const rum::agent::RunScriptEvent& event) {
      if (output) output(event);
      return true;
    });
  }
  absl::StatusOr<rum::agent::ScriptRun> FollowRun(
      const rum::agent::FollowRunRequest& request,
      const std::function<bool(const rum::agent::RunScriptEvent&)>& output) override {
    return Events(request.run_id(), output);
  }
  absl::Status CancelRun(const std::string&) override { return Done(); }
  absl::Status SetResources(const rum::agent::SetResourcesRequest&) override { return Done(); }
  absl::Status SetCards(const rum::agent::SetCardsRequest&) override { return Done(); }
  absl::Status SetBootScript(const rum::agent::SetBootScriptRequest&) override { return Done(); }

 private:
  absl::Status Said() const {
    return sayings_->over() ? absl::UnavailableError("the guest says no more") : absl::OkStatus();
  }
  // Of an answer that has nothing in it.
  absl::Status Done() {
    rum::agent::SetHostnameReply reply;
    return sayings_->Take(&reply);
  }
  // A session that ends in a run is waited for: what is no event ends the run in place of that.
  absl::StatusOr<rum::agent::ScriptRun> Events(
      const std::string& run_id,
      const std::function<bool(const rum::agent::RunScriptEvent&)>& output) {
    rum::RunEvents events(run_id);
    while (true) {
      rum::agent::RunScriptEvent event;
      if (!sayings_->Take(&event).ok()) return absl::DataLossError("no event");
      if (absl::Status said = events.Check(event); !said.ok()) return said;
      if (event.has_ended()) return event.ended();
      if (!output(event)) return absl::CancelledError("nobody listens");
    }
  }

  const std::shared_ptr<Sayings> sayings_;
  const rum::FileSpec* const file_;
};

// Nobody waits here: not for an address, which may never come.
void SaveFile(const rum::FakeWorld& world) {
  world.SaveText(absl::StrReplaceAll(world.file.Toml(),
                                     {{"[network]\n", "[network]\nwait_for_ip = false\n"}}));
}

void CheckRecord(const rum::MachineRecord& record) {
  std::string json;
  rum::MachineRecord read;
  if (!google::protobuf::util::MessageToJsonString(record, &json).ok() ||
      !google::protobuf::util::JsonStringToMessage(json, &read).ok()) {
    Break("cannot be kept: " + record.ShortDebugString());
  }
}

void CheckWorld(const rum::FakeWorld& world) {
  for (const std::string& change : world.hypervisor->Changes()) {
    if (change != "define" && change != "start") Break("nobody asked for: " + change);
  }
  for (const auto& [port, forward] : world.host->open) {
    if (port != 8080 && port != 5432) Break(absl::StrCat("nobody asked for port ", port));
  }
  if (!world.host->sockets.empty()) Break("nobody asked for a socket");
  CheckRecord(world.Record());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  if (getenv("TEST_TMPDIR") == nullptr) {
    setenv("TEST_TMPDIR", getenv("TMPDIR") == nullptr ? "/tmp" : getenv("TMPDIR"), 1);
  }
  const auto sayings =
      std::make_shared<Sayings>(std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  rum::FakeWorld world;
  world.file.more = data[0] % 2 == 0 ? "" : "[drives.data]\nsize = \"1GiB\"\n";
  SaveFile(world);
  world.agent = [&](const std::function<void()>&) {
    return std::make_unique<SayingAgent>(sayings, &world.file);
  };
  rum::ApplyOptions options = rum::Up();
  options.boot_patience = options.agent_patience = absl::ZeroDuration();
  options.rerun_boot = data[0] % 3 == 0;
  const std::unique_ptr<rum::Machine> machine = world.NewMachine();
  for (const char* hostname : {"dev", "other", "dev"}) {
    world.file.hostname = hostname;
    world.file.groups = hostname == std::string("dev") ? std::vector<std::string>{"docker", "wheel"}
                                                       : std::vector<std::string>{"docker"};
    SaveFile(world);
    rum::Apply(*machine, options);
    CheckWorld(world);
    machine->Status();
    machine->archive().Runs();
    CheckWorld(world);
  }
  return 0;
}
