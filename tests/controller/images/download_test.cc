// What breaks off, lies or sends elsewhere: nothing but whole, right images come out of it.
#include <filesystem>

#include "tests/controller/images/certificate.h"
#include "tests/controller/images/world.h"

namespace rum {
namespace {

constexpr char kDay[] = "Mon, 23 Nov 2026 10:00:00 GMT";  // the server's date is a day later

class Downloaded : public CacheWorld {
 protected:
  // What the first request meets, and then what the others do.
  HttpServer::Site FirstAndThen(Served first, Served then) {
    return [first, then](const Asked&, int number) { return number == 0 ? first : then; };
  }
  const std::string image_ = Qcow2(100000);
  const Served right_{.body = image_, .etag = "\"1\""};
};

Served Cut(Served served, int64_t after) {
  served.cut_after = after;
  return served;
}

TEST_F(Downloaded, WhatBrokeOffGoesOnWhereItStopped) {
  HttpServer server(FirstAndThen(Cut(right_, 40000), right_));
  const auto broken = Fetch(server.Url("/a"));
  EXPECT_TRUE(absl::IsUnavailable(broken.status())) << broken.status();
  EXPECT_EQ(std::filesystem::file_size(PartPath()), 40000u);
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
  EXPECT_EQ(server.log()[1].header("range"), "bytes=40000-");
  EXPECT_EQ(server.log()[1].header("if-range"), "\"1\"");
  EXPECT_EQ(server.sent(), image_.size());
}

TEST_F(Downloaded, ALastModifiedThatIsOldEnoughIsAStrongValidatorToo) {
  const Served dated{.body = image_, .last_modified = kDay};
  HttpServer server(FirstAndThen(Cut(dated, 40000), dated));
  EXPECT_FALSE(Fetch(server.Url("/a")).ok());
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
  EXPECT_EQ(server.log()[1].header("if-range"), kDay);
}

TEST_F(Downloaded, WithoutAStrongValidatorItBeginsAnew) {
  for (const Served& weak :
       {Served{.body = image_, .etag = "W/\"1\""}, Served{.body = image_},
        // Of the minute in which it was sent: it may change once more.
        Served{.body = image_, .last_modified = "Tue, 24 Nov 2026 11:59:30 GMT"}}) {
    HttpServer server(FirstAndThen(Cut(weak, 40000), weak));
    EXPECT_FALSE(Fetch(server.Url("/a")).ok());
    const auto fetched = Fetch(server.Url("/a"));
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    EXPECT_EQ(Bytes(fetched->path), image_);
    EXPECT_EQ(server.log()[1].header("range"), "");
  }
}

TEST_F(Downloaded, AnImageThatChangedInBetweenIsNotMixedWithTheOldOne) {
  const Served changed{.body = Qcow2(90000, 2), .etag = "\"2\""};
  HttpServer server(FirstAndThen(Cut(right_, 40000), changed));
  EXPECT_FALSE(Fetch(server.Url("/a")).ok());
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), changed.body);
}

TEST_F(Downloaded, AServerThatKnowsNoRangesSendsItAllAgain) {
  Served whole = right_;
  whole.ignores_ranges = true;
  HttpServer server(FirstAndThen(Cut(right_, 40000), whole));
  EXPECT_FALSE(Fetch(server.Url("/a")).ok());
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
}

TEST_F(Downloaded, APartThatIsNotTheOneAskedForIsNotUsed) {
  for (const char* lie : {"bytes 0-99999/100000", "bytes 50000-99999/100000",
                          "bytes 40000-99999/99", "bytes 40000-109999/110000", "bytes */100000",
                          "nonsense", "bytes 9-3/100000", "bytes -40000-99999/100000"}) {
    Served lying = right_;
    lying.content_range = lie;
    HttpServer server(FirstAndThen(Cut(right_, 40000), lying));
    EXPECT_FALSE(Fetch(server.Url("/a")).ok());
    const auto fetched = Fetch(server.Url("/a"));
    ASSERT_TRUE(fetched.ok()) << lie << ": " << fetched.status();
    EXPECT_EQ(Bytes(fetched->path), image_) << lie;
    EXPECT_EQ(server.log().size(), 3u) << lie;
  }
}

