#include "state/image_url.h"

#include <gtest/gtest.h>

#include "state/diff.h"
#include "state/problem_text.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

TEST(ImageUrl, IsShownWithoutWhatOpensIt) {
  const std::pair<const char*, const char*> urls[] = {
      {"https://ada:s3cret@example.org/a.qcow2", "https://example.org/a.qcow2"},
      {"https://ghp_s3cret@example.org:8443/a.qcow2", "https://example.org:8443/a.qcow2"},
      {"http://ada:s3c@ret@[::1]:80/a", "http://[::1]:80/a"},
      {"https://ada:s3/c?r#et@example.org/a", "https://example.org/a"},
      {"FTP://ada:s3cret@example.org/a", "FTP://example.org/a"},
      {"https://example.org/a?token=s3cret", "https://example.org/a?token=***"},
      {"https://example.org/"
       "a?version=3&X-Amz-Signature=s3cret&X-Amz-Credential=s3cret%2Fx&arch=arm64",
       "https://example.org/a?version=3&X-Amz-Signature=***&X-Amz-Credential=***&arch=arm64"},
      {"https://example.org/a?sv=2022&sig=s3cret%3D", "https://example.org/a?sv=***&sig=***"},
      {"https://example.org/a?Private_Token=s3cret;REF=main",
       "https://example.org/a?Private_Token=***&REF=main"},
      {"https://example.org/a?s3cret", "https://example.org/a?***"},
      {"https://example.org/a?czNjcmV0==", "https://example.org/a?***"},
      {"https://example.org?key=s3cret", "https://example.org?key=***"},
      {"https://example.org/a?x=s3cret#s3cret", "https://example.org/a?x=***"},
      {"https://example.org/a#s3cret", "https://example.org/a"},
  };
  for (const auto& [url, shown] : urls) {
    EXPECT_EQ(ShownUrl(url), shown);
    EXPECT_EQ(ShownUrl(shown), shown);
  }
  const std::string long_name = "https://example.org/a?version=" + std::string(65, 's');
  EXPECT_EQ(ShownUrl(long_name), "https://example.org/a?version=***");
}

TEST(ImageUrl, ThatHidesNothingAndWhatIsNoUrlStayAsTheyAre) {
  for (const char* plain :
       {"https://example.org/@scope/a:b@c.qcow2", "https://[fe80::1%25eth0]/a@b", "debian-12", "",
        "/srv/a@b?c=d#e", "file:///srv/a?token=x", "https://example.org:/x@y", "://",
        "https://example.org/a?", "/a://b:c@d"}) {
    EXPECT_EQ(ShownUrl(plain), plain);
  }
}

TEST(ImageUrl, InALineOfAFileHidesAllThatMayBeASecretAndNoWidth) {
  EXPECT_EQ(WithoutSecrets("base = \"https://u:p@h/x\" # why"), "base = \"https://*******\" # why");
  EXPECT_EQ(WithoutSecrets("a = 'http://ö:p@h', b = 'http://h/x'"),
            "a = 'http://*****', b = 'http://h/x'");
  EXPECT_EQ(WithoutSecrets("base = \"https://u:p\\\"q@h\""), "base = \"https://*********");
  EXPECT_EQ(WithoutSecrets("base = \"https://u:p\\u0040h\""), "base = \"https://***********");
  EXPECT_EQ(WithoutSecrets("base = \"https://h/x?t=s"), "base = \"https://*******");
  for (const char* plain : {"memory_mb = 12", "u = \"qemu+ssh://me@h/system?x\"", "= \"a://b?c\""})
    EXPECT_EQ(WithoutSecrets(plain), plain);
}

TEST(ImageUrl, OfThisHostIsOneThatNobodyCanMakeAnother) {
  for (const char* url : {"http://127.0.0.1:8000/a", "http://127.9.9.9", "http://[::1]:8000/a",
                          "HTTP://LocalHost/a", "http://u:p@localhost:1/a"}) {
    EXPECT_TRUE(IsLoopbackUrl(url)) << url;
    EXPECT_EQ(ChecksumProblem(url, ""), "") << url;
  }
  for (const char* url :
       {"http://example.org/a", "http://127.0.0.1@example.org/a", "http://127.0.0.1.example.org/a",
        "http://localhost.example.org/a", "http://127.0.0.1\\@example.org/a", "http:/127.0.0.1/a",
        "http:///127.0.0.1/a", "http://[::ffff:127.0.0.1]/a", "http://[::1/a", "http://127.1/a",
        "http://192.168.1.1/a", " http://127.0.0.1/a", "http://localhost./a",
        "ftp://127.0.0.1/a"}) {
    EXPECT_FALSE(IsLoopbackUrl(url)) << url;
    EXPECT_NE(ChecksumProblem(url, ""), "") << url;
    EXPECT_EQ(ChecksumProblem(url, "00"), "") << url;
  }
  EXPECT_EQ(ChecksumProblem("https://example.org/a", ""), "");
  EXPECT_EQ(ChecksumProblem("http://u:s3cret@h/a", ""),
            "image.sha256 is missing: whoever is on the way can send another image than "
            "http://h/a, as http:// is; set it to the SHA-256 of the image, or name an https:// "
            "URL");
}

Config With(const std::string& base) {
  Config config;
  config.mutable_image()->set_base(base);
  return config;
}

TEST(ImageUrl, WithANewTokenIsTheSameImage) {
  EXPECT_TRUE(Diff(With("https://u:1@h/a?token=1"), With("https://u:2@h/a?token=2")).empty());
  const auto changes =
      Diff(With("https://u:s3cret@h/a"), With("https://u:s3cret@h/b?token=s3cret"));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].before, "https://h/a");
  EXPECT_EQ(changes[0].after, "https://h/b?token=***");
}

TEST(ImageUrl, IsHiddenWhereAProblemShowsItsLine) {
  const ParsedConfig parsed = ReadToml(
      "image = { base = \"https://u:s3cret@h/a\\u0007\", sha256 = \"1\" }\n", "/p/rum.toml");
  const std::string text = RenderProblems("rum.toml", parsed);
  EXPECT_NE(text.find("image.sha256 must be 64 hex digits"), std::string::npos) << text;
  EXPECT_EQ(text.find("s3cret"), std::string::npos) << text;
}

}  // namespace
}  // namespace rum
