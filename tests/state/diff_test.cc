#include "state/diff.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "state/explain.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

Config Sample() {
  Config config =
      ReadToml("image.base = \"/i\"\nresources = { cpus = 1, memory_mb = 512 }\n", "/rum.toml")
          .config;
  config.mutable_network()->set_hostname("dev");
  Port* port = config.add_ports();
  port->set_bind("127.0.0.1");
  port->set_host(8080);
  port->set_guest(80);
  config.mutable_user()->add_groups("docker");
  config.mutable_ssh()->add_authorized_keys("ssh-ed25519 AAAA one");
  Mount* mount = config.add_mounts();
  mount->set_source("/src");
  mount->set_target("/a.b");
  mount->set_tag("a");
  (*config.mutable_drives())["data"].set_size(uint64_t{10} << 30);
  Fs* fs = (*config.mutable_fs())["ext4"].add_entries();
  fs->set_drive("data");
  fs->set_target("/data");
  Interface* card = config.mutable_network()->add_interfaces();
  card->set_network("lan");
  return config;
}

std::string Text(const std::vector<FieldChange>& changes) {
  std::string text;
  for (const FieldChange& change : changes) {
    text += change.field + ": " + change.before + " -> " + change.after + " [" +
            EffectName(change.effect) + (change.reason.empty() ? "" : "; " + change.reason) + "]\n";
  }
  return text;
}

struct Case {
  std::string field;  // of the schema, dotted, without keys
  std::function<void(Config*)> change;
  std::string text;
};

const char kCard[] = "a network card is part of the domain definition";
const char kFolder[] = "a shared folder is a device of the domain definition";
const char kDisk[] = "a virtio disk is part of the domain definition";
const char kFs[] = "filesystems on drives are made while the guest boots";

