// What the cache lists and deletes, and what it never deletes.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/controller/images/world.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

class Entries : public CacheWorld {
 protected:
  Entries()
      : server_([this](const Asked& asked, int) {
          Served served{.body = image_, .etag = "\"1\""};
          if (asked.target == "/broken") served.cut_after = 40000;
          return served;
        }) {}
  std::string Fill(const std::string& target) {
    const auto fetched = Fetch(server_.Url(target));
    return fetched.ok() ? fetched->path : "";
  }
  const std::string image_ = Qcow2(100000);
  HttpServer server_;
};

TEST_F(Entries, AnEmptyCacheHasNone) {
  EXPECT_TRUE(List().empty());
  EXPECT_TRUE(cache_.Prune(NothingInUse())->empty());
}

TEST_F(Entries, AreListedByNameWithWhatIsKnownOfThem) {
  const std::string b = Fill("/b.qcow2"), a = Fill("/a.qcow2");
  Fill("/broken");
  const std::vector<CachedImage> images = List(InUse({a}));
  ASSERT_EQ(images.size(), 3u);
  EXPECT_TRUE(std::is_sorted(images.begin(), images.end(),
                             [](const auto& x, const auto& y) { return x.name < y.name; }));
  EXPECT_EQ(images[0].url, server_.Url("/a.qcow2"));
  EXPECT_EQ(images[0].path, a);
  EXPECT_EQ(images[1].path, b);
  EXPECT_TRUE(images[0].whole && images[0].in_use);
  EXPECT_TRUE(images[1].whole && !images[1].in_use);
  EXPECT_GE(images[0].bytes, image_.size());
  EXPECT_GT(images[0].fetched, absl::FromUnixSeconds(1700000000));
  EXPECT_EQ(images[2].url, server_.Url("/broken"));
  EXPECT_FALSE(images[2].whole || images[2].in_use);
  EXPECT_GE(images[2].bytes, 40000u);
}

fs::perms Writers(const std::string& path) {
  return fs::status(path).permissions() &
         (fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write);
}

TEST_F(Entries, CanBeWrittenByNobodyAndOlderOnesNeitherOnceTheyAreUsed) {
  const ImageSource source{server_.Url("/a.qcow2"), "", ""};
  const auto fetched = cache_.Fetch(source, [](const std::string&) {});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  const std::string image = fetched->path;
  EXPECT_EQ(Writers(image), fs::perms::none);
  fs::permissions(image, fs::perms::owner_write | fs::perms::group_write, fs::perm_options::add);
  EXPECT_EQ(cache_.Fetch(source, [](const std::string&) {})->path, image);
  EXPECT_EQ(Writers(image), fs::perms::none);
  // A file that is used as it is belongs to somebody.
  const fs::path own = fs::path(testing::TempDir()) / "own.qcow2";
  std::ofstream(own, std::ios::binary) << image_;
  fs::permissions(own, fs::perms::owner_write, fs::perm_options::add);
  ASSERT_TRUE(cache_.Fetch(ImageSource{own.string(), "", ""}, [](const std::string&) {}).ok());
  EXPECT_NE(Writers(own.string()), fs::perms::none);
}

TEST_F(Entries, AreDeletedByTheirNameAndNothingElse) {
  const std::string a = Fill("/a"), b = Fill("/b");
  Fill("/broken");
  for (const CachedImage& image : List()) {
    if (image.path == b) continue;
    EXPECT_TRUE(cache_.Delete(image.name, NothingInUse()).ok()) << image.name;
    EXPECT_FALSE(fs::exists(image.path));
  }
  EXPECT_EQ(Bytes(b), image_);
  EXPECT_EQ(List().size(), 1u);
}

TEST_F(Entries, ANameIsNeverAPath) {
  const std::string a = Fill("/a");
  Write(folder_ + "/cache/precious", "x");
  const std::string name = List()[0].name;
  for (const std::string& bad :
       {std::string(""), std::string("."), std::string(".."), std::string("../precious"),
        std::string("../images"), folder_ + "/cache/precious", name + "/image", "./" + name,
        name + "/", name + "/../" + name, std::string("/"), name + std::string(1, '\0'),
        std::string("nothing"), std::string(5000, 'x')}) {
    EXPECT_TRUE(absl::IsNotFound(cache_.Delete(bad, NothingInUse()))) << bad;
  }
  EXPECT_EQ(Bytes(a), image_);
  EXPECT_TRUE(fs::exists(folder_ + "/cache/precious"));
}

