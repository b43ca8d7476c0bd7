// The cache on a disk that loses power or fails, at any of its calls.
#include <gmock/gmock.h>

#include <cerrno>
#include <filesystem>

#include "state/file.h"
#include "tests/controller/images/world.h"
#include "tests/fakes/disk/fragile_disk.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Served Image(const std::string& body) {
  Served served;
  served.body = body;
  served.etag = "\"1\"";
  return served;
}

class CacheOnAFragileDisk : public CacheWorld {
 protected:
  CacheOnAFragileDisk() { fs::create_directories(disk_folder_); }

  // What comes of a fetch after the host came up again.
  absl::StatusOr<FetchedImage> FetchAfterCut(const std::string& url) {
    for (const auto& entry : fs::recursive_directory_iterator(left_)) {
      const std::string path = entry.path();
      if (path.size() < 10 || path.substr(path.size() - 10) != ".part.json") continue;
      std::string text = Bytes(path);
      const std::string boot = ReadFile("/proc/sys/kernel/random/boot_id")->substr(0, 36);
      if (const size_t found = text.find(boot); found != std::string::npos) {
        Write(path, text.replace(found, boot.size(), "another"));
      }
    }
    return FetchImage(left_ / "images", {url, "", ""}, Onlooker(), limits_);
  }
  absl::StatusOr<FetchedImage> FetchHere(const std::string& url) {
    return FetchImage(disk_folder_ / "images", {url, "", ""}, Onlooker(), limits_);
  }

  const fs::path disk_folder_ = fs::path(folder_) / "disk";
  const fs::path left_ = fs::path(folder_) / "left";
  const std::string image_ = Qcow2(5000);
};

TEST_F(CacheOnAFragileDisk, AnImageComesWholeAfterAPowerCutAtAnyCallOfItsDownload) {
  HttpServer server([&](const Asked&, int) { return Image(image_); });
  const std::string url = server.Url("/a.qcow2");
  FragileDisk disk(disk_folder_);
  disk.AfterEach([&] {
    disk.ForEachCut(left_, [&](const std::string& cut) {
      const absl::StatusOr<FetchedImage> fetched = FetchAfterCut(url);
      ASSERT_TRUE(fetched.ok()) << cut << ": " << fetched.status();
      EXPECT_TRUE(Bytes(fetched->path) == image_) << cut;
    });
  });
  ASSERT_TRUE(FetchHere(url).ok());
}

TEST_F(CacheOnAFragileDisk, AnImageThatWasFetchedStaysThoughNobodyServesItAnyMore) {
  FragileDisk disk(disk_folder_);
  std::string url;
  {
    HttpServer server([&](const Asked&, int) { return Image(image_); });
    url = server.Url("/a.qcow2");
    ASSERT_TRUE(FetchHere(url).ok());
  }
  disk.ForEachCut(left_, [&](const std::string& cut) {
    const absl::StatusOr<FetchedImage> fetched = FetchAfterCut(url);
    ASSERT_TRUE(fetched.ok()) << cut << ": " << fetched.status();
    EXPECT_TRUE(Bytes(fetched->path) == image_) << cut;
  });
}

// The cache of a build that lost the lock's name in a power cut.
TEST_F(CacheOnAFragileDisk, AnImageWhoseLockIsGoneIsOfUse) {
  HttpServer server([&](const Asked&, int) { return Image(image_); });
  const std::string path = FetchHere(server.Url("/a.qcow2"))->path;
  fs::remove(fs::path(path).parent_path() / "lock");
  const absl::StatusOr<FetchedImage> again = FetchHere(server.Url("/a.qcow2"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->path, path);
  EXPECT_EQ(server.sent(), image_.size()) << "not sent again";
}

TEST_F(CacheOnAFragileDisk, OfABeginningOnlyWhatWasSyncedIsGoneOnWithAfterAPowerCut) {
  const std::string image = Qcow2(5 << 16);
  for (const int64_t begun : {3000, 1 << 18}) {
    Served cut = Image(image);
    cut.cut_after = begun;
    HttpServer server([&](const Asked&, int number) { return number == 0 ? cut : Image(image); });
    const std::string url = server.Url("/a.qcow2");
    FragileDisk disk(disk_folder_);
    ASSERT_FALSE(FetchHere(url).ok());
    disk.ForEachCut(left_, [&](const std::string& how) {
      const uint64_t before = server.sent();
      const absl::StatusOr<FetchedImage> fetched = FetchAfterCut(url);
      ASSERT_TRUE(fetched.ok()) << how << ": " << fetched.status();
      EXPECT_TRUE(Bytes(fetched->path) == image) << how;
      EXPECT_EQ(server.sent() - before, begun > 3000 ? image.size() - begun : image.size()) << how;
    });
    const uint64_t before = server.sent();
    ASSERT_TRUE(FetchHere(url).ok());
    EXPECT_EQ(server.sent() - before, image.size() - begun) << "without a cut nothing comes twice";
  }
}

TEST_F(CacheOnAFragileDisk, AFailureOfAnyCallSaysWhereAndTheNextFetchGivesTheImage) {
  HttpServer server([&](const Asked&, int) { return Image(image_); });
  for (int nth = 0;; ++nth) {
    FragileDisk disk(disk_folder_);
    disk.Fail(nth, nth % 2 == 0 ? EIO : ENOSPC);
    const absl::StatusOr<FetchedImage> first = FetchHere(server.Url("/a.qcow2"));
    if (disk.failed().empty()) break;
    const std::string failed = disk.failed();
    disk.Fail(-1, 0);
    if (!first.ok()) {
      EXPECT_THAT(std::string(first.status().message()), HasSubstr(disk_folder_.string()))
          << nth << " " << failed;
    }
    const absl::StatusOr<FetchedImage> second = FetchHere(server.Url("/a.qcow2"));
    ASSERT_TRUE(second.ok()) << nth << " " << failed << ": " << second.status();
    EXPECT_TRUE(Bytes(second->path) == image_) << nth;
    fs::remove_all(disk_folder_ / "images");
  }
}

}  // namespace
}  // namespace rum
