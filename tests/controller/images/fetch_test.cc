// A plain download, and what the cache makes of it the next time.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/controller/images/world.h"

namespace rum {
namespace {

class Fetched : public CacheWorld {};

TEST_F(Fetched, AnImageHasTheBytesThatTheServerHas) {
  const std::string image = Qcow2(300000);
  HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
  const auto fetched = Fetch(server.Url("/debian.qcow2"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image);
  EXPECT_TRUE(fetched->hold);
  EXPECT_TRUE(std::filesystem::path(fetched->path).is_absolute());
  EXPECT_EQ(PartPath(), "");
}

TEST_F(Fetched, AnImageThatHasNotChangedIsNotSentAgain) {
  const std::string image = Qcow2(300000);
  for (const bool etag : {true, false}) {
    HttpServer server([&](const Asked&, int) {
      Served served{.body = image};
      (etag ? served.etag : served.last_modified) =
          etag ? "\"1\"" : "Mon, 23 Nov 2026 10:00:00 GMT";
      return served;
    });
    const auto first = Fetch(server.Url("/debian.qcow2"));
    const auto second = Fetch(server.Url("/debian.qcow2"));
    ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
    EXPECT_EQ(first->path, second->path);
    ASSERT_EQ(server.log().size(), 2u);
    EXPECT_EQ(server.log()[1].status, 304);
    EXPECT_EQ(server.sent(), image.size());
  }
}

TEST_F(Fetched, AChangedImageIsAnEntryOfItsOwnAndTheOldOneStaysAsItWas) {
  const std::string one = Qcow2(200000, 1), two = Qcow2(200000, 2);
  HttpServer server([&](const Asked&, int number) {
    return number == 0 ? Served{.body = one, .etag = "\"1\""}
                       : Served{.body = two, .etag = "\"2\""};
  });
  const auto first = Fetch(server.Url("/debian.qcow2"));
  const auto second = Fetch(server.Url("/debian.qcow2"));
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  EXPECT_NE(first->path, second->path);
  EXPECT_EQ(Bytes(first->path), one);
  EXPECT_EQ(Bytes(second->path), two);
  EXPECT_EQ(List().size(), 2u);
}

TEST_F(Fetched, TheSameBytesUnderANewValidatorAreTheSameEntry) {
  const std::string image = Qcow2(200000);
  HttpServer server([&](const Asked&, int number) {
    return Served{.body = image, .etag = "\"" + std::to_string(number / 2) + "\""};
  });
  const auto first = Fetch(server.Url("/a"));
  const auto inode = std::filesystem::last_write_time(first->path);
  const auto second = Fetch(server.Url("/a"));  // 304
  const auto third = Fetch(server.Url("/a"));   // sent again
  const auto fourth = Fetch(server.Url("/a"));  // 304 by the new validator
  ASSERT_TRUE(fourth.ok()) << fourth.status();
  EXPECT_EQ(first->path, third->path);
  EXPECT_EQ(std::filesystem::last_write_time(first->path), inode);
  EXPECT_EQ(server.log()[2].status, 200);
  EXPECT_EQ(server.log()[3].status, 304);
  EXPECT_EQ(List().size(), 1u);
}

TEST_F(Fetched, TwoUrlsWithEquallyNamedFilesAreTwoEntries) {
  HttpServer server([&](const Asked& asked, int) {
    return Served{.body = Qcow2(1000, asked.target == "/a/disk.img" ? 1 : 2), .etag = "\"1\""};
  });
  const auto a = Fetch(server.Url("/a/disk.img")), b = Fetch(server.Url("/b/disk.img"));
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(Bytes(a->path), Qcow2(1000, 1));
  EXPECT_EQ(Bytes(b->path), Qcow2(1000, 2));
}

TEST_F(Fetched, AServerThatIsGoneLeavesTheCachedCopyAndThatIsSaid) {
  std::string url;
  {
    HttpServer server(
        [](const Asked&, int) { return Served{.body = Qcow2(1000), .etag = "\"1\""}; });
    url = server.Url("/debian.qcow2");
    ASSERT_TRUE(Fetch(url).ok());
  }
  const auto fetched = Fetch(url);
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), Qcow2(1000));
  EXPECT_TRUE(Said("using the cached copy of debian.qcow2: ")) << SaidText();
}

TEST_F(Fetched, AnImageThatIsGoneUpstreamLeavesTheCachedCopyAndThatIsSaid) {
  for (const int status : {404, 410, 403, 500, 503}) {
    HttpServer server([&](const Asked&, int number) {
      return number == 0 ? Served{.body = Qcow2(1000), .etag = "\"1\""}
                         : Served{.status = status, .body = "<html>gone</html>"};
    });
    ASSERT_TRUE(Fetch(server.Url("/debian.qcow2")).ok());
    said_.clear();
    const auto fetched = Fetch(server.Url("/debian.qcow2"));
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    EXPECT_TRUE(Said("using the cached copy")) << SaidText();
    EXPECT_TRUE(Said(std::to_string(status))) << SaidText();
  }
}

TEST_F(Fetched, WhatIsNowhereIsAnErrorAndLeavesNothing) {
  HttpServer server([](const Asked& asked, int) {
    return Served{.status = asked.target == "/503" ? 503 : 404, .body = "<html>no</html>"};
  });
  EXPECT_TRUE(absl::IsNotFound(Fetch(server.Url("/debian.qcow2")).status()));
  EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/503")).status()));
  EXPECT_TRUE(absl::IsNotFound(Fetch("/nowhere/debian.qcow2").status()));
  EXPECT_TRUE(absl::IsNotFound(Fetch("file:///nowhere/debian.qcow2").status()));
  EXPECT_TRUE(absl::IsUnavailable(Fetch("http://127.0.0.1:1/debian.qcow2").status()));
  EXPECT_TRUE(List().empty());
}

// Reached as through a proxy, so that the host may have any name.
class FetchedFromAfar : public Fetched {
 protected:
  FetchedFromAfar() { setenv("http_proxy", server_.Url("").c_str(), 1); }
  ~FetchedFromAfar() override { unsetenv("http_proxy"); }

