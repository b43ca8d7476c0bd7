#include "cli/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Style kUtf8{true, false};
constexpr Style kAscii{false, false};
constexpr Style kColor{true, true};

ActionResult Result(bool ok, const std::string& message, const std::string& tail = "") {
  ActionResult result;
  result.set_ok(ok);
  result.set_message(message);
  result.set_output_tail(tail);
  return result;
}

Change Changed(const std::string& field, const std::string& before, const std::string& after,
               Effect effect, const std::string& reason) {
  Change change;
  change.set_field(field);
  change.set_before(before);
  change.set_after(after);
  change.set_effect(effect);
  change.set_reason(reason);
  return change;
}

void AddPort(google::protobuf::RepeatedPtrField<Port>* ports, const std::string& bind,
             uint32_t host, uint32_t guest) {
  Port* port = ports->Add();
  port->set_bind(bind);
  port->set_host(host);
  port->set_guest(guest);
}

// One action of every kind, and one waiting change of every effect.
Plan WholePlan() {
  Plan plan;
  plan.add_actions()->mutable_define_domain();
  for (bool drives : {false, true}) {
    auto* reset = plan.add_actions()->mutable_define_domain();
    reset->set_reset(true);
    reset->set_reset_drives(drives);
    reset->add_drives("data");
    reset->add_drives("logs");
  }
  plan.add_actions()->mutable_start_domain();
  auto* forwards = plan.add_actions()->mutable_set_forwards();
  AddPort(forwards->mutable_added(), "127.0.0.1", 3000, 3000);
  AddPort(forwards->mutable_added(), "::1", 8080, 80);
  AddPort(forwards->mutable_removed(), "0.0.0.0", 5432, 5432);
  auto* hostname = plan.add_actions()->mutable_set_hostname();
  hostname->set_before("dev");
  hostname->set_after("devbox");
  Action* setting = plan.add_actions();
  setting->set_field("guest.timezone");
  setting->mutable_set_setting()->set_before("UTC");
  setting->mutable_set_setting()->set_after("Europe/Berlin");
  auto* groups = plan.add_actions()->mutable_set_groups();
  groups->set_user("rum");
  groups->add_add("docker");
  groups->add_add("kvm");
  groups->add_remove("wheel");
  auto* keys = plan.add_actions()->mutable_set_authorized_keys();
  keys->add_add("ssh-ed25519 AAAA me@here");
  keys->add_remove("ssh-rsa AAAABBBBCCCC");
  auto* storage = plan.add_actions()->mutable_set_storage();
  storage->add_made("/data");
  storage->add_made("/src");
  auto* boot = plan.add_actions()->mutable_run_script();
  boot->set_kind("boot");
  boot->set_rerun(true);
  plan.add_actions()->mutable_run_script()->set_kind("system");
  plan.add_actions()->mutable_forget_boot_script();
  *plan.add_waiting() =
      Changed("resources.memory_mb", "1024", "2048", RESTART, "memory is part of the definition");
  *plan.add_waiting() = Changed("mounts[/src]", "", "/home/me", RESTART, "");
  *plan.add_waiting() = Changed("drives.data", "20G", "", EFFECT_UNSPECIFIED, "a disk — of course");
  *plan.add_waiting() = Changed("image.base", "debian-12", "debian-13", RECREATE,
                                "the root disk is a copy of the base image");
  *plan.add_waiting() = Changed("provision.system.script", "a", "b", LIVE_OPT_IN,
                                "a system script is meant to run once and may destroy data");
  return plan;
}

TEST(RenderPlan, ShowsEveryKindOfActionAndEveryEffectWithItsReason) {
  EXPECT_EQ(RenderPlan(WholePlan(), kUtf8),
            R"(  ~ Would write the new definition for the next start
  ~ Would make the machine anew, with a fresh root disk; drives data, logs stay
  ~ Would make the machine anew, with a fresh root disk and fresh drives data, logs
  ~ Would start the machine
  ~ Would update port forwards (added 3000→3000, added [::1]:8080→80, removed 0.0.0.0:5432→5432)
  ~ Would set hostname dev → devbox
  ~ Would set timezone UTC → Europe/Berlin
  ~ Would add rum to docker, kvm; remove rum from wheel
  ~ Would update authorized keys (added me@here; removed ssh-rsa …BBBBCCCC)
  ~ Would update mounts (added /data, /src)
  ~ Would re-run boot provisioning script
  ~ Would run system provisioning script
  ~ Would take the boot provisioning script back from the guest
  ⚠ resources.memory_mb changed (1024 → 2048) — requires restart (`rum down && rum up`)
      memory is part of the definition
  ⚠ mounts[/src] changed (added: /home/me) — requires restart (`rum down && rum up`)
  ⚠ drives.data changed (removed: 20G) — requires restart (`rum down && rum up`)
      a disk — of course
  ⚠ image.base changed (debian-12 → debian-13) — needs a new disk (`rum up --reset`)
      the root disk is a copy of the base image
  ⚠ provision.system.script changed — re-run it with `rum reload --force`
      a system script is meant to run once and may destroy data
)");
}