TEST_F(Entries, ThatADiskStandsOnStay) {
  const std::string a = Fill("/a"), b = Fill("/b");
  fs::create_symlink(cache_folder_, folder_ + "/other-way");
  // However the disk names it.
  const std::string named = folder_ + "/other-way" + a.substr(cache_folder_.size());
  for (const std::string& path : {a, named}) {
    for (const CachedImage& image : List()) {
      if (image.path != a) continue;
      EXPECT_TRUE(absl::IsFailedPrecondition(cache_.Delete(image.name, InUse({path}))));
    }
  }
  const auto pruned = cache_.Prune(InUse({named}));
  ASSERT_TRUE(pruned.ok()) << pruned.status();
  ASSERT_EQ(pruned->size(), 1u);
  EXPECT_EQ(pruned->front().path, b);
  EXPECT_EQ(Bytes(a), image_);
}

TEST_F(Entries, ThatSomebodyHoldsStay) {
  auto held = Fetch(server_.Url("/a"));
  ASSERT_TRUE(held.ok());
  EXPECT_TRUE(List()[0].in_use);
  EXPECT_TRUE(absl::IsFailedPrecondition(cache_.Delete(List()[0].name, NothingInUse())));
  EXPECT_TRUE(cache_.Prune(NothingInUse())->empty());
  held->hold.reset();
  EXPECT_FALSE(List()[0].in_use);
  EXPECT_EQ(cache_.Prune(NothingInUse())->size(), 1u);
  EXPECT_FALSE(fs::exists(held->path));
}

TEST_F(Entries, AreNotDeletedWhileNobodyKnowsWhatIsInUse) {
  const std::string a = Fill("/a");
  const PathsInUse unknown = [] { return absl::UnavailableError("libvirt is down"); };
  EXPECT_TRUE(absl::IsUnavailable(cache_.Delete(List()[0].name, unknown)));
  EXPECT_TRUE(absl::IsUnavailable(cache_.Prune(unknown).status()));
  EXPECT_FALSE(cache_.Prune(nullptr).ok());
  EXPECT_FALSE(cache_.Delete(List()[0].name, nullptr).ok());
  EXPECT_EQ(Bytes(a), image_);
}

TEST_F(Entries, AndWhatCrashesLeftAreAllPruned) {
  const std::string a = Fill("/a");
  Fill("/broken");
  const std::string entry = fs::path(a).parent_path();
  const std::string key = entry.substr(0, entry.size() - 13);
  fs::create_directory(key + ".new");  // made ready, and not entered
  Write(key + ".new/image", "x");
  fs::copy(entry, entry + ".gone", fs::copy_options::recursive);  // half removed
  fs::create_directory(key + "-0123456789ab");                    // without anything in it
  EXPECT_EQ(List().size(), 3u);
  const auto pruned = cache_.Prune(NothingInUse());
  ASSERT_TRUE(pruned.ok()) << pruned.status();
  EXPECT_EQ(pruned->size(), 3u);
  EXPECT_TRUE(fs::is_empty(cache_folder_));
}

TEST_F(Entries, OfOthersAreLeftAlone) {
  ASSERT_NE(Fill("/a"), "");
  fs::create_directories(cache_folder_ + "/photos/2026");
  fs::create_directories(cache_folder_ + "/project.new");
  Write(cache_folder_ + "/letter.part", "x");
  EXPECT_EQ(List().size(), 1u);
  ASSERT_TRUE(cache_.Prune(NothingInUse()).ok());
  EXPECT_TRUE(fs::exists(cache_folder_ + "/photos/2026"));
  EXPECT_TRUE(fs::exists(cache_folder_ + "/project.new"));
  EXPECT_TRUE(fs::exists(cache_folder_ + "/letter.part"));
}

TEST_F(Entries, ThatAreDamagedAreNotGivenButFetchedAgain) {
  const std::string a = Fill("/a");
  const std::string about = fs::path(a).parent_path().string() + "/entry.json";
  Write(about, "{");
  EXPECT_FALSE(List()[0].whole);
  EXPECT_EQ(Bytes(Fill("/a")), image_);
  fs::resize_file(a, 5000);
  EXPECT_FALSE(List()[0].whole);
  EXPECT_EQ(Bytes(Fill("/a")), image_);
  fs::remove(a);
  EXPECT_EQ(Bytes(Fill("/a")), image_);
  EXPECT_EQ(List().size(), 1u);
}

}  // namespace
}  // namespace rum
