#include "state/image_head.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace rum {
namespace {

namespace fs = std::filesystem;

class ImageHead : public testing::Test {
 protected:
  ImageHead() {
    std::string pattern = testing::TempDir() + "/imageXXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~ImageHead() override { fs::remove_all(folder_); }

  std::optional<Qcow2Head> Made(const std::string& arguments) {
    const std::string path = folder_ + "/made.qcow2";
    const std::string command = "cd " + folder_ + " && qemu-img create -q -f qcow2 " + arguments;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    std::ostringstream bytes;
    bytes << std::ifstream(path, std::ios::binary).rdbuf();
    return ReadQcow2Head(bytes.str().substr(0, kQcow2HeadBytes));
  }

  std::string folder_;
};

TEST_F(ImageHead, SaysWhatQemuImgMade) {
  const auto whole = Made("made.qcow2 3M");
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->version, 3u);
  EXPECT_EQ(whole->virtual_size, 3u << 20);
  EXPECT_EQ(whole->below_at, 0u);
  EXPECT_FALSE(whole->data_apart);
  EXPECT_EQ(Made("-o compat=0.10 made.qcow2 3M")->version, 2u);
  EXPECT_TRUE(Made("-o data_file=data made.qcow2 3M")->data_apart);
}

TEST_F(ImageHead, OfALayerSaysWhereTheNameOfTheFileBelowStands) {
  std::ofstream(folder_ + "/below.raw") << std::string(1 << 20, 'x');
  const auto layer = Made("-F raw -b below.raw made.qcow2");
  ASSERT_TRUE(layer.has_value());
  EXPECT_NE(layer->below_at, 0u);
  EXPECT_EQ(layer->below_bytes, std::string("below.raw").size());
}

TEST_F(ImageHead, OfOtherBytesIsNone) {
  EXPECT_FALSE(ReadQcow2Head("").has_value());
  EXPECT_FALSE(ReadQcow2Head("QFI").has_value());
  EXPECT_FALSE(ReadQcow2Head(std::string(512, 'x')).has_value());
  EXPECT_EQ(ReadQcow2Head("QFI\xfb")->version, 0u) << "cut short";
}

TEST_F(ImageHead, EverybodyReadsWhatEachFolderLetsThrough) {
  const std::string deep = folder_ + "/a";
  fs::create_directory(deep);
  std::ofstream(deep + "/image") << "x";
  chmod(folder_.c_str(), 0711);
  chmod((deep + "/image").c_str(), 0644);
  const bool above = EverybodyReads(deep + "/image");  // the folder for tests may be private
  chmod(deep.c_str(), 0700);
  EXPECT_FALSE(EverybodyReads(deep + "/image"));
  chmod(deep.c_str(), 0711);
  EXPECT_EQ(EverybodyReads(deep + "/image"), above);
  chmod((deep + "/image").c_str(), 0640);
  EXPECT_FALSE(EverybodyReads(deep + "/image"));
}

}  // namespace
}  // namespace rum