TEST(RenderPlan, IsAsciiWithoutAUtf8TerminalAndLosesNoMark) {
  EXPECT_EQ(RenderPlan(WholePlan(), kAscii),
            R"(  ~ Would write the new definition for the next start
  ~ Would make the machine anew, with a fresh root disk; drives data, logs stay
  ~ Would make the machine anew, with a fresh root disk and fresh drives data, logs
  ~ Would start the machine
  ~ Would update port forwards (added 3000->3000, added [::1]:8080->80, removed 0.0.0.0:5432->5432)
  ~ Would set hostname dev -> devbox
  ~ Would set timezone UTC -> Europe/Berlin
  ~ Would add rum to docker, kvm; remove rum from wheel
  ~ Would update authorized keys (added me@here; removed ssh-rsa ...BBBBCCCC)
  ~ Would update mounts (added /data, /src)
  ~ Would re-run boot provisioning script
  ~ Would run system provisioning script
  ~ Would take the boot provisioning script back from the guest
  ! resources.memory_mb changed (1024 -> 2048) - requires restart (`rum down && rum up`)
      memory is part of the definition
  ! mounts[/src] changed (added: /home/me) - requires restart (`rum down && rum up`)
  ! drives.data changed (removed: 20G) - requires restart (`rum down && rum up`)
      a disk - of course
  ! image.base changed (debian-12 -> debian-13) - needs a new disk (`rum up --reset`)
      the root disk is a copy of the base image
  ! provision.system.script changed - re-run it with `rum reload --force`
      a system script is meant to run once and may destroy data
)");
}

TEST(RenderPlan, AnEmptyPlanSaysNothing) { EXPECT_EQ(RenderPlan(Plan(), kUtf8), ""); }

TEST(RenderResult, MarksWhatIsDoneAndWhatFailed) {
  EXPECT_EQ(RenderResult(Result(true, "Set hostname dev → devbox"), kUtf8),
            "  ✓ Set hostname dev → devbox\n");
  EXPECT_EQ(RenderResult(Result(true, "Set hostname dev → devbox"), kAscii),
            "  ok Set hostname dev -> devbox\n");
  EXPECT_EQ(RenderResult(Result(false, "port [::1]:80: in use"), kAscii),
            "  x port [::1]:80: in use\n");
}

TEST(RenderResult, AFailedScriptShowsTheEndOfItsOutput) {
  const std::string tail = "E: no package\ttmux\n\nlast line";
  EXPECT_EQ(RenderResult(Result(false, "boot script failed with exit status 7", tail), kUtf8),
            "  ✗ boot script failed with exit status 7\n"
            "      E: no package\ttmux\n      \n      last line\n");
  EXPECT_EQ(RenderResult(Result(true, "Ran boot script", tail), kUtf8), "  ✓ Ran boot script\n");
}

TEST(RenderResult, AMessageOfSeveralLinesLooksLikeOneMessage) {
  EXPECT_EQ(RenderResult(Result(false, "start: qemu said:\n  ✓ all is well\n"), kUtf8),
            "  ✗ start: qemu said:\n        ✓ all is well\n");
}

TEST(RenderResult, ColorsTheMarkAlone) {
  EXPECT_EQ(RenderResult(Result(true, "Done"), kColor), "  \033[32m✓\033[0m Done\n");
  EXPECT_EQ(RenderResult(Result(false, "Not"), kColor), "  \033[31m✗\033[0m Not\n");
  EXPECT_EQ(RenderResult(Result(false, "Not"), {false, true}), "  \033[31mx\033[0m Not\n");
}

Item* Add(MachineStatus* status, const std::string& field, Item::State state,
          const std::string& text, const std::string& reason = "") {
  Item* item = status->add_items();
  item->set_field(field);
  item->set_state(state);
  item->set_text(text);
  item->set_reason(reason);
  return item;
}

