#include "state/item_name.h"

#include <gtest/gtest.h>

#include "state/diff.h"

namespace rum {
namespace {

TEST(ItemName, PutsAnAddressWithColonsInBrackets) {
  EXPECT_EQ(ItemName("ports", {"127.0.0.1", "80"}), "ports[127.0.0.1:80]");
  EXPECT_EQ(ItemName("ports", {"::1", "80"}), "ports[[::1]:80]");
  EXPECT_EQ(ItemName("fs.ext4", {"/a:b"}), "fs.ext4[/a:b]");
  EXPECT_EQ(HostPort("::", 80), "[::]:80");
  EXPECT_EQ(HostPort("10.0.0.1", 80), "10.0.0.1:80");
}

TEST(ItemName, OfAnElementIsWhatTheDiffSays) {
  Config before, after;
  Port* port = after.add_ports();
  port->set_host(80);
  for (const char* bind : {"", "127.0.0.1", "::1", "::"}) {
    port->set_bind(bind);
    const std::string name = ItemName("ports", *port, "bind,host");
    EXPECT_EQ(Diff(before, after)[0].field, name);
    EXPECT_EQ(name, ItemName("ports", {*bind == 0 ? "127.0.0.1" : bind, "80"}));
  }
}

TEST(ItemName, IsWithinItselfAndItsTableAndNothingThatBeginsAlike) {
  EXPECT_TRUE(IsWithin("ports[[::1]:80]", "ports"));
  EXPECT_TRUE(IsWithin("ports[[::1]:80].guest", "ports[[::1]:80]"));
  EXPECT_TRUE(IsWithin("storage", "storage"));
  EXPECT_FALSE(IsWithin("storages", "storage"));
  EXPECT_FALSE(IsWithin("drives.ab.size", "drives.a"));
  EXPECT_FALSE(IsWithin("ports", "ports[x]"));
}

TEST(ItemName, ASocketHasNoPort) {
  Port port;
  port.set_bind("unix:/p/app.sock");
  port.set_guest(80);
  EXPECT_EQ(ItemName("ports", port, "bind,host"), "ports[unix:/p/app.sock]");
  EXPECT_EQ(ItemName("ports", {port.bind(), "0"}), "ports[unix:/p/app.sock]");
  EXPECT_EQ(HostPort(port.bind(), 0), "unix:/p/app.sock");
}

}  // namespace
}  // namespace rum
