// What a person sees of the real rum on a terminal: testdata/screens.txt. With
// RUM_TEST_PICTURES=FOLDER each screen is written there for Pango, too; pictures.sh makes pictures
// of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/cli/fake_controller.h"
#include "tests/cli/sandbox.h"
#include "tests/cli/screen.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

void AddItem(const char* field, Item::State state, const char* text, const char* reason,
             MachineStatus* status) {
  Item* item = status->add_items();
  item->set_field(field);
  item->set_state(state);
  item->set_text(text);
  item->set_reason(reason);
}

void AddCondition(const char* type, bool holds,
                  google::protobuf::RepeatedPtrField<Condition>* conditions) {
  Condition* condition = conditions->Add();
  condition->set_type(type);
  condition->set_status(holds ? Condition::TRUE : Condition::FALSE);
  condition->set_reason(holds ? "Usable" : "RestartRequired");
}

MachineStatus ShopStatus() {
  MachineStatus status;
  status.set_id("0123456789ab");
  status.set_name("shop");
  status.set_phase(MachineStatus::RUNNING);
  status.set_generation(7);
  status.set_applied_generation(6);
  status.set_agent_connected(true);
  AddItem("ports[127.0.0.1:8080]", Item::HOLDS,
          "127.0.0.1:8080 → 80 (3 open, 11.4 MiB in, 33.2 KiB out)", "", &status);
  AddItem("ports[127.0.0.1:5432]", Item::HOLDS,
          "127.0.0.1:5432 → 5432 (0 open, 0 B; nothing listens in the guest yet)", "", &status);
  status.mutable_items(1)->mutable_forward()->set_health(ForwardFacts::DOWN);
  AddItem("ports[[::1]:6379]", Item::FAILING, "[::1]:6379 → 6379: in use by redis-server (pid 812)",
          "", &status);
  AddItem("network.hostname", Item::HOLDS, "shop", "", &status);
  AddItem("user.groups[docker]", Item::DRIFTED, "docker missing: will be restored", "", &status);
  AddItem("resources.memory_mb", Item::NEEDS_RESTART, "1024 MiB now, 2048 MiB at the next start",
          "memory is part of the domain definition", &status);
  AddItem("provision.system.script", Item::OPT_IN,
          "changed since it ran; `rum reload --force` runs it again",
          "a system script is meant to run once and may destroy data", &status);
  AddCondition("Ready", true, status.mutable_conditions());
  AddCondition("Synced", false, status.mutable_conditions());
  AddCondition("AgentConnected", true, status.mutable_conditions());
  return status;
}

Plan ShopPlan() {
  Plan plan;
  Action* hostname = plan.add_actions();
  hostname->set_field("network.hostname");
  hostname->mutable_set_hostname()->set_before("shop");
  hostname->mutable_set_hostname()->set_after("till");
  Action* groups = plan.add_actions();
  groups->set_field("user.groups");
  groups->mutable_set_groups()->set_user("rum");
  for (const char* group : {"docker", "video"}) groups->mutable_set_groups()->add_add(group);
  Change* memory = plan.add_waiting();
  memory->set_field("resources.memory_mb");
  memory->set_before("1024");
  memory->set_after("2048");
  memory->set_effect(RESTART);
  memory->set_reason("started with room for 1024 MiB (resources.max_memory_mb)");
  Item* ask = plan.add_asks();
  ask->set_field("mounts[/src]");
  ask->set_state(Item::NEEDS_CONSENT);
  ask->set_text("the guest may write to /home/ada/src");
  return plan;
}