MachineStatus Running() {
  MachineStatus status;
  status.set_id("0123456789ab");
  status.set_name("dev");
  status.set_phase(MachineStatus::RUNNING);
  status.set_generation(7);
  status.set_applied_generation(7);
  status.set_applied_ms(10000);
  status.set_agent_connected(true);
  return status;
}

// Every state once.
MachineStatus WholeStatus() {
  MachineStatus status = Running();
  Add(&status, "ports[127.0.0.1:8080]", Item::HOLDS, "127.0.0.1:8080 → 80 (3 open, 12 MiB)");
  Add(&status, "ports[[::1]:5432]", Item::FAILING,
      "[::1]:5432 → 5432: in use by postgres (pid 812)");
  Add(&status, "user.groups[docker]", Item::DRIFTED, "docker missing: will be restored");
  Add(&status, "resources.memory_mb", Item::NEEDS_RESTART,
      "1024 MiB now, 2048 MiB at the next start", "memory is part of the definition");
  Add(&status, "image.base", Item::NEEDS_RECREATE, "needs rum up --reset",
      "the root disk is a copy");
  Add(&status, "provision.system.script", Item::OPT_IN, "changed since it ran", "may destroy data");
  Add(&status, "provision.system.script", Item::HOLDS, "the same field again");
  return status;
}

TEST(RenderStatus, ShowsEveryStateWithItsMarkAndReason) {
  EXPECT_EQ(RenderStatus(WholeStatus(), 12000, kUtf8),
            R"(dev  running  generation 7, applied 7 (2 s ago)
  ports[127.0.0.1:8080]    ✓ 127.0.0.1:8080 → 80 (3 open, 12 MiB)
  ports[[::1]:5432]        ✗ [::1]:5432 → 5432: in use by postgres (pid 812)
  user.groups[docker]      ~ docker missing: will be restored
  resources.memory_mb      ⚠ 1024 MiB now, 2048 MiB at the next start — memory is part of the definition
  image.base               ⚠ needs rum up --reset — the root disk is a copy
  provision.system.script  ⚠ changed since it ran — may destroy data
                           ✓ the same field again
Next: `rum apply --restart` restarts it with what waits for that
)");
}

TEST(RenderStatus, NamesWhoMovedWhatSinceWhenAndTheNextTryAndTheConditions) {
  MachineStatus status = Running();
  Item* group =
      Add(&status, "user.groups[docker]", Item::DRIFTED, "docker missing: will be restored");
  group->set_moved_by(Item::GUEST);
  group->set_first_seen_ms(3600 * 1000 + 2000);
  Item* port = Add(&status, "ports[127.0.0.1:80]", Item::FAILING, "in use by postgres (pid 812)");
  port->set_moved_by(Item::HOST);
  port->set_first_seen_ms(3600 * 1000);
  port->set_next_try_ms(3600 * 1000 + 9000);
  Item* file =
      Add(&status, "resources.cpus", Item::NEEDS_RESTART, "1 vCPUs now, 2 at the next start");
  file->set_moved_by(Item::FILE);
  file->set_first_seen_ms(1000);
  const auto add = [&](const char* type, Condition::Status is, const char* reason) {
    Condition* condition = status.add_conditions();
    condition->set_type(type);
    condition->set_status(is);
    condition->set_reason(reason);
  };
  add("Ready", Condition::TRUE, "Usable");
  add("Synced", Condition::FALSE, "Failing");
  add("RestartRequired", Condition::FALSE, "NothingWaits");
  add("Provisioned", Condition::UNKNOWN, "Unreachable");
  Style style = kUtf8;
  style.utc = true;
  EXPECT_EQ(RenderStatus(status, 12000, style),
            R"(dev  running  generation 7, applied 7 (2 s ago)
  user.groups[docker]  ~ docker missing: will be restored (by the guest, since 01:00:02)
  ports[127.0.0.1:80]  ✗ in use by postgres (pid 812) (by the host, since 01:00:00, next try 01:00:09)
  resources.cpus       ⚠ 1 vCPUs now, 2 at the next start
  Ready, not Synced (Failing), Provisioned unknown (Unreachable)
Next: `rum apply --restart` restarts it with what waits for that
)");
}

