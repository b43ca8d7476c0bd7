#include "state/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "state/toml_reader.h"

namespace rum {
namespace {

class RegularFile : public testing::Test {
 protected:
  RegularFile() {
    std::string folder = testing::TempDir() + "/file.XXXXXX";
    folder_ = mkdtemp(folder.data());
    path_ = folder_ + "/rum.toml";
  }
  ~RegularFile() override { std::filesystem::remove_all(folder_); }
  std::string Why(size_t most = 100) {
    return std::string(ReadRegularFile(path_, most).status().message());
  }

  std::string folder_;
  std::string path_;
};

TEST_F(RegularFile, IsReadToItsEndAndThroughLinks) {
  std::ofstream(folder_ + "/real") << "text";
  std::filesystem::create_symlink("real", path_);
  EXPECT_EQ(*ReadRegularFile(path_, 4), "text");
  EXPECT_EQ(Why(3), "larger than 3 bytes");
}

// Each of these would hang, or end in the memory's end, where it is read as a file is.
TEST_F(RegularFile, NothingElseIsWaitedFor) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(Why(), "not a regular file (a FIFO)");
  for (const char* device : {"/dev/zero", "/dev/null", "/dev/tty", "/dev/random"}) {
    std::filesystem::remove(path_);
    std::filesystem::create_symlink(device, path_);
    EXPECT_EQ(Why(), "not a regular file (a device)") << device;
  }
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_EQ(Why(), "Is a directory");
  std::filesystem::remove(path_);
  EXPECT_TRUE(absl::IsNotFound(ReadRegularFile(path_, 1).status()));
  std::filesystem::create_symlink("rum.toml", path_);
  EXPECT_EQ(Why(), "Too many levels of symbolic links");
}

TEST_F(RegularFile, ASocketIsNamed) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_EQ(chdir(folder_.c_str()), 0);  // the path may be longer than a socket's may
  std::strcpy(address.sun_path, "rum.toml");
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(Why(), "not a regular file (a socket)");
  close(listener);
}

TEST_F(RegularFile, ARumTomlHasAMebibyteAtMost) {
  std::ofstream(path_) << "# " << std::string((size_t{1} << 20) - 3, 'x') << "\n";
  for (const Problem& problem : ReadTomlFile(path_).problems) {
    EXPECT_THAT(problem.message, testing::HasSubstr("is missing")) << "it was read";
  }
  std::ofstream(path_, std::ios::app) << "\n";
  ASSERT_EQ(ReadTomlFile(path_).problems.size(), 1u);
  EXPECT_EQ(ReadTomlFile(path_).problems[0].message, "cannot be read: larger than 1 MiB");
  std::filesystem::resize_file(path_, uintmax_t{3} << 30);  // sparse, and not read to its end
  EXPECT_EQ(ReadTomlFile(path_).problems[0].message, "cannot be read: larger than 1 MiB");
}

}  // namespace
}  // namespace rum