void AddUsage(const char* name, bool guest_tells, control::StatsReply* stats) {
  constexpr int64_t kMib = 1 << 20;
  control::MachineStats* machine = stats->add_machines();
  machine->set_name(name);
  machine->set_running(true);
  machine->set_time_ms(1000);
  machine->set_cpus(2);
  machine->set_cpu_time_ms(614'000);
  machine->set_memory_bytes(2048 * kMib);
  machine->set_memory_host_bytes(1412 * kMib);
  if (guest_tells) {
    machine->set_memory_guest_bytes(1960 * kMib);
    machine->set_memory_available_bytes(960 * kMib);
  }
  control::DiskStats* disk = machine->add_disks();
  disk->set_capacity_bytes(20480 * kMib);
  disk->set_host_bytes(1536 * kMib);
  disk->set_read_bytes(812 * kMib);
  disk->set_written_bytes(33 * kMib);
  control::ForwardStats* forward = machine->add_forwards();
  forward->set_bytes_to_guest(12'000'000);
  forward->set_bytes_to_host(34'000);
}

// Says of `up` and of a status what a screen needs, at the pace of who looks at it.
class Stage : public FakeController {
 public:
  explicit Stage(const std::string& socket) : FakeController(socket) {}
  ~Stage() override {
    GoOn();
    EndCalls();
  }

  void GoOn() {
    const std::lock_guard<std::mutex> guard(mutex_);
    goes_on_ = true;
    changed_.notify_all();
  }

  grpc::Status Status(grpc::ServerContext*, const control::MachineRequest*,
                      MachineStatus* status) override {
    *status = ShopStatus();
    return grpc::Status::OK;
  }

  grpc::Status Stats(grpc::ServerContext*, const control::StatsRequest*,
                     control::StatsReply* stats) override {
    AddUsage("shop", true, stats);
    AddUsage("datenbank-für-tests", false, stats);
    control::MachineStats* web = stats->add_machines();
    web->set_name("web");
    web->set_reason("libvirt at qemu+ssh://there/system cannot be reached");
    return grpc::Status::OK;
  }

  grpc::Status Apply(grpc::ServerContext*, const control::ApplyRequest* request,
                     grpc::ServerWriter<control::ApplyEvent>* writer) override {
    if (request->dry_run()) {
      control::ApplyEvent only;
      *only.mutable_outcome()->mutable_plan() = ShopPlan();
      writer->Write(only);
      return grpc::Status::OK;
    }
    const auto progress = [&](const std::string& text) {
      control::ApplyEvent event;
      event.set_progress(text);
      writer->Write(event);
    };
    const auto result = [&](bool ok, const std::string& text) {
      control::ApplyEvent event;
      event.mutable_result()->set_ok(ok);
      event.mutable_result()->set_message(text);
      writer->Write(event);
    };
    progress("downloading debian-12-generic-amd64.qcow2: 3 % of 490 MiB, 5.1 MiB/s, 94 s left");
    result(true, "Made the machine's disks and definition");
    progress("starting the machine");
    result(true, "Started the machine");
    progress("running the boot script");
    control::ApplyEvent output;
    output.set_script_output(
        "Hit:1 http://deb.debian.org/debian bookworm InRelease\nReading package lists...\nBuilding "
        "dependency tree...\n"
        "The following NEW packages will be installed:\n  nginx nginx-common "
        "libnginx-mod-http-geoip2 libnginx-mod-http-image-filter\n"
        "0 upgraded, 4 newly installed, 0 to remove and 0 not upgraded.\n");
    writer->Write(output);
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return goes_on_; });
    }
    result(true, "Ran the boot script");
    result(false, "port 127.0.0.1:5432: in use by postgres (pid 812)");
    control::ApplyEvent outcome;
    outcome.mutable_outcome()->set_failed(true);
    outcome.mutable_outcome()->set_actions(4);
    writer->Write(outcome);
    return grpc::Status::OK;
  }

  // What there is, and then nothing, until nobody listens.
  grpc::Status Watch(grpc::ServerContext* context, const control::WatchRequest*,
                     grpc::ServerWriter<control::WatchEvent>* writer) override {
    control::WatchEvent event;
    *event.mutable_status() = ShopStatus();
    writer->Write(event);
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(20));
    return grpc::Status::OK;
  }

  grpc::Status ListMachines(grpc::ServerContext*, const control::ListMachinesRequest* request,
                            control::ListMachinesReply* reply) override {
    if (!request->config_path().empty())
      return FakeController::ListMachines(nullptr, request, reply);
    const struct {
      const char *name, *id, *path;
      MachineStatus::Phase phase;
    } kMachines[] = {
        {"shop", "0123456789ab", "/home/ada/work/customers/shop/rum.toml", MachineStatus::RUNNING},
        {"datenbank-für-tests", "41a5e4ff6202",
         "/home/ada/work/customers/shop/datenbank-für-tests.rum.toml", MachineStatus::STOPPED},
        {"web", "b870a4833ac9", "/home/ada/old/web/rum.toml", MachineStatus::UNKNOWN},
    };
    for (const auto& [name, id, path, phase] : kMachines) {
      control::ListedMachine* machine = reply->add_machines();
      machine->set_name(name);
      machine->set_id(id);
      machine->set_config_path(path);
      machine->set_phase(phase);
    }
    control::ListedMachine* shop = reply->mutable_machines(0);
    ForwardFacts* forward = shop->add_forwards();
    forward->set_host(8080);
    forward->set_guest(80);
    shop->add_waiting()->set_field("resources.memory_mb");
    for (const char* type : {"Ready", "AgentConnected", "ConfigValid", "Provisioned"})
      AddCondition(type, true, shop->mutable_conditions());
    AddCondition("Synced", false, shop->mutable_conditions());
    reply->mutable_machines(2)->set_file_gone(true);
    reply->mutable_machines(2)->set_reason("libvirt at qemu+ssh://there/system cannot be reached");
    return grpc::Status::OK;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool goes_on_ = false;
};