  const std::string url_ = "http://images.example/debian.qcow2";
  const std::string image_ = Qcow2(1000);
  std::string etag_ = "\"1\"";
  HttpServer server_{[this](const Asked& asked, int) {
    Served served{.body = image_, .etag = etag_};
    if (asked.target == "/away") served = {.status = 302, .location = url_};
    return served;
  }};
};

TEST_F(FetchedFromAfar, AnImageOverHttpNeedsAChecksum) {
  const absl::Status refused = Fetch(url_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(std::string(refused.message()), "image.sha256 is missing"));
  EXPECT_TRUE(server_.log().empty()) << "nobody is asked";
  EXPECT_FALSE(Fetch("http:/images.example/debian.qcow2://").ok());
  EXPECT_TRUE(server_.log().empty());
  EXPECT_FALSE(Fetch({url_, Sha256("other"), ""}).ok());
  const auto fetched = Fetch({url_, Sha256(image_), ""});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
}

TEST_F(FetchedFromAfar, WhatIsInTheCacheAlreadyIsTakenAsItIs) {
  const auto first = Fetch({url_, Sha256(image_), ""});
  ASSERT_TRUE(first.ok()) << first.status();
  etag_ = "\"2\"";
  const size_t asked = server_.log().size();
  const auto again = Fetch(url_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->path, first->path);
  EXPECT_EQ(server_.log().size(), asked);
  EXPECT_TRUE(Said("using the cached copy of debian.qcow2: image.sha256 is missing")) << SaidText();
}

TEST_F(FetchedFromAfar, NoServerOfThisHostLeadsElsewhereWithoutAChecksum) {
  const absl::Status refused = Fetch(server_.Url("/away")).status();
  EXPECT_TRUE(absl::StrContains(std::string(refused.message()), "would leave this host"))
      << refused;
  EXPECT_TRUE(server_.log(url_).empty());
  const auto fetched = Fetch({server_.Url("/away"), Sha256(image_), ""});
  EXPECT_TRUE(fetched.ok()) << fetched.status();
}

// Neither in a name of a file nor in its bytes.
TEST_F(Fetched, NothingThatOpensAUrlIsWrittenToTheCacheOrSaid) {
  HttpServer server([&](const Asked& asked, int number) {
    Served served{.body = Qcow2(100000), .etag = "\"1\""};
    if (asked.target.find("broken") != std::string::npos) served.cut_after = 40000;
    if (asked.target.find("none") != std::string::npos) served.status = 404;
    if (number % 2 == 1) served.status = 503;
    return served;
  });
  const std::string url = server.Url("");
  const auto secret = [&](const std::string& target) {
    return absl::StrCat("http://ada:s3cret@", url.substr(7), target, "?token=s3cret&version=1");
  };
  for (const char* target : {"/a.qcow2", "/a.qcow2", "/broken", "/broken", "/none"}) {
    const auto fetched = Fetch(secret(target));
    said_.push_back(std::string(fetched.status().message()));
  }
  EXPECT_EQ(SaidText().find("s3cret"), std::string::npos) << SaidText();
  for (const std::string& file : Files()) {
    EXPECT_EQ(file.find("s3cret"), std::string::npos);
    EXPECT_EQ(Bytes(file).find("s3cret"), std::string::npos) << file;
  }
  const std::vector<CachedImage> images = List();
  const auto listed = [&](const std::string& target) {
    return std::find_if(images.begin(), images.end(), [&](const CachedImage& image) {
      return image.url == absl::StrCat(url, target, "?token=***&version=1");
    });
  };
  ASSERT_NE(listed("/a.qcow2"), images.end());
  EXPECT_NE(listed("/broken"), images.end());
  EXPECT_TRUE(listed("/a.qcow2")->IsOf(secret("/a.qcow2")));
  EXPECT_FALSE(listed("/a.qcow2")->IsOf(listed("/a.qcow2")->url));
  EXPECT_EQ(server.log()[0].header("authorization"), "Basic YWRhOnMzY3JldA==");
}

// As the build before wrote it: whole.
TEST_F(Fetched, AnEntryOfABuildThatWroteTheWholeUrlIsFoundAndLosesItsSecret) {
  const std::string image = Qcow2(100000);
  HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
  const std::string url = server.Url("/a.qcow2?token=s3cret");
  const auto first = Fetch(url);
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string about =
      (std::filesystem::path(first->path).parent_path() / "entry.json").string();
  std::string text = Bytes(about);
  const size_t shown = text.find("token=***");
  ASSERT_NE(shown, std::string::npos) << text;
  text.replace(shown, 9, "token=s3cret");
  const size_t hash = text.find("\"url_hash\"");
  ASSERT_NE(hash, std::string::npos) << text;
  const size_t before = text.rfind(',', hash);  // it is the last one
  text.replace(before, text.find('}', hash) - before, "");
  Write(about, text);
  EXPECT_EQ(List()[0].url, server.Url("/a.qcow2?token=***"));
  const auto again = Fetch(url);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->path, first->path);
  EXPECT_EQ(server.log()[1].status, 304);
  EXPECT_EQ(Bytes(about).find("s3cret"), std::string::npos);
}