// Every field of the schema: what a change to it looks like, and what it costs.
std::vector<Case> AllFields() {
  const auto ssh = [](auto set) { return [set](Config* c) { set(c->mutable_ssh()); }; };
  const auto mount = [](auto set) { return [set](Config* c) { set(c->mutable_mounts(0)); }; };
  const auto fs = [](auto set) {
    return [set](Config* c) { set((*c->mutable_fs())["ext4"].mutable_entries(0)); };
  };
  const auto advanced = [](auto set) { return [set](Config* c) { set(c->mutable_advanced()); }; };
  const std::string card = kCard, folder = kFolder, disk = kDisk, made = kFs;
  return {
      {"image.base", [](Config* c) { c->mutable_image()->set_base("/j"); },
       "image.base: /i -> /j [recreate; the root disk is a copy of the base image]\n"},
      {"image.sha256", [](Config* c) { c->mutable_image()->set_sha256("ab"); },
       "image.sha256:  -> ab [recreate; the root disk is a copy of the base image]\n"},
      {"resources.cpus", [](Config* c) { c->mutable_resources()->set_cpus(2); },
       "resources.cpus: 1 -> 2 [restart; the number of vCPUs is part of the domain definition]\n"},
      {"resources.memory_mb", [](Config* c) { c->mutable_resources()->set_memory_mb(768); },
       "resources.memory_mb: 512 -> 768 [restart; memory is part of the domain definition]\n"},
      {"resources.disk", [](Config* c) { c->mutable_resources()->set_disk(uint64_t{30} << 30); },
       "resources.disk: 20G -> 30G [restart; the root disk grows while the machine is off]\n"},
      {"resources.max_cpus", [](Config* c) { c->mutable_resources()->set_max_cpus(4); },
       "resources.max_cpus:  -> 4 [restart; how many vCPUs a machine has room for is fixed when it "
       "starts]\n"},
      {"resources.max_memory_mb",
       [](Config* c) { c->mutable_resources()->set_max_memory_mb(4096); },
       "resources.max_memory_mb:  -> 4096 [restart; how much memory a machine has room for is "
       "fixed when it starts]\n"},
      {"network.nat", [](Config* c) { c->mutable_network()->set_nat(false); },
       "network.nat: true -> false [restart; " + card + "]\n"},
      {"network.hostname", [](Config* c) { c->mutable_network()->set_hostname("box"); },
       "network.hostname: dev -> box [live]\n"},
      {"network.wait_for_ip", [](Config* c) { c->mutable_network()->set_wait_for_ip(false); },
       "network.wait_for_ip: true -> false [none]\n"},
      {"network.ip_wait_timeout_s",
       [](Config* c) { c->mutable_network()->set_ip_wait_timeout_s(9); },
       "network.ip_wait_timeout_s: 120 -> 9 [none]\n"},
      {"network.interfaces.network",
       [](Config* c) { c->mutable_network()->mutable_interfaces(0)->set_network("wan"); },
       "network.interfaces[lan]: network lan ->  [restart; " + card +
           "]\nnetwork.interfaces[wan]:  -> network wan [restart; " + card + "]\n"},
      {"network.interfaces.ip",
       [](Config* c) { c->mutable_network()->mutable_interfaces(0)->set_ip("10.1.0.7"); },
       "network.interfaces[lan].ip:  -> 10.1.0.7 [restart; " + card + "]\n"},
      {"network.interfaces.joined",
       [](Config* c) { c->mutable_network()->mutable_interfaces(0)->set_joined(true); },
       "network.interfaces[lan].joined: false -> true [restart; " + card + "]\n"},
      {"provision.system.script",
       [](Config* c) { c->mutable_provision()->mutable_system()->set_script("true"); },
       "provision.system.script:  -> true [live, opt-in; a system script is meant to run once and "
       "may destroy data]\n"},
      {"provision.timeout_s", [](Config* c) { c->mutable_provision()->set_timeout_s(60); },
       "provision.timeout_s:  -> 60 [none]\n"},
      {"provision.boot.script",
       [](Config* c) { c->mutable_provision()->mutable_boot()->set_script("true"); },
       "provision.boot.script:  -> true [live]\n"},
      {"ports.host", [](Config* c) { c->mutable_ports(0)->set_host(9090); },
       "ports[127.0.0.1:8080]: host 8080, guest 80, bind 127.0.0.1 ->  [live]\n"
       "ports[127.0.0.1:9090]:  -> host 9090, guest 80, bind 127.0.0.1 [live]\n"},
      {"ports.guest", [](Config* c) { c->mutable_ports(0)->set_guest(81); },
       "ports[127.0.0.1:8080].guest: 80 -> 81 [live]\n"},
      {"ports.auto", [](Config* c) { c->mutable_ports(0)->set_auto_(true); },
       "ports[127.0.0.1:8080].auto: false -> true [live]\n"},
      {"ports.bind", [](Config* c) { c->mutable_ports(0)->set_bind("::1"); },
       "ports[127.0.0.1:8080]: host 8080, guest 80, bind 127.0.0.1 ->  [live]\n"
       "ports[[::1]:8080]:  -> host 8080, guest 80, bind ::1 [live]\n"},
      {"user.name", [](Config* c) { c->mutable_user()->set_name("ada"); },
       "user.name: rum -> ada [recreate; the user is made at the first boot of the disk]\n"},
      {"guest.timezone", [](Config* c) { c->mutable_guest()->set_timezone("UTC"); },
       "guest.timezone:  -> UTC [live]\n"},
      {"user.groups", [](Config* c) { c->mutable_user()->set_groups(0, "kvm"); },
       "user.groups[docker]: docker ->  [live]\nuser.groups[kvm]:  -> kvm [live]\n"},
      {"ssh.user", ssh([](Ssh* s) { s->set_user("root"); }), "ssh.user: rum -> root [none]\n"},
      {"ssh.command", ssh([](Ssh* s) { s->set_command("mosh"); }),
       "ssh.command: ssh -> mosh [none]\n"},
      {"ssh.interface", ssh([](Ssh* s) { s->set_interface("lan"); }),
       "ssh.interface:  -> lan [none]\n"},
      {"ssh.authorized_keys", ssh([](Ssh* s) { s->clear_authorized_keys(); }),
       "ssh.authorized_keys[ssh-ed25519 AAAA one]: ssh-ed25519 AAAA one ->  [live]\n"},
      {"mounts.source", mount([](Mount* m) { m->set_source("/other"); }),
       "mounts[/a.b].source: /src -> /other [restart; " + folder + "]\n"},
      {"mounts.target", mount([](Mount* m) { m->set_target("/c"); }),
       "mounts[/a.b]: source /src, target /a.b, tag a ->  [restart; " + folder +
           "]\nmounts[/c]:  -> source /src, target /c, tag a [restart; " + folder + "]\n"},
      {"mounts.readonly", mount([](Mount* m) { m->set_readonly(true); }),
       "mounts[/a.b].readonly: false -> true [restart; " + folder + "]\n"},
      {"mounts.tag", mount([](Mount* m) { m->set_tag("b"); }),
       "mounts[/a.b].tag: a -> b [restart; " + folder + "]\n"},
      {"mounts.default", mount([](Mount* m) { m->set_default_(true); }),
       "mounts[/a.b].default: false -> true [restart; " + folder + "]\n"},
      {"drives.size", [](Config* c) { (*c->mutable_drives())["data"].set_size(1ULL << 40); },
       "drives.data.size: 10G -> 1T [restart; " + disk + "]\n"},
      {"fs.drive", fs([](Fs* f) { f->set_drive("other"); }),
       "fs.ext4[/data].drive: data -> other [restart; " + made + "]\n"},
      {"fs.drives", fs([](Fs* f) { f->add_drives("a"), f->add_drives("b"); }),
       "fs.ext4[/data].drives:  -> a, b [restart; " + made + "]\n"},
      {"fs.target", fs([](Fs* f) { f->set_target("/d"); }),
       "fs.ext4[/d]:  -> drive data, target /d [restart; " + made +
           "]\nfs.ext4[/data]: drive data, target /data ->  [restart; " + made + "]\n"},
      {"fs.mode", fs([](Fs* f) { f->set_mode("raid1"); }),
       "fs.ext4[/data].mode:  -> raid1 [restart; " + made + "]\n"},
      {"fs.pool", fs([](Fs* f) { f->set_pool("p"); }),
       "fs.ext4[/data].pool:  -> p [restart; " + made + "]\n"},
      {"advanced.libvirt_uri", advanced([](Advanced* a) { a->set_libvirt_uri("test:///x"); }),
       "advanced.libvirt_uri:  -> test:///x [recreate; another libvirt is another host for the "
       "domain and its disks]\n"},
      {"advanced.domain_type", advanced([](Advanced* a) { a->set_domain_type("kvm"); }),
       "advanced.domain_type: auto -> kvm [restart; the domain type is fixed when it starts]\n"},
      {"advanced.machine", advanced([](Advanced* a) { a->set_machine("pc"); }),
       "advanced.machine: q35 -> pc [restart; the machine type is fixed when the domain starts]\n"},
      {"advanced.autologin", advanced([](Advanced* a) { a->set_autologin(true); }),
       "advanced.autologin: false -> true [restart; console login is set up while the guest "
       "boots]\n"},
      {"reconcile.auto", [](Config* c) { c->mutable_reconcile()->set_auto_(false); },
       "reconcile.auto: true -> false [none]\n"},
      {"reconcile.live", [](Config* c) { c->mutable_reconcile()->set_live(false); },
       "reconcile.live: true -> false [none]\n"},
      {"reconcile.restart", [](Config* c) { c->mutable_reconcile()->set_restart("never"); },
       "reconcile.restart: on-crash -> never [none]\n"},
  };
}