TEST(RenderStatus, EndsWithWhatToTypeNextWhereThatHelps) {
  MachineStatus status = Running();
  Add(&status, "mounts[/work]", Item::NEEDS_CONSENT, "reads /home");
  EXPECT_THAT(RenderStatus(status, 0, kUtf8),
              testing::EndsWith("\nNext: `rum trust` is for what needs your word\n"));
  status.set_phase(MachineStatus::STOPPED);
  EXPECT_THAT(RenderStatus(status, 0, kUtf8), testing::Not(testing::HasSubstr("Next: ")))
      << "it is told with the phase";
}

TEST(RenderEvent, IsALineWithTimeMarkChangeAuthorAndDuration) {
  Style style = kUtf8;
  style.utc = true;
  Event event;
  event.set_time_ms(3600 * 1000);
  event.set_kind(Event::DONE);
  event.set_field("network.hostname");
  event.set_before("typed");
  event.set_after("dev");
  event.set_why("Set hostname typed → dev");
  event.set_by("guest");
  event.set_took_ms(31);
  EXPECT_EQ(RenderEvent(event, style),
            "1970-01-01 01:00:00  ✓ network.hostname: typed → dev (by guest, 31 ms)\n");
  event.set_kind(Event::FAILED);
  event.set_why("agent: it is\ngone");
  EXPECT_EQ(RenderEvent(event, style),
            "1970-01-01 01:00:00  ✗ network.hostname: typed → dev: agent: it is\\ngone"
            " (by guest, 31 ms)\n");
  Event bare;
  bare.set_kind(Event::DONE);
  bare.set_field("domain");
  bare.set_why("Started the machine");
  bare.set_by("command");
  EXPECT_EQ(RenderEvent(bare, style),
            "1970-01-01 00:00:00  ✓ domain: Started the machine (by command)\n");
}

TEST(RenderStatus, IsAsciiWithoutAUtf8Terminal) {
  EXPECT_EQ(RenderStatus(WholeStatus(), 12000, kAscii),
            R"(dev  running  generation 7, applied 7 (2 s ago)
  ports[127.0.0.1:8080]    ok 127.0.0.1:8080 -> 80 (3 open, 12 MiB)
  ports[[::1]:5432]        x [::1]:5432 -> 5432: in use by postgres (pid 812)
  user.groups[docker]      ~ docker missing: will be restored
  resources.memory_mb      ! 1024 MiB now, 2048 MiB at the next start - memory is part of the definition
  image.base               ! needs rum up --reset - the root disk is a copy
  provision.system.script  ! changed since it ran - may destroy data
                           ok the same field again
Next: `rum apply --restart` restarts it with what waits for that
)");
}

TEST(RenderStatus, NamesEveryPhase) {
  MachineStatus status = Running();
  status.set_phase(MachineStatus::STOPPED);
  EXPECT_EQ(RenderStatus(status, 10000 + 119999, kUtf8),
            "dev  stopped  generation 7, applied 7 (119 s ago)\n");
  status.set_phase(MachineStatus::STARTING);
  EXPECT_EQ(RenderStatus(status, 10000 + 120000, kUtf8),
            "dev  starting  generation 7, applied 7 (2 min ago)\n");
  status.set_phase(MachineStatus::UNREACHABLE);
  EXPECT_EQ(RenderStatus(status, 10000 + 7200000, kUtf8),
            "dev  unreachable  generation 7, applied 7 (2 h ago)\n");
  status.set_applied_ms(86'400'000);  // by a clock that was put back since
  EXPECT_EQ(RenderStatus(status, 5, kUtf8),
            "dev  unreachable  generation 7, applied 7 (0 s ago)\n");
  status.set_applied_ms(0);
  status.set_applied_generation(0);
  EXPECT_EQ(RenderStatus(status, 5, kUtf8), "dev  unreachable  generation 7, applied 0\n");
  status.set_phase(MachineStatus::NOT_DEFINED);
  EXPECT_EQ(RenderStatus(status, 5, kUtf8), "dev  not defined  `rum up` makes it\n");
}

