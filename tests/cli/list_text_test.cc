#include "cli/list_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;

const Style kUtf8{true, false, true};

control::ListedMachine* Add(const std::string& name, const std::string& id, const std::string& path,
                            control::ListMachinesReply* list) {
  control::ListedMachine* machine = list->add_machines();
  machine->set_name(name);
  machine->set_id(id);
  machine->set_config_path(path);
  machine->set_phase(MachineStatus::RUNNING);
  return machine;
}

control::ListMachinesReply Several() {
  control::ListMachinesReply list;
  Add("dev", "0123456789ab", "/home/ada/one/dev.rum.toml", &list);
  Add("dev", "0123ffffffff", "/home/ada/two/dev.rum.toml", &list)->set_file_gone(true);
  Add("shop", "abcdef012345", "/home/ada/shop/rum.toml", &list);
  return list;
}

TEST(RenderMachines, IsATable) {
  control::ListMachinesReply list = Several();
  control::ListedMachine* dev = list.mutable_machines(0);
  for (const auto& [bind, host, guest] : {std::tuple("127.0.0.1", 8080, 80), {"::1", 22, 2222}}) {
    ForwardFacts* forward = dev->add_forwards();
    forward->set_bind(bind);
    forward->set_host(static_cast<uint32_t>(host));
    forward->set_guest(static_cast<uint32_t>(guest));
  }
  Condition* ready = dev->add_conditions();
  ready->set_type("Ready");
  ready->set_status(Condition::TRUE);
  for (const char* field : {"resources.cpus", "resources.cpus", "drives.data.size"})
    dev->add_waiting()->set_field(field);
  list.mutable_machines(1)->set_phase(MachineStatus::UNKNOWN);
  list.mutable_machines(1)->set_reason("libvirt: no route\nto host");
  list.mutable_machines(2)->set_phase(MachineStatus::STOPPED);
  EXPECT_EQ(
      RenderMachines(list, kUtf8),
      R"(NAME  ID            PHASE    FILE                                   FORWARDS                 WAITS                            CONDITIONS
dev   0123456789ab  running  /home/ada/one/dev.rum.toml             8080->80 [::1]:22->2222  resources.cpus drives.data.size  Ready
dev   0123ffffffff  unknown  file gone: /home/ada/two/dev.rum.toml
shop  abcdef012345  stopped  /home/ada/shop/rum.toml
  dev: libvirt: no route\nto host
)");
  EXPECT_EQ(RenderMachines({}, kUtf8), "no machines\n");
}

TEST(RenderMachines, LeavesConditionsOutWhereTheyWouldBeCutToNothing) {
  control::ListMachinesReply list = Several();
  Condition* ready = list.mutable_machines(0)->add_conditions();
  ready->set_type("Ready");
  ready->set_status(Condition::TRUE);
  Style style = kUtf8;
  for (const size_t width : {0, 60, 80, 85, 200}) {
    style.width = width;
    const std::string text = RenderMachines(list, style);
    EXPECT_EQ(text.find("CONDITIONS") != std::string::npos, width == 0 || width >= 100) << text;
    EXPECT_EQ(text.find("0123456789ab") != std::string::npos, width != 60) << text;
  }
}

TEST(PickMachine, TakesNamesIdsDomainsAndBeginningsOfIds) {
  const control::ListMachinesReply list = Several();
  for (const char* said : {"shop", "abcdef012345", "abcd", "rum-shop-abcdef012345"}) {
    const auto picked = PickMachine(list, said);
    ASSERT_TRUE(picked.ok()) << said << ": " << picked.status();
    EXPECT_EQ(picked->id(), "abcdef012345");
  }
  EXPECT_EQ(PickMachine(list, "0123f")->id(), "0123ffffffff");
}

TEST(PickMachine, AnIdGoesBeforeANameAndANameBeforeABeginning) {
  control::ListMachinesReply list = Several();
  Add("0123", "999999999999", "/x/0123.toml", &list);
  Add("abcdef012345", "888888888888", "/x/abcdef012345.toml", &list);
  EXPECT_EQ(PickMachine(list, "0123")->id(), "999999999999");
  EXPECT_EQ(PickMachine(list, "abcdef012345")->name(), "shop");
}

TEST(PickMachine, NamesThoseThatMayBeMeant) {
  const control::ListMachinesReply list = Several();
  for (const char* said : {"dev", "0123"}) {
    const auto picked = PickMachine(list, said);
    ASSERT_FALSE(picked.ok()) << said;
    const std::string text(picked.status().message());
    EXPECT_THAT(text, HasSubstr("\n  dev  0123456789ab  /home/ada/one/dev.rum.toml\n"));
    EXPECT_THAT(text, HasSubstr("dev  0123ffffffff  file gone: /home/ada/two/dev.rum.toml"));
    EXPECT_THAT(text, Not(HasSubstr("shop")));
  }
}

TEST(PickMachine, GuessesAtATypingError) {
  const control::ListMachinesReply list = Several();
  EXPECT_EQ(PickMachine(list, "shpo").status().message(),
            "there is no machine shpo (did you mean `shop`?); `rum list` shows all");
  EXPECT_EQ(PickMachine(list, "abc").status().message(),
            "there is no machine abc; `rum list` shows all")
      << "three digits are too few";
}

TEST(ListOfRecords, SaysWhatRecordsSay) {
  MachineRecord record;
  record.set_id("0123456789ab");
  record.set_name("dev");
  record.set_config_path("/nowhere/dev.rum.toml");
  record.set_libvirt_uri("qemu:///session");
  Port* port = record.mutable_applied()->add_ports();
  port->set_host(8080);
  port->set_guest(80);
  record.add_drifts()->set_field("network.hostname");
  const control::ListMachinesReply list = ListOfRecords(
      {{"0123456789ab", record}, {"ffffffffffff", absl::DataLossError("it is damaged")}},
      "no controller");
  ASSERT_EQ(list.machines_size(), 2);
  EXPECT_EQ(list.machines(0).reason(), "it is damaged");
  const control::ListedMachine& dev = list.machines(1);
  EXPECT_EQ(dev.phase(), MachineStatus::UNKNOWN);
  EXPECT_EQ(dev.reason(), "no controller");
  EXPECT_TRUE(dev.file_gone());
  EXPECT_EQ(dev.forwards(0).guest(), 80u);
  EXPECT_EQ(dev.waiting(0).field(), "network.hostname");
  EXPECT_EQ(dev.libvirt_uri(), "qemu:///session");
}

}  // namespace
}  // namespace rum
