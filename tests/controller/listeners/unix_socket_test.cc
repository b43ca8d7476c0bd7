// Forwards whose host end is a file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "controller/listeners/inherited.h"
#include "controller/listeners/listener_set_options.h"
#include "controller/listeners/socket_file.h"
#include "tests/controller/listeners/sockets.h"
#include "tests/eventually.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Fd Open(const std::string& path, bool listens) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  const int done =
      listens ? bind(fd.get(), at, sizeof address) : connect(fd.get(), at, sizeof address);
  if (done != 0 || (listens && listen(fd.get(), 5) != 0)) return {};
  return fd;
}

class UnixSocketTest : public testing::Test {
 protected:
  UnixSocketTest() {
    std::string folder = "/tmp/rum-sockets.XXXXXX";  // a short path
    folder_ = mkdtemp(folder.data());
    setenv("RUM_STATE_DIR", (folder_ + "/state").c_str(), 1);
    path_ = folder_ + "/app.sock";
    options_.retry = std::chrono::milliseconds(20);
    set_ = NewSet();
  }
  ~UnixSocketTest() override {
    set_.reset();
    fs::remove_all(folder_);
  }

  std::unique_ptr<ListenerSet> NewSet() { return MakeListenerSet(guest_.dialer(), options_); }
  Forward At(const std::string& path, uint16_t guest = 80) { return {"unix:" + path, 0, guest}; }
  absl::Status Bound(const Forward& forward) { return set_->Apply({forward})[0].bound; }
  std::string Greeting() {
    const Fd client = Open(path_, false);
    return client.ok() ? ReadLine(client.get()) : "refused";
  }
  bool IsThere() { return fs::symlink_status(path_).type() == fs::file_type::socket; }

  EchoGuest guest_;
  ListenerSetOptions options_;
  std::string folder_;
  std::string path_;
  std::unique_ptr<ListenerSet> set_;
};

TEST_F(UnixSocketTest, CarriesConnectionsAndGoesWithItsForward) {
  EXPECT_TRUE(Bound(At(path_)).ok());
  struct stat file {};
  ASSERT_EQ(lstat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode, static_cast<mode_t>(S_IFSOCK | 0600));
  const Fd client = Open(path_, false);
  EXPECT_EQ(ReadLine(client.get()), "80");
  EXPECT_EQ(Echo(client.get(), "hello"), "hello");
  EXPECT_TRUE(Bound(At(path_, 81)).ok());
  EXPECT_EQ(Echo(client.get(), "still"), "still") << "another guest port is in place";
  EXPECT_EQ(Greeting(), "81");
  EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].open_connections == 1; }));
  set_->Apply({});
  EXPECT_FALSE(IsThere());
  EXPECT_EQ(Echo(client.get(), "drains"), "drains");
  EXPECT_TRUE(fs::is_empty(folder_ + "/state/sockets"));
}

TEST_F(UnixSocketTest, GoesWithTheSetToo) {
  EXPECT_TRUE(Bound(At(path_)).ok());
  set_.reset();
  EXPECT_FALSE(IsThere());
}

// What a controller leaves that was killed.
TEST_F(UnixSocketTest, OneOfOursThatNobodyListensAtIsReplaced) {
  {
    Fd left;
    ASSERT_EQ(ListenAtPath(path_, &left), 0);
  }
  ASSERT_TRUE(IsThere());
  EXPECT_EQ(Greeting(), "refused");
  EXPECT_TRUE(Bound(At(path_)).ok());
  EXPECT_EQ(Greeting(), "80");
}

TEST_F(UnixSocketTest, WhatRumDidNotMakeStaysAndIsSaidAndItsPathIsTakenWhenItGoes) {
  const auto make = [this](const std::string& what) {
    if (what == "file") std::ofstream(path_) << "precious";
    if (what == "link") fs::create_symlink("elsewhere", path_);
    if (what == "folder") fs::create_directory(path_);
    if (what == "stale socket") (void)Open(path_, true);
    if (what == "pipe") ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  };
  for (const char* what : {"file", "link", "folder", "stale socket", "pipe"}) {
    SCOPED_TRACE(what);
    make(what);
    const absl::Status said = Bound(At(path_));
    EXPECT_EQ(said.message(), absl::StrCat("port unix:", path_,
                                           ": a file that rum did not make has this path, and "
                                           "stays: move it away, or name another path"));
    set_->Apply({});
    EXPECT_NE(fs::symlink_status(path_).type(), fs::file_type::not_found);
    EXPECT_FALSE(Bound(At(path_)).ok());
    fs::remove(path_);
    EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].bound.ok(); }));
    EXPECT_EQ(Greeting(), "80");
    set_->Apply({});
  }
}