TEST_F(Downloaded, APartOfAnotherVersionIsNotUsedThoughTheServerSaysThatItIsTheSame) {
  HttpServer server([&](const Asked& asked, int number) {
    if (number == 0) return Cut(right_, 40000);
    // Takes the old validator for its own, and says the new one.
    Served other{.body = Qcow2(100000, 2),
                 .etag = asked.header("range").empty() ? "\"2\"" : "\"1\""};
    if (!asked.header("range").empty()) other.said_etag = "\"2\"";
    return other;
  });
  EXPECT_FALSE(Fetch(server.Url("/a")).ok());
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), Qcow2(100000, 2));
}

TEST_F(Downloaded, ARefusedRangeBeginsAnew) {
  Served refusing = right_;
  refusing.refuses_ranges = true;
  HttpServer server(FirstAndThen(Cut(right_, 40000), refusing));
  EXPECT_FALSE(Fetch(server.Url("/a")).ok());
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
  EXPECT_EQ(server.log()[1].status, 416);
}

TEST_F(Downloaded, APartThatNobodyAskedForIsAnError) {
  Served partial = right_;
  partial.always_partial = true;
  HttpServer server(FirstAndThen(partial, partial));
  EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/a")).status()));
  EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/a")).status()));
}

TEST_F(Downloaded, AWrongLengthIsAnErrorAndTheNextTryIsRight) {
  for (const char* length : {"100001", "200000"}) {
    Served lying = right_;
    lying.content_length = length;
    HttpServer server(FirstAndThen(lying, right_));
    EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/a")).status())) << length;
    const auto fetched = Fetch(server.Url("/a"));
    ASSERT_TRUE(fetched.ok()) << length << ": " << fetched.status();
    EXPECT_EQ(Bytes(fetched->path), image_);
  }
}

TEST_F(Downloaded, ARangeThatRunsOverTheEndIsAnErrorAndDropsThePart) {
  Served longer = right_;
  longer.body += std::string(500, 'x');
  longer.content_range = "bytes 40000-99999/100000";
  HttpServer server([&](const Asked&, int number) {
    return number == 0 ? Cut(right_, 40000) : number == 1 ? longer : right_;
  });
  EXPECT_FALSE(Fetch(server.Url("/a")).ok());
  EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/a")).status()));
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
  EXPECT_EQ(server.log()[2].header("range"), "");
}

TEST_F(Downloaded, AChunkedImageIsWholeOrItIsAnError) {
  Served chunked = right_;
  chunked.chunked = true;
  HttpServer server(FirstAndThen(Cut(chunked, 40000), chunked));
  EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/a")).status()));
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
}

TEST_F(Downloaded, AnEndThatCannotBeToldFromACutIsBelievedOnlyWithAChecksum) {
  Served endless = right_;
  endless.content_length = "none";
  HttpServer server(FirstAndThen(endless, endless));
  const auto refused = Fetch(server.Url("/a"));
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
  const auto fetched = Fetch({server.Url("/a"), Sha256(image_), ""});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
}

TEST_F(Downloaded, AServerThatFallsSilentIsGivenUpAndWhatCameIsKept) {
  limits_.stall = absl::Seconds(1);
  Served stalling = right_;
  stalling.stall_after = 40000;
  HttpServer server(FirstAndThen(stalling, right_));
  EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/a")).status()));
  EXPECT_EQ(std::filesystem::file_size(PartPath()), 40000u);
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(server.log()[1].header("range"), "bytes=40000-");
  EXPECT_EQ(Bytes(fetched->path), image_);
}