TEST(RenderStatus, SaysWhyAndSinceWhenAndWhatGoesOnWithIt) {
  MachineStatus status = Running();
  status.set_phase(MachineStatus::PAUSED);
  status.set_phase_reason("by `virsh suspend` or the like");
  status.set_phase_remedy("`rum up` goes on with it");
  EXPECT_EQ(RenderStatus(status, 10000, kUtf8),
            "dev  paused  generation 7, applied 7 (0 s ago)\n"
            "  ⚠ by `virsh suspend` or the like: `rum up` goes on with it\n");
  status.set_phase(MachineStatus::CRASHED);
  status.set_phase_since_ms(1000);
  Style style = kUtf8;
  style.utc = true;
  EXPECT_THAT(RenderStatus(status, 10000, style),
              HasSubstr("  ✗ by `virsh suspend` or the like, since 1970-01-01 00:00:01: `rum up`"));
  status.set_phase(MachineStatus::SHUTTING_DOWN);
  EXPECT_THAT(RenderStatus(status, 10000, style), HasSubstr("dev  shutting down  "));
}

TEST(RenderPlan, OfAMachineThatIsOffListsWhatItsNextStartBrings) {
  Plan plan;
  for (const auto& [before, after] : {std::pair{"dev", "devbox"}, {"", "new"}, {"old", ""}}) {
    Change* change = plan.add_at_start();
    change->set_field("network.hostname");
    change->set_before(before);
    change->set_after(after);
    change->set_effect(LIVE);
  }
  EXPECT_EQ(RenderPlan(plan, kUtf8),
            "  ~ Next start: network.hostname (dev → devbox)\n"
            "  ~ Next start: network.hostname (added: new)\n"
            "  ~ Next start: network.hostname (removed: old)\n");
  EXPECT_EQ(ExitCode(plan), 0);
  plan.set_standing("dev is off: `rum up` starts it");
  EXPECT_EQ(ExitCode(plan), 6);
}

TEST(RenderStatus, SaysThatTheAgentIsAwayAndWhatIsWrong) {
  MachineStatus status = Running();
  status.set_agent_connected(false);
  status.set_error("libvirt: no route\nto host");
  status.set_config_error("rum.toml:3:1: error: cpus must be at least 1\n    3 | cpus = 0\n");
  EXPECT_EQ(RenderStatus(status, 10000, kUtf8),
            R"(dev  running  generation 7, applied 7 (0 s ago)  agent not connected
  ✗ libvirt: no route
      to host
  ✗ ConfigInvalid: the last good configuration stays
    rum.toml:3:1: error: cpus must be at least 1
        3 | cpus = 0
)");
  status.set_generation(0);
  EXPECT_THAT(RenderStatus(status, 10000, kUtf8), Not(HasSubstr("last good")));
}

// A guest that is not a friend names its host, its groups, its programs.
TEST(Render, NoTextOfOthersReachesTheTerminalRaw) {
  const std::string hostile = "\033]0;pwned\007\033[2J\x9B\xC2\x9B\r\b\u202E\x7F";
  MachineStatus status = Running();
  status.set_name(hostile);
  Add(&status, hostile, Item::FAILING, hostile, hostile);
  status.set_error(hostile + "\n" + hostile);
  status.set_config_error(hostile);
  Plan plan = WholePlan();
  plan.mutable_actions(4)->mutable_set_hostname()->set_before(hostile);
  plan.mutable_actions(5)->mutable_set_groups()->add_add(hostile);
  plan.add_actions()->set_field(hostile);
  *plan.add_waiting() = Changed(hostile, hostile, hostile, RESTART, hostile);
  for (const Style& style : {kUtf8, kAscii}) {
    const std::string text = RenderStatus(status, 0, style) + RenderPlan(plan, style) +
                             RenderResult(Result(false, hostile, hostile), style);
    EXPECT_THAT(text, HasSubstr("\\x1b]0;pwned\\x07\\x1b[2J\\x9b\\u009b"));
    EXPECT_THAT(text, Not(HasSubstr("\u202E")));
    EXPECT_THAT(text, Not(HasSubstr("\xC2\x9B")));
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      EXPECT_TRUE(c == '\n' || (byte >= 0x20 && byte != 0x7F)) << static_cast<int>(byte);
      EXPECT_TRUE(style.utf8 || byte < 0x80);
    }
  }
}

TEST(Render, ALineOfOthersCannotPassForOneOfOurs) {
  const std::string text =
      RenderResult(Result(false, "failed", "  ✓ Set hostname\n✓ done\n"), kUtf8) +
      RenderResult(Result(true, "one\n  ✓ two"), kUtf8);
  EXPECT_EQ(text, "  ✗ failed\n        ✓ Set hostname\n      ✓ done\n  ✓ one\n        ✓ two\n");
}