std::set<std::string> FieldsOf(const google::protobuf::Descriptor& table,
                               const std::string& prefix) {
  std::set<std::string> fields;
  for (int i = 0; i < table.field_count(); ++i) {
    const auto* field = table.field(i);
    const auto* below = field->message_type();
    if (below == nullptr) {
      fields.insert(prefix + field->name());
      continue;
    }
    if (field->is_map()) below = below->FindFieldByName("value")->message_type();
    if (below == FsList::descriptor()) below = Fs::descriptor();
    fields.merge(FieldsOf(*below, prefix + field->name() + "."));
  }
  return fields;
}

TEST(Diff, EveryFieldOfTheSchemaHasACase) {
  std::set<std::string> covered;
  for (const Case& c : AllFields()) covered.insert(c.field);
  EXPECT_EQ(covered, FieldsOf(*Config::descriptor(), ""));
}

TEST(Diff, EachFieldIsNamedWithItsEffectAndReason) {
  for (const Case& c : AllFields()) {
    Config after = Sample();
    c.change(&after);
    EXPECT_EQ(Text(Diff(Sample(), after)), c.text) << c.field;
  }
}

TEST(Diff, AFieldChangedBackIsNoChange) {
  for (const Case& c : AllFields()) {
    Config after = Sample();
    c.change(&after);
    const auto there = Diff(Sample(), after);
    const auto back = Diff(after, Sample());
    ASSERT_EQ(there.size(), back.size()) << c.field;
    for (size_t i = 0; i < there.size(); ++i) {
      EXPECT_EQ(there[i].field, back[i].field);
      EXPECT_EQ(there[i].before, back[i].after);
      EXPECT_EQ(there[i].after, back[i].before);
    }
  }
  EXPECT_TRUE(Diff(Sample(), Sample()).empty());
}