TEST_F(Downloaded, AWholePartThatWasNotKeptYetIsNotSentAgain) {
  HttpServer server(FirstAndThen(Cut(right_, 40000), right_));
  EXPECT_FALSE(Fetch(server.Url("/a")).ok());
  Write(PartPath(), image_);  // as after a crash at the end
  const auto fetched = Fetch(server.Url("/a"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
  EXPECT_EQ(server.log()[1].sent, 1u);
}

TEST_F(Downloaded, ADamagedNoteOfAPartBeginsAnew) {
  for (const std::string& note :
       {std::string(""), std::string("{\"format\": 1, \"url\": \"http://"), std::string("{}"),
        std::string(100, '\0')}) {
    HttpServer server(FirstAndThen(Cut(right_, 40000), right_));
    EXPECT_FALSE(Fetch(server.Url("/a")).ok());
    Write(PartPath() + ".json", note);
    const auto fetched = Fetch(server.Url("/a"));
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    EXPECT_EQ(Bytes(fetched->path), image_);
  }
}

TEST_F(Downloaded, ABrokenOffNewVersionIsAnErrorAndNotTheOldOne) {
  HttpServer server(FirstAndThen(right_, Cut({.body = Qcow2(90000, 2), .etag = "\"2\""}, 40000)));
  ASSERT_TRUE(Fetch(server.Url("/a")).ok());
  EXPECT_TRUE(absl::IsUnavailable(Fetch(server.Url("/a")).status()));
}

TEST_F(Downloaded, RedirectsAreFollowedAndSoAreResumedDownloads) {
  HttpServer server([&](const Asked& asked, int number) {
    if (asked.target == "/latest")
      return Served{.status = 302, .body = "moved", .location = "/b/../a"};
    return number == 1 ? Cut(right_, 40000) : right_;
  });
  EXPECT_FALSE(Fetch(server.Url("/latest")).ok());
  const auto fetched = Fetch(server.Url("/latest"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(Bytes(fetched->path), image_);
  EXPECT_EQ(server.sent(), image_.size() + 2 * 5);
}

TEST_F(Downloaded, RedirectsThatNeverEndAreGivenUp) {
  HttpServer server([](const Asked& asked, int) {
    return Served{.status = 302, .location = asked.target == "/a" ? "/b" : "/a"};
  });
  const auto fetched = Fetch(server.Url("/a"));
  EXPECT_TRUE(absl::IsUnavailable(fetched.status())) << fetched.status();
  EXPECT_EQ(server.log().size(), static_cast<size_t>(limits_.redirects) + 1);
}

TEST_F(Downloaded, RedirectsToAnythingButHttpAreNotFollowed) {
  Write(folder_ + "/secret", image_);
  for (const std::string& to :
       {"file://" + folder_ + "/secret", std::string("ftp://127.0.0.1/a"),
        std::string("gopher://127.0.0.1:70/a"), std::string("FILE:///etc/passwd")}) {
    HttpServer server([&](const Asked&, int) { return Served{.status = 302, .location = to}; });
    const auto fetched = Fetch(server.Url("/a"));
    EXPECT_TRUE(absl::IsUnavailable(fetched.status())) << to << ": " << fetched.status();
    EXPECT_NE(fetched.status().message().find("only http and https"), absl::string_view::npos)
        << fetched.status();
  }
}

TEST_F(Downloaded, HttpsIsNeverLeftForHttpAndChecksItsServer) {
  const TestCertificate certificate = MakeCertificate();
  HttpServer plain([&](const Asked&, int) { return right_; });
  HttpServer secure(
      [&](const Asked& asked, int) {
        return asked.target == "/a" ? right_ : Served{.status = 302, .location = plain.Url("/a")};
      },
      certificate.certificate, certificate.key);
  const absl::Status stranger = Fetch(secure.Url("/a")).status();  // trusts nobody we know
  EXPECT_TRUE(absl::IsUnavailable(stranger)) << stranger;
  EXPECT_NE(stranger.message().find("does not trust the server's certificate"), std::string::npos)
      << stranger;
  std::string no_tls = plain.Url("/a");
  no_tls.insert(4, "s");
  const absl::Status silent = Fetch(no_tls).status();
  EXPECT_NE(silent.message().find("speaks no TLS that this host knows"), std::string::npos)
      << silent;
  limits_.ca_file = folder_ + "/ca.pem";
  Write(limits_.ca_file, certificate.certificate);
  const auto fetched = Fetch(secure.Url("/a"));
  EXPECT_TRUE(fetched.ok()) << fetched.status();
  const auto left = Fetch(secure.Url("/moved"));
  EXPECT_TRUE(absl::IsUnavailable(left.status())) << left.status();
  EXPECT_NE(left.status().message().find("it would leave https"), absl::string_view::npos);
  EXPECT_EQ(plain.log().size(), 0u);
}

TEST_F(Downloaded, NoTextShowsThePasswordOfAUrl) {
  HttpServer server([](const Asked&, int) { return Served{.status = 503}; });
  std::string url = server.Url("/a");
  url.insert(url.find("127"), "user:geheim@");
  const auto fetched = Fetch(url);
  EXPECT_TRUE(absl::IsUnavailable(fetched.status()));
  EXPECT_EQ(fetched.status().message().find("geheim"), absl::string_view::npos) << fetched.status();
  EXPECT_FALSE(server.log()[0].header("authorization").empty());
}

}  // namespace
}  // namespace rum