Item Asked(const std::string& field, const std::string& value) {
  Item ask;
  ask.set_field(field);
  ask.set_state(Item::NEEDS_CONSENT);
  ask.set_moved_by(Item::FILE);
  ask.set_wanted(value);
  ask.set_text("needs your word: " + value);
  ask.set_first_seen_ms(1000);
  return ask;
}

TEST(RenderPlan, SaysWhatNeedsConsentInOneLineEach) {
  Plan plan;
  *plan.add_asks() = Asked("mounts[/x\n  ✓ all is well]", "/home/you");
  EXPECT_EQ(RenderPlan(plan, kUtf8),
            "  ⚠ mounts[/x\\n  ✓ all is well] needs your word: /home/you\n");
  EXPECT_EQ(ExitCode(plan), 4);
  *plan.add_waiting() = Changed("s", "", "", RESTART, "");
  EXPECT_EQ(ExitCode(plan), 5);
}

TEST(RenderStatus, SaysSinceWhenTheFileAsks) {
  MachineStatus status = Running();
  *status.add_items() = Asked("ports[0.0.0.0:1]", "v");
  Style utc = kUtf8;
  utc.utc = true;
  EXPECT_THAT(RenderStatus(status, 10000, utc),
              HasSubstr("⚠ needs your word: v (by the file, since 00:00:01)\n"));
  EXPECT_EQ(ExitCode(status), 4);
}

TEST(RenderTrust, ListsWhatIsGivenAndWhatIsAsked) {
  control::TrustReply trust;
  EXPECT_EQ(RenderTrust(trust, kUtf8), "the file reaches nothing that needs your word\n");
  ConsentedValue* given = trust.add_consented();
  given->set_field("mounts[/data]");
  given->set_value("read-only /srv");
  *trust.add_asks() = Asked("image.base", "/etc/x");
  trust.set_note("a note");
  EXPECT_EQ(RenderTrust(trust, kAscii),
            "  ok mounts[/data] read-only /srv (from before rum asked)\n"
            "  ! image.base needs your word: /etc/x\n"
            "  a note\n");
}

TEST(ExitCode, OfAPlanIsItsDearestChange) {
  Plan plan;
  EXPECT_EQ(ExitCode(plan), 0);
  *plan.add_waiting() = Changed("s", "", "", LIVE_OPT_IN, "");
  EXPECT_EQ(ExitCode(plan), 4);
  *plan.add_waiting() = Changed("s", "", "", RECREATE, "");
  EXPECT_EQ(ExitCode(plan), 5);
  plan.clear_waiting();
  plan.add_actions()->mutable_set_hostname();
  EXPECT_EQ(ExitCode(plan), 4);
}

TEST(ExitCode, OfAStatusIsWhatIsWorst) {
  MachineStatus status = Running();
  EXPECT_EQ(ExitCode(status), 0);
  for (const auto& [state, code] : {std::pair{Item::HOLDS, 0},
                                    {Item::PENDING, 4},
                                    {Item::DRIFTED, 4},
                                    {Item::NEEDS_RESTART, 5}}) {
    Add(&status, "f", state, "");
    EXPECT_EQ(ExitCode(status), code);
  }
  Add(&status, "f", Item::OPT_IN, "");
  EXPECT_EQ(ExitCode(status), 5);
  status.set_agent_connected(false);
  EXPECT_EQ(ExitCode(status), 6);
  status.set_agent_connected(true);
  status.set_phase(MachineStatus::STOPPED);
  EXPECT_EQ(ExitCode(status), 6);
}

// Standard output is no terminal here: what a terminal gets is tested with the real program.
TEST(StyleOf, ColorsWhenAskedToEvenWithNoColor) {
  setenv("NO_COLOR", "1", 1);
  EXPECT_TRUE(StyleOf("always").color);
  EXPECT_FALSE(StyleOf("auto").color);
  EXPECT_FALSE(StyleOf("never").color);
  unsetenv("NO_COLOR");
  EXPECT_TRUE(StyleOf("always").color);
  EXPECT_FALSE(StyleOf("auto").color);
}

TEST(StyleOf, MarksFollowTheCharacterSet) {
  setenv("LC_ALL", "C.UTF-8", 1);
  EXPECT_TRUE(StyleOf("never").utf8);
  setenv("LC_ALL", "C", 1);
  EXPECT_FALSE(StyleOf("never").utf8);
}

}  // namespace
}  // namespace rum