// Also where it has the path of one of ours.
TEST_F(UnixSocketTest, AFileInThePlaceOfOursIsNotOurs) {
  {
    Fd left;
    ASSERT_EQ(ListenAtPath(path_, &left), 0);
  }
  fs::remove(path_);
  (void)Open(path_, true);
  EXPECT_FALSE(Bound(At(path_)).ok());
  EXPECT_TRUE(IsThere());
}

TEST_F(UnixSocketTest, AProgramThatListensThereIsNotDisturbed) {
  const Fd theirs = Open(path_, true);
  const absl::Status said = Bound(At(path_));
  EXPECT_THAT(std::string(said.message()), HasSubstr("in use by another program"));
  EXPECT_TRUE(Open(path_, false).ok());
}

TEST_F(UnixSocketTest, TwoMachinesWithOnePathAreTold) {
  EXPECT_TRUE(Bound(At(path_)).ok());
  GuestRoute route;
  route.dial = guest_.dialer();
  route.machine = "machine b";
  const auto other = MakeListenerSet(std::move(route), options_);
  const absl::Status said = other->Apply({At(path_, 81)})[0].bound;
  EXPECT_THAT(std::string(said.message()), HasSubstr("in use by"));
  EXPECT_EQ(Greeting(), "80");
}

TEST_F(UnixSocketTest, OneThatSomebodyRemovedIsSeenAndMadeAgainWithItsConnections) {
  EXPECT_TRUE(Bound(At(path_)).ok());
  const Fd client = Open(path_, false);
  EXPECT_EQ(ReadLine(client.get()), "80");
  fs::remove(path_);
  EXPECT_THAT(std::string(set_->Observe()[0].bound.message()), HasSubstr("its file is gone"));
  EXPECT_TRUE(Bound(At(path_)).ok());
  EXPECT_EQ(Greeting(), "80");
  EXPECT_EQ(Echo(client.get(), "still"), "still");
  fs::remove(path_);
  std::ofstream(path_) << "precious";
  EXPECT_FALSE(Bound(At(path_)).ok());
  EXPECT_EQ(fs::file_size(path_), 8u);
}

TEST_F(UnixSocketTest, AFolderThatIsNotThereYetIsWaitedFor) {
  path_ = folder_ + "/later/app.sock";
  EXPECT_THAT(std::string(Bound(At(path_)).message()), HasSubstr("No such file or directory"));
  fs::create_directory(folder_ + "/later");
  EXPECT_TRUE(Eventually([&] { return set_->Observe()[0].bound.ok(); }));
}

TEST_F(UnixSocketTest, IsHandedOnToTheNextController) {
  EXPECT_TRUE(Bound(At(path_)).ok());
  const Fd before = Open(path_, false);
  EXPECT_EQ(ReadLine(before.get()), "80");
  std::vector<Fd> given = GiveUpListening();
  ASSERT_EQ(given.size(), 1u);
  set_.reset();
  EXPECT_TRUE(IsThere()) << "who connects now waits in its queue";
  const Fd waiting = Open(path_, false);
  ASSERT_TRUE(waiting.ok());
  Inherit(std::move(given));
  set_ = NewSet();
  EXPECT_TRUE(Bound(At(path_)).ok());
  EXPECT_EQ(ReadLine(waiting.get()), "80");
  set_->Apply({});
  EXPECT_FALSE(IsThere());
}

TEST_F(UnixSocketTest, WhatNoMachineTookOverIsRemovedButNobodyElsesSocket) {
  Fd ours;
  ASSERT_EQ(ListenAtPath(path_, &ours), 0);
  const std::string their_path = folder_ + "/theirs.sock";
  Fd theirs = Open(their_path, true);
  std::vector<Fd> left;
  left.push_back(std::move(ours));
  left.push_back(std::move(theirs));
  RemoveFilesOf(left);
  EXPECT_FALSE(IsThere());
  EXPECT_TRUE(fs::exists(their_path));
}

TEST_F(UnixSocketTest, AnInheritedOneWhoseFileWasExchangedIsNotTaken) {
  EXPECT_TRUE(Bound(At(path_)).ok());
  std::vector<Fd> given = GiveUpListening();
  set_.reset();
  fs::remove(path_);
  std::ofstream(path_) << "precious";
  Inherit(std::move(given));
  set_ = NewSet();
  EXPECT_FALSE(Bound(At(path_)).ok());
  EXPECT_EQ(fs::file_size(path_), 8u);
}

}  // namespace
}  // namespace rum
