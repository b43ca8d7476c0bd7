#include "controller/listeners/port_owner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/controller/listeners/sockets.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

constexpr char kTcp[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode\n"
    "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   113        0 "
    "20721 1 0000000000000000 100 0 0 10 0\n"
    "   1: 0100007F:1538 0100007F:9000 01 00000000:00000000 00:00000000 00000000   113        0 "
    "20722 1 0000000000000000 20 4 30 10 -1\n"
    "   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
    "300 1 0000000000000000 100 0 0 10 0\n"
    "   3: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
    "301 1 0000000000000000 100 0 0 10 0\n"
    "   4: garbage\n";
constexpr char kTcp6[] =
    "  sl  local_address                         remote_address                        st\n"
    "   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 00:00000000 00000000     0        0 400 1 0000000000000000 100 0 0 10 0\n"
    "   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 00:00000000 00000000     0        0 401 1 0000000000000000 100 0 0 10 0\n";

uint64_t Blocker(const std::string& table, const std::string& address, uint16_t port) {
  const auto found = FindBlocker(ParseListening(table), *ParseAddress(address), port);
  return found ? found->inode : 0;
}

TEST(PortOwner, ReadsListeningSocketsOnly) {
  const auto sockets = ParseListening(kTcp);
  ASSERT_EQ(sockets.size(), 3u);
  EXPECT_EQ(sockets[0].address, *ParseAddress("127.0.0.1"));
  EXPECT_EQ(sockets[0].port, 5432);
  EXPECT_EQ(sockets[0].uid, 113u);
  EXPECT_EQ(sockets[0].inode, 20721u);
  EXPECT_EQ(ParseListening(kTcp6)[0].address, *ParseAddress("::1"));
  EXPECT_TRUE(ParseListening("").empty());
}

TEST(PortOwner, FindsWhoIsInTheWay) {
  EXPECT_EQ(Blocker(kTcp, "127.0.0.1", 5432), 20721u);
  EXPECT_EQ(Blocker(kTcp, "127.0.0.2", 5432), 0u) << "another address";
  EXPECT_EQ(Blocker(kTcp, "127.0.0.1", 5433), 0u) << "another port";
  EXPECT_EQ(Blocker(kTcp, "0.0.0.0", 5432), 20721u) << "a wildcard meets every address";
  EXPECT_EQ(Blocker(kTcp, "127.0.0.9", 8080), 300u) << "which every address meets";
  EXPECT_EQ(Blocker(kTcp, "127.0.0.2", 8080), 301u) << "the nearest";
  EXPECT_EQ(Blocker(kTcp, "::1", 5432), 0u) << "another family";
  EXPECT_EQ(Blocker(kTcp6, "::", 22), 400u);
  EXPECT_EQ(Blocker(kTcp6, "127.0.0.1", 80), 401u) << ":: may take IPv4 too";
}

class FakeProc : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    fs::create_directories(root_ / "net");
    std::ofstream(root_ / "net/tcp") << kTcp;
    std::ofstream(root_ / "net/tcp6") << kTcp6;
  }
  void AddProcess(int id, const std::string& name, const std::string& link) {
    const fs::path process = root_ / std::to_string(id);
    fs::create_directories(process / "fd");
    std::ofstream(process / "comm") << name << "\n";
    fs::create_symlink("/dev/null", process / "fd/0");
    fs::create_symlink(link, process / "fd/7");
  }
  const fs::path root_ = fs::path(testing::TempDir()) / "proc";
};

TEST_F(FakeProc, NamesTheServerAndNotItsWorkers) {
  AddProcess(1812, "postgres: worker", "socket:[20721]");
  AddProcess(812, "postgres", "socket:[20721]");
  AddProcess(9, "other", "socket:[2072]");
  EXPECT_EQ(PortOwner("127.0.0.1", 5432, root_), "postgres (pid 812)");
}

TEST_F(FakeProc, NamesTheUserWhereProcessesCannotBeSeen) {
  EXPECT_EQ(PortOwner("127.0.0.1", 5432, root_), "a process of uid 113");
}

TEST_F(FakeProc, SaysNothingAboutAFreePort) {
  EXPECT_EQ(PortOwner("127.0.0.1", 5433, root_), "");
  EXPECT_EQ(PortOwner("127.0.0.1", 5432, root_ / "nowhere"), "");
  EXPECT_EQ(PortOwner("nonsense", 5432, root_), "");
}

TEST(PortOwner, FindsThisProcessInTheRealProc) {
  const std::string pid = "(pid " + std::to_string(getpid()) + ")";
  for (const std::string address : {"127.0.0.1", "::1"}) {
    const Fd holder = Listen(address, 0);
    ASSERT_TRUE(holder.ok());
    const std::string owner = PortOwner(address, LocalPort(holder));
    EXPECT_NE(owner.find(pid), std::string::npos) << owner;
  }
}

}  // namespace
}  // namespace rum
