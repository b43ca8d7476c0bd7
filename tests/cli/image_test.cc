// rum image, with a cache of its own and libvirt's test driver.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/cli/sandbox.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ImageTest : public testing::Test {
 protected:
  ImageTest() {
    rum_.env["RUM_CACHE_DIR"] = rum_.project() + "/cache";
    rum_.env["LIBVIRT_DEFAULT_URI"] = "test:///default";
    // A disk with a boot sector, packed: it has to be unpacked into the cache.
    std::string disk(1 << 20, '\0');
    disk[510] = '\x55';
    disk[511] = '\xaa';
    const std::string path = rum_.Write("disk.img", disk);
    EXPECT_EQ(std::system(("gzip '" + path + "'").c_str()), 0);
  }
  std::string OnlyName() {
    const std::string list = rum_.Rum({"image", "list"}).out;
    const size_t row = list.find('\n') + 1;
    return list.substr(row, list.find(' ', row) - row);
  }

  Sandbox rum_;
};

TEST_F(ImageTest, IsPulledListedAndDeleted) {
  const Result pull = rum_.Rum({"image", "pull", "disk.img.gz"});
  ASSERT_EQ(pull.exit_status, 0) << pull.err;
  EXPECT_THAT(pull.out, StartsWith(rum_.project() + "/cache/base/"));
  const Result list = rum_.Rum({"image", "list"});
  EXPECT_THAT(list.out, StartsWith("NAME"));
  EXPECT_THAT(list.out, HasSubstr("disk.img.gz"));
  const Result removed = rum_.Rum({"image", "delete", OnlyName()});
  EXPECT_EQ(removed.exit_status, 0) << removed.err;
  EXPECT_THAT(rum_.Rum({"image", "list", "-o", "json"}).out, HasSubstr("\"images\": []"));
  EXPECT_EQ(rum_.Rum({"image", "prune"}).out, "nothing to delete\n");
}

TEST_F(ImageTest, NoNameEscapesTheCache) {
  rum_.Write("precious", "data");
  for (const char* name : {"../precious", "../../precious", "", ".", "/etc/passwd", "nobody"}) {
    const Result removed = rum_.Rum({"image", "delete", name});
    EXPECT_EQ(removed.exit_status, 1) << name;
  }
  EXPECT_TRUE(std::filesystem::exists(rum_.project() + "/precious"));
}

TEST_F(ImageTest, NothingIsDeletedWhileALibvirtCannotBeAsked) {
  ASSERT_EQ(rum_.Rum({"image", "pull", "disk.img.gz"}).exit_status, 0);
  const std::string name = OnlyName();
  ASSERT_EQ(rum_.Rum({"controller", "stop"}).exit_status, 0);
  rum_.env["LIBVIRT_DEFAULT_URI"] = "qemu+unix:///system?socket=/nowhere/libvirt-sock";
  for (const auto& words :
       {std::vector<std::string>{"image", "prune"}, {"image", "delete", name}}) {
    const Result result = rum_.Rum(words);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_THAT(result.err, HasSubstr("which images are in use is not known"));
  }
  ASSERT_EQ(rum_.Rum({"controller", "stop"}).exit_status, 0);
  rum_.env["LIBVIRT_DEFAULT_URI"] = "test:///default";
  EXPECT_EQ(OnlyName(), name);
}

TEST_F(ImageTest, AWordThatNamesNoImageIsAnErrorWithTheNearestOne) {
  const Result pull = rum_.Rum({"image", "pull", "debain-12"});
  EXPECT_EQ(pull.exit_status, 1);
  EXPECT_THAT(pull.err, HasSubstr("did you mean `debian-12`?"));
  EXPECT_THAT(rum_.Rum({"image", "pull", "./nowhere.qcow2"}).err, HasSubstr("nowhere.qcow2"));
}

TEST_F(ImageTest, ThatIsNoDiskIsRefused) {
  rum_.Write("page.html", "<html>moved</html>");
  const Result pull = rum_.Rum({"image", "pull", "page.html"});
  EXPECT_EQ(pull.exit_status, 1);
  EXPECT_THAT(pull.err, HasSubstr("not a disk image"));
}

}  // namespace
}  // namespace rum