std::string Golden(const std::string& name) {
  std::ifstream file(absl::StrCat(std::getenv("TEST_SRCDIR"), "/", std::getenv("TEST_WORKSPACE"),
                                  "/tests/cli/testdata/screens.txt"));
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  const std::string head = absl::StrCat("#### ", name, "\n");
  const size_t begin = all.find(head);
  if (begin == std::string::npos) return "";
  const size_t text = begin + head.size();
  return all.substr(text, all.find("#### ", text) - text);
}

// A sign of life is another one each time, and a busy machine takes its time.
std::string Still(const std::string& text) {
  static const auto* const signs = new std::regex("(^|\n)  [|/\\-] ");
  static const auto* const times = new std::regex("  ([0-9]+ min )?[0-9]+ s\n");
  return std::regex_replace(std::regex_replace(text, *signs, "$1  | "), *times, "\n");
}

class ScreensTest : public testing::Test {
 protected:
  ScreensTest() {
    rum_.Write("shop.rum.toml", GoodToml());
    rum_.env["TZ"] = "UTC";
    fs::create_directory(rum_.runtime());
    fs::permissions(rum_.runtime(), fs::perms(0700));
    stage_ = std::make_unique<Stage>(rum_.runtime() + "/controller.sock");
  }
  static void Expect(const std::string& name, const Screen& screen) {
    EXPECT_EQ(Still(screen.Text()), Golden(name)) << "#### " << name;
    EXPECT_THAT(screen.unknown(), testing::IsEmpty());
    if (const char* folder = std::getenv("RUM_TEST_PICTURES"); folder != nullptr)
      std::ofstream(absl::StrCat(folder, "/", name, ".pango")) << screen.Markup();
  }
  void ExpectScreen(const std::string& name, Words words, unsigned short columns) {
    words.insert(words.begin(), {"-c", "shop.rum.toml"});
    Screen screen(columns, 40);
    screen.Write(rum_.RumOnTerminal(words, "", {columns, 40}).out);
    Expect(name, screen);
  }

  Sandbox rum_;
  std::unique_ptr<Stage> stage_;
};

TEST_F(ScreensTest, AStatusFitsItsWindow) {
  ExpectScreen("status-60", {"status"}, 60);
  ExpectScreen("status-100", {"status"}, 100);
  ExpectScreen("status-200", {"status"}, 200);
}

TEST_F(ScreensTest, AListFitsItsWindow) {
  ExpectScreen("list-60", {"list"}, 60);
  ExpectScreen("list-100", {"list"}, 100);
  ExpectScreen("list-200", {"list"}, 200);
}

TEST_F(ScreensTest, APlanADiffNumbersAndWhatIsWrongWithAFile) {
  ExpectScreen("plan-80", {"apply", "--dry-run"}, 80);
  ExpectScreen("diff-80", {"diff"}, 80);
  ExpectScreen("stats-80", {"stats"}, 80);
  ExpectScreen("stats-160", {"stats"}, 160);
  rum_.Write("bad.rum.toml", "[resources]\ncpus = 0\nmemroy_mb = 512\n");
  ExpectScreen("check-80", {"check", "bad.rum.toml"}, 80);
  ExpectScreen("word-80", {"stauts"}, 80);
}

