#include "controller/service/own_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "controller/base/fd.h"
#include "tests/controller/service/another_user.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class OwnSocketTest : public testing::Test {
 protected:
  OwnSocketTest() {
    std::string place = "/tmp/rum-own.XXXXXX";  // short: a socket's path
    place_ = mkdtemp(place.data());
    folder_ = place_ + "/rum";
    path_ = folder_ + "/controller.sock";
    fs::create_directory(folder_);
    fs::permissions(folder_, fs::perms(0700));
  }
  ~OwnSocketTest() override { fs::remove_all(place_); }

  Fd Listen() {
    Fd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = AddressOf(path_);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd.get(), 8), 0);
    return fd;
  }
  static void ExpectRefused(const absl::Status& judged, const std::string& why) {
    EXPECT_EQ(judged.code(), absl::StatusCode::kPermissionDenied) << judged;
    EXPECT_THAT(std::string(judged.message()), AllOf(HasSubstr(why), HasSubstr("RUM_RUNTIME_DIR")));
  }
  static void GiveAway(const std::string& path) {
    ASSERT_EQ(getuid(), 0u) << "only root can give away";
    ASSERT_EQ(lchown(path.c_str(), kNobody, kNobody), 0);
  }

  std::string place_;
  std::string folder_;
  std::string path_;
};

TEST_F(OwnSocketTest, OursInAFolderOfOurs) {
  const Fd listening = Listen();
  EXPECT_TRUE(JudgeSocketFolder(folder_).ok());
  EXPECT_TRUE(JudgeSocket(path_).ok()) << JudgeSocket(path_);
}

TEST_F(OwnSocketTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(JudgeSocket(path_).code(), absl::StatusCode::kNotFound);
  std::ofstream(path_) << "left over";
  EXPECT_EQ(JudgeSocket(path_).code(), absl::StatusCode::kNotFound) << "a file is no socket";
  fs::remove_all(folder_);
  EXPECT_EQ(JudgeSocket(path_).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(JudgeSocketFolder(folder_).code(), absl::StatusCode::kNotFound);
  fs::remove_all(place_);
  EXPECT_EQ(JudgeSocketFolder(folder_).code(), absl::StatusCode::kNotFound);
}

TEST_F(OwnSocketTest, AFolderOfAnotherUserIsRefusedAndSoIsWhatStandsInOne) {
  const Fd listening = Listen();
  GiveAway(folder_);
  ExpectRefused(JudgeSocket(path_), folder_ + " belongs to user 65534, and this is root");
  fs::remove_all(folder_);
  GiveAway(place_);
  ExpectRefused(JudgeSocketFolder(folder_), place_ + " belongs to user 65534");
  fs::create_directory(folder_);
  ExpectRefused(JudgeSocket(path_), place_ + " belongs to user 65534");
}

TEST_F(OwnSocketTest, ASocketOfAnotherUserIsRefused) {
  const Fd listening = Listen();
  GiveAway(path_);
  ExpectRefused(JudgeSocket(path_), path_ + " belongs to user 65534");
}

TEST_F(OwnSocketTest, AFolderInWhichOthersWriteIsRefused) {
  const Fd listening = Listen();
  for (const int mode : {0770, 0720, 0702, 01777}) {
    fs::permissions(folder_, fs::perms(mode));
    ExpectRefused(JudgeSocket(path_), folder_ + " is shared with other users");
  }
  fs::permissions(folder_, fs::perms(0755));
  EXPECT_TRUE(JudgeSocket(path_).ok());
}

TEST_F(OwnSocketTest, LinksAreRefused) {
  const Fd listening = Listen();
  fs::create_symlink(folder_, place_ + "/link");
  ExpectRefused(JudgeSocket(place_ + "/link/controller.sock"), "/link is a link");
  fs::create_symlink(path_, folder_ + "/other.sock");
  EXPECT_EQ(JudgeSocket(folder_ + "/other.sock").code(), absl::StatusCode::kNotFound);
  fs::create_symlink(folder_, place_ + "/theirs");
  GiveAway(place_ + "/theirs");
  ExpectRefused(JudgeSocketFolder(place_ + "/theirs"), "belongs to user 65534");
}

TEST_F(OwnSocketTest, RootsTmpIsAPlaceForAFolderOfOurs) {
  ASSERT_EQ(getuid(), 0u);
  fs::permissions(place_, fs::perms(01777));
  GiveAway(folder_);
  EXPECT_EQ(RunAsNobody([&] { return JudgeSocketFolder(folder_).ok() ? 0 : 1; }), 0);
}

// Whoever listens is known, whatever the file's owner says.
TEST_F(OwnSocketTest, AListenerOfAnotherUserIsNoPeer) {
  const Fd ours = Listen();
  Fd client(ConnectTo(path_));
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE(JudgePeer(client.get(), path_).ok());
  fs::remove(path_);
  const NobodyListens nobody(path_);
  ASSERT_TRUE(JudgeSocket(path_).ok()) << "the file looks right: " << JudgeSocket(path_);
  client = Fd(ConnectTo(path_));
  ASSERT_TRUE(client.ok());
  ExpectRefused(JudgePeer(client.get(), path_),
                "at the other end of " + path_ + " is user 65534, and this is root");
}

}  // namespace
}  // namespace rum