TEST(Diff, ASmallerDiskNeedsANewOne) {
  for (const auto& change : std::vector<std::function<void(Config*)>>{
           [](Config* c) { c->mutable_resources()->set_disk(1 << 30); },
           [](Config* c) { (*c->mutable_drives())["data"].set_size(1 << 30); }}) {
    Config after = Sample();
    change(&after);
    const auto changes = Diff(Sample(), after);
    ASSERT_EQ(changes.size(), 1u);
    EXPECT_EQ(changes[0].effect, RECREATE);
    EXPECT_EQ(changes[0].reason, "a disk cannot be made smaller without losing what is on it");
  }
}

TEST(Diff, ASizeThatTheDiskWasRoundedToIsTheSameSize) {
  for (const uint64_t asked : {1ULL, 100ULL, 1000000000ULL, (20ULL << 30) - 1}) {
    Config wanted = Sample();
    wanted.mutable_resources()->set_disk(asked);
    (*wanted.mutable_drives())["data"].set_size(asked);
    Config made = wanted;
    made.mutable_resources()->set_disk((asked + 1023) / 1024 * 1024);
    (*made.mutable_drives())["data"].set_size((asked + 1023) / 1024 * 1024);
    EXPECT_TRUE(Diff(made, wanted).empty()) << asked;
    EXPECT_TRUE(Diff(wanted, made).empty()) << asked;
    made.mutable_resources()->set_disk(made.resources().disk() + 1024);
    EXPECT_EQ(Diff(made, wanted).size(), 1u) << asked;
  }
}

TEST(Diff, TheMeaningOfAPathIsThatOfItsField) {
  EXPECT_EQ(EffectOf("ports[127.0.0.1:8080]"), LIVE);
  EXPECT_EQ(EffectOf("ports[::1:8080].guest"), LIVE);
  EXPECT_EQ(EffectOf("mounts[/a.b].tag"), RESTART);
  EXPECT_EQ(EffectOf("drives.data.size"), RESTART);
  EXPECT_EQ(EffectOf("fs.ext4[/a.b].mode"), RESTART);
  EXPECT_EQ(EffectOf("user.groups[docker]"), LIVE);
  EXPECT_EQ(ReasonOf("drives.data.size"), kDisk);
  EXPECT_EQ(EffectOf("no.such.field"), RESTART);
}

Config DrawConfig() {
  Config config = Sample();
  config.clear_ports();
  for (int host = 1; host <= 4; ++host) {
    if (!*rc::gen::arbitrary<bool>()) continue;
    Port* port = config.add_ports();
    port->set_bind(*rc::gen::element<std::string>("127.0.0.1", "::1"));
    port->set_host(host);
    port->set_guest(*rc::gen::inRange(1, 3));
  }
  config.mutable_user()->clear_groups();
  for (const char* group : {"a", "b", "c"}) {
    if (*rc::gen::arbitrary<bool>()) config.mutable_user()->add_groups(group);
  }
  for (const char* drive : {"x", "y"}) {
    if (*rc::gen::arbitrary<bool>()) {
      (*config.mutable_drives())[drive].set_size(*rc::gen::element(1 << 20, 1 << 30));
    }
  }
  config.mutable_resources()->set_cpus(*rc::gen::inRange(1, 3));
  return config;
}

template <typename List>
void Shuffle(List* list) {
  for (int i = list->size() - 1; i > 0; --i) list->SwapElements(i, *rc::gen::inRange(0, i + 1));
}

TEST(DiffProperty, TheOrderOfListsNeverMatters) {
  EXPECT_TRUE(rc::check([] {
    const Config before = DrawConfig();
    Config after = before;
    Shuffle(after.mutable_ports());
    Shuffle(after.mutable_user()->mutable_groups());
    RC_ASSERT(Text(Diff(before, after)) == "");
    const Config other = DrawConfig();
    RC_ASSERT(Text(Diff(before, other)) == Text(Diff(after, other)));
  }));
}

TEST(DiffProperty, IsEmptyOnlyBetweenEquals) {
  EXPECT_TRUE(rc::check([] {
    const Config before = DrawConfig();
    const Config after = DrawConfig();
    const bool equal = before.ShortDebugString() == after.ShortDebugString();
    RC_ASSERT(Diff(before, after).empty() == equal);
  }));
}

TEST(DiffProperty, NamesEachPathOnceWithTwoDifferentValues) {
  EXPECT_TRUE(rc::check([] {
    std::set<std::string> seen;
    for (const FieldChange& change : Diff(DrawConfig(), DrawConfig())) {
      RC_ASSERT(seen.insert(change.field).second);
      RC_ASSERT(change.before != change.after);
      RC_ASSERT(change.effect != EFFECT_UNSPECIFIED);
    }
  }));
}

}  // namespace
}  // namespace rum