TEST_F(ScreensTest, AnUpMovesAndLeavesWhatWasDone) {
  Screen screen(80, 40);
  bool seen = false;
  rum_.RumOnTerminal({"-c", "shop.rum.toml", "up", "-d"}, "", {80, 40},
                     [&](const std::string& piece) {
                       screen.Write(piece);
                       if (seen || screen.Text().find("4 newly installed") == std::string::npos)
                         return;
                       seen = true;
                       Expect("up-80-during", screen);
                       stage_->GoOn();
                     });
  Expect("up-80-after", screen);
}

TEST_F(ScreensTest, AnUpThatIsInterruptedLeavesAShellItsPlace) {
  Screen screen(80, 40);
  bool seen = false;
  const Result result = rum_.RumOnTerminal(
      {"-c", "shop.rum.toml", "up", "-d"}, "", {80, 40}, [&](const std::string& piece) {
        screen.Write(piece);
        if (seen || screen.Text().find("4 newly installed") == std::string::npos) return;
        seen = true;
        rum_.Type("\x03");
      });
  EXPECT_EQ(result.exit_status, 128 + SIGINT);
  screen.Write("$ ");
  EXPECT_EQ(Still(screen.Text()),
            "  ✓ Made the machine's disks and definition\n  ✓ Started the machine\n$\n");
}

TEST_F(ScreensTest, APictureFollowsItsWindow) {
  std::string heard;
  const auto see = [&](size_t columns) {
    Screen screen(columns, 40);
    screen.Write(heard.substr(heard.rfind("\033[H")));
    return screen.Text();
  };
  int pictures = 0;
  rum_.RumOnTerminal({"-c", "shop.rum.toml", "status", "--watch"}, "", {100, 40},
                     [&](const std::string& piece) {
                       heard += piece;
                       if (heard.find("\033[J") == std::string::npos) return;
                       if (++pictures == 1) {
                         EXPECT_EQ(see(100), Golden("status-100"));
                         rum_.Resize({60, 40});
                       } else if (pictures == 2) {
                         EXPECT_EQ(see(60), Golden("status-60"));
                         rum_.Type("\x03");
                       }
                       heard.clear();
                     });
  EXPECT_GE(pictures, 2);
}

TEST_F(ScreensTest, WithoutUtf8AllIsAscii) {
  rum_.env["LC_ALL"] = "C";
  stage_->GoOn();
  ExpectScreen("status-100-ascii", {"status"}, 100);
  for (const Words& words : {Words{"list"}, {"status"}, {"up", "-d"}}) {
    for (const char c : rum_.RumOnTerminal(words, "", {100, 40}).out)
      ASSERT_LT(static_cast<unsigned char>(c), 0x80);
  }
}

TEST_F(ScreensTest, OnATerminalThatCannotAndForAReaderOfTheScreenNothingMovesOrHasColors) {
  stage_->GoOn();
  ExpectScreen("up-plain", {"up", "-d", "-o", "plain"}, 80);
  ExpectScreen("list-plain", {"list", "-o", "plain"}, 80);
  ExpectScreen("status-plain", {"status", "-o", "plain"}, 80);
  for (const Words& words : {Words{"up", "-d"}, {"status"}, {"list"}}) {
    Words plain = {"-c", "shop.rum.toml", "-o", "plain"};
    plain.insert(plain.end(), words.begin(), words.end());
    EXPECT_THAT(rum_.RumOnTerminal(plain, "", {80, 40}).out, Not(HasSubstr("\033")));
    Words dumb = {"-c", "shop.rum.toml"};
    dumb.insert(dumb.end(), words.begin(), words.end());
    rum_.env["TERM"] = "dumb";
    EXPECT_THAT(rum_.RumOnTerminal(dumb, "", {80, 40}).out, Not(HasSubstr("\033")));
    rum_.env["TERM"] = "xterm";
  }
}

TEST_F(ScreensTest, WithoutColorsItMovesAllTheSame) {
  stage_->GoOn();
  rum_.env["NO_COLOR"] = "1";
  const std::string out = rum_.RumOnTerminal({"-c", "shop.rum.toml", "up", "-d"}, "", {80, 40}).out;
  EXPECT_THAT(out, HasSubstr("\033[K"));
  EXPECT_THAT(out, Not(testing::ContainsRegex("\033\\[[0-9;]*m")));
}

}  // namespace
}  // namespace rum