TEST_F(Fetched, WhatIsNotAUrlOrAnAbsolutePathIsRefused) {
  for (const char* url :
       {"", "debian.qcow2", "ftp://127.0.0.1/a", "http://", "file://otherhost/a", "../a",
        "javascript:alert(1)", "gopher://127.0.0.1/", "scp://127.0.0.1/a", "file:///a%00b"}) {
    const auto fetched = Fetch(url);
    EXPECT_TRUE(absl::IsInvalidArgument(fetched.status())) << url << ": " << fetched.status();
  }
}

TEST_F(Fetched, ProgressNamesTheFileItsSizeAndTheSpeed) {
  const std::string image = Qcow2(2000000);
  HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
  ASSERT_TRUE(Fetch(server.Url("/debian-12.qcow2")).ok());
  ASSERT_FALSE(said_.empty());
  EXPECT_TRUE(Said("downloading debian-12.qcow2: ")) << SaidText();
  EXPECT_TRUE(Said(" % of 1.9 MiB, ")) << SaidText();
}

TEST_F(Fetched, ProgressIsSaidTenTimesASecondAtMost) {
  const std::string image = Qcow2(60000000);
  HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
  std::vector<absl::Time> times;
  const auto note = [&](const std::string&) { times.push_back(absl::Now()); };
  ASSERT_TRUE(cache_.Fetch({server.Url("/a"), "", ""}, note).ok());
  ASSERT_FALSE(times.empty());
  for (size_t i = 1; i < times.size(); ++i) {
    EXPECT_GE(times[i] - times[i - 1], absl::Milliseconds(100));
  }
}

TEST_F(Fetched, NobodyNeedsToListen) {
  HttpServer server([](const Asked&, int) { return Served{.body = Qcow2(1000), .etag = "\"1\""}; });
  ASSERT_TRUE(cache_.Fetch({server.Url("/a"), "", ""}, nullptr).ok());
  ASSERT_TRUE(cache_.Fetch({server.Url("/a"), "", ""}, nullptr).ok());
}

TEST_F(Fetched, NamesOfEntriesAreSafeWhateverTheUrlSays) {
  HttpServer server([](const Asked&, int) { return Served{.body = Qcow2(1000), .etag = "\"1\""}; });
  for (const std::string& target :
       {std::string("/"), std::string("/a/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), std::string("/..%2f.."),
        std::string("/-rf"), std::string("/%20%3b'\""), "/" + std::string(3000, 'x'),
        std::string("/%ff%fe"), std::string("/.hidden")}) {
    const auto fetched = Fetch(server.Url(target));
    ASSERT_TRUE(fetched.ok()) << target << ": " << fetched.status();
    EXPECT_EQ(std::filesystem::path(fetched->path).parent_path().parent_path(), cache_folder_);
  }
  for (const CachedImage& image : List()) {
    EXPECT_EQ(image.name.find_first_not_of(
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"),
              std::string::npos)
        << image.name;
    EXPECT_TRUE(isalnum(image.name[0]) || image.name[0] == '_') << image.name;
    EXPECT_LT(image.name.size(), 120u);
  }
}

}  // namespace
}  // namespace rum
