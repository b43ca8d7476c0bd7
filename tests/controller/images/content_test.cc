// What an image is, is said by its content: packed or not, right or not, an image or not.
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/controller/images/world.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

std::string Packed(const std::string& bytes, int (*add_filter)(archive*)) {
  archive* const writer = archive_write_new();
  archive_write_set_format_raw(writer);
  add_filter(writer);
  std::string packed(bytes.size() + (1 << 20), 0);
  size_t used = 0;
  archive_write_open_memory(writer, packed.data(), packed.size(), &used);
  archive_entry* const entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_write_header(writer, entry);
  archive_write_data(writer, bytes.data(), bytes.size());
  archive_write_close(writer);
  archive_entry_free(entry);
  archive_write_free(writer);
  packed.resize(used);
  return packed;
}

constexpr int (*kFilters[])(archive*) = {archive_write_add_filter_xz, archive_write_add_filter_gzip,
                                         archive_write_add_filter_zstd};

class Content : public CacheWorld {
 protected:
  std::string Local(const std::string& name, const std::string& bytes) {
    Write(folder_ + "/" + name, bytes);
    return folder_ + "/" + name;
  }
};

TEST_F(Content, ALocalImageIsGivenAsItIs) {
  const std::string path = Local("a disk.img", Qcow2(1000));
  fs::create_symlink(path, folder_ + "/link");
  for (const std::string& url : {path, folder_ + "/link", "file://" + folder_ + "/a%20disk.img",
                                 "file://localhost" + folder_ + "/a disk.img"}) {
    const auto fetched = Fetch(url);
    ASSERT_TRUE(fetched.ok()) << url << ": " << fetched.status();
    EXPECT_EQ(fetched->path, path);
    EXPECT_FALSE(fetched->hold);
  }
  EXPECT_TRUE(Files().empty());
}

TEST_F(Content, ALocalImageHasItsChecksum) {
  const std::string path = Local("disk.img", Qcow2(1000));
  EXPECT_TRUE(Fetch({path, Sha256(Qcow2(1000)), ""}).ok());
  const auto fetched = Fetch({path, std::string(64, 'a'), ""});
  EXPECT_TRUE(absl::IsFailedPrecondition(fetched.status())) << fetched.status();
}

TEST_F(Content, APackedImageIsUnpackedWhateverItIsCalled) {
  for (const auto filter : kFilters) {
    for (const std::string& image : {Qcow2(300000), RawDisk(300000)}) {
      const std::string packed = Packed(image, filter);
      HttpServer server([&](const Asked&, int) { return Served{.body = packed, .etag = "\"1\""}; });
      const auto fetched = Fetch({server.Url("/disk.qcow2"), Sha256(packed), ""});
      ASSERT_TRUE(fetched.ok()) << fetched.status();
      EXPECT_EQ(Bytes(fetched->path), image);
      EXPECT_EQ(PartPath(), "");
      const auto local = Fetch({Local("disk.raw", packed), Sha256(packed), ""});
      ASSERT_TRUE(local.ok()) << local.status();
      EXPECT_EQ(Bytes(local->path), image);
      EXPECT_TRUE(local->hold);
    }
  }
}

TEST_F(Content, ALocalPackedImageIsUnpackedOnceForEachOfItsVersions) {
  const std::string path = Local("disk.xz", Packed(Qcow2(1000, 1), kFilters[0]));
  const auto first = Fetch(path), second = Fetch(path);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->path, second->path);
  Local("disk.new", Packed(Qcow2(1000, 2), kFilters[1]));
  fs::rename(folder_ + "/disk.new", path);
  const auto third = Fetch(path);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(Bytes(first->path), Qcow2(1000, 1));
  EXPECT_EQ(Bytes(third->path), Qcow2(1000, 2));
  const auto wrong = Fetch({path, std::string(64, '0'), ""});
  EXPECT_TRUE(absl::IsFailedPrecondition(wrong.status())) << wrong.status();
}

TEST_F(Content, ZerosOfAnUnpackedImageTakeNoRoom) {
  const size_t size = 64 << 20;
  const auto fetched = Fetch(Local("disk.zst", Packed(RawDisk(size), kFilters[2])));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(fs::file_size(fetched->path), size);
  EXPECT_LT(List()[0].bytes, size / 10);
  EXPECT_EQ(Bytes(fetched->path), RawDisk(size));
}

TEST_F(Content, APackedImageThatIsCutShortIsRefusedAndLeavesNothing) {
  for (const auto filter : kFilters) {
    const std::string packed = Packed(Qcow2(300000), filter);
    for (const size_t size : {packed.size() - 1, packed.size() / 2, size_t{40}}) {
      const auto fetched = Fetch(Local("disk", packed.substr(0, size)));
      EXPECT_TRUE(absl::IsInvalidArgument(fetched.status())) << size << ": " << fetched.status();
      EXPECT_TRUE(List().empty());
    }
  }
}

TEST_F(Content, WhatIsNoDiskImageIsRefusedAndSaysWhatItIs) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "an empty file"},
      {"<!DOCTYPE html><html><body>Please log in</body></html>", "an HTML page"},
      {"\n <html>", "an HTML page"},
      {"version https://git-lfs.github.com/spec/v1\noid",
       "\"version https://git-lfs.github.com/spec/v1\""},
      {"KDMV" + std::string(600, '\1'), "VMDK"},
      {std::string("\x7f"
                   "ELF\1\2\3\0",
                   8) +
           std::string(5000, '\1'),
       "7f454c46"},
      {std::string(100000, '\0'), "without partition table or filesystem"},
      {"QFI\xfb", "a qcow2 image that is cut short"},
  };
  for (const auto& [bytes, said] : cases) {
    HttpServer server(
        [&, body = bytes](const Asked&, int) { return Served{.body = body, .etag = "\"1\""}; });
    std::vector<absl::Status> statuses = {Fetch(server.Url("/a.qcow2")).status(),
                                          Fetch(Local("a.qcow2", bytes)).status()};
    if (!bytes.empty()) {
      statuses.push_back(Fetch(Local("a.xz", Packed(bytes, kFilters[0]))).status());
    }
    for (const absl::Status& status : statuses) {
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      EXPECT_NE(status.message().find("is not a disk image"), absl::string_view::npos) << status;
      EXPECT_NE(status.message().find(said), absl::string_view::npos) << status;
    }
    EXPECT_TRUE(List().empty());
  }
}

TEST_F(Content, ARawDiskWithAPartitionTableIsAnImage) {
  EXPECT_TRUE(Fetch(Local("disk", RawDisk(1 << 20))).ok());
}

TEST_F(Content, AnImageFromElsewhereMayNotStandOnAnotherFileOfThisHost) {
  std::string layer = Qcow2(1000), external = Qcow2(1000);
  layer[15] = 104;   // where the backing file's name is
  external[79] = 4;  // the data is in a file of its own
  for (const std::string& image : {layer, external}) {
    HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
    const auto fetched = Fetch(server.Url("/a"));
    EXPECT_TRUE(absl::IsInvalidArgument(fetched.status())) << fetched.status();
  }
}

TEST_F(Content, AFolderIsNoImage) { EXPECT_TRUE(absl::IsInvalidArgument(Fetch(folder_).status())); }

TEST_F(Content, AWrongChecksumNamesBothSumsAndLeavesNothing) {
  const std::string image = Qcow2(1000);
  HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
  const auto fetched = Fetch({server.Url("/a"), std::string(64, 'A'), ""});
  EXPECT_TRUE(absl::IsFailedPrecondition(fetched.status())) << fetched.status();
  const std::string text(fetched.status().message());
  EXPECT_NE(text.find(Sha256(image)), std::string::npos) << text;
  EXPECT_NE(text.find(std::string(64, 'a')), std::string::npos) << text;
  EXPECT_TRUE(List().empty());
  EXPECT_TRUE(Fetch({server.Url("/a"), Sha256(image), ""}).ok());
}

TEST_F(Content, ACachedImageIsNotGivenForAnotherChecksumAndIsNotSentAgain) {
  const std::string image = Qcow2(1000);
  HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
  ASSERT_TRUE(Fetch(server.Url("/a")).ok());
  const auto fetched = Fetch({server.Url("/a"), std::string(64, 'a'), ""});
  EXPECT_TRUE(absl::IsFailedPrecondition(fetched.status())) << fetched.status();
  EXPECT_EQ(server.sent(), image.size());
  EXPECT_EQ(List().size(), 1u);
}

TEST_F(Content, ACachedImageWithTheRightChecksumIsGivenWithoutAsking) {
  const std::string image = Qcow2(1000);
  HttpServer server([&](const Asked&, int number) {
    return number == 0 ? Served{.body = image, .etag = "\"1\""} : Served{.body = Qcow2(1000, 2)};
  });
  const auto first = Fetch({server.Url("/a"), Sha256(image), ""});
  const auto second = Fetch({server.Url("/a"), Sha256(image), ""});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->path, second->path);
  EXPECT_EQ(server.log().size(), 1u);
}

class MirrorChecksums : public CacheWorld {
 protected:
  // Fetches disk.qcow2 of a mirror that has these checksums; IMAGE256 and IMAGE512 stand for the
  // right ones.
  absl::StatusOr<FetchedImage> With(const std::string& text, int status = 200) {
    const std::string image = Qcow2(1000);
    const std::string sums =
        absl::StrReplaceAll(text, {{"IMAGE256", Sha256(image)}, {"IMAGE512", Sha512(image)}});
    HttpServer server([=](const Asked& asked, int) {
      if (asked.target == "/SUMS") return Served{.status = status, .body = sums};
      return Served{.body = image, .etag = "\"1\""};
    });
    return Fetch({server.Url("/cloud/disk.qcow2"), "", server.Url("/SUMS")});
  }
  const std::string other_ = std::string(64, 'b');
};

TEST_F(MirrorChecksums, AreFoundInEveryUsualForm) {
  for (const std::string& text :
       {absl::StrCat(other_, "  other.qcow2\nIMAGE256  disk.qcow2\n"),
        std::string("IMAGE256 *disk.qcow2\r\n"), std::string("IMAGE512  ./disk.qcow2"),
        absl::StrCat("SHA256 (other.qcow2) = ", other_, "\nSHA256 (disk.qcow2) = IMAGE256\n"),
        std::string("SHA512 (disk.qcow2) = IMAGE512"), std::string("IMAGE512\n"),
        absl::StrCat(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.qcow2: 5 bytes\n",
            "SHA256 (disk.qcow2) = IMAGE256\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAd",
            "\n-----END PGP SIGNATURE-----\n"),
        absl::StrCat(other_, "  disk.qcow2.sig\n", other_,
                     "  mydisk.qcow2\nIMAGE256  disk.qcow2\n")}) {
    const auto fetched = With(text);
    EXPECT_TRUE(fetched.ok()) << text << "\n" << fetched.status();
  }
}

TEST_F(MirrorChecksums, ThatDoNotMatchAreAnErrorInEveryUsualForm) {
  for (const std::string& text :
       {absl::StrCat(other_, "  disk.qcow2\nIMAGE256  other.qcow2\n"),
        absl::StrCat(other_, other_, "  disk.qcow2\n"),
        absl::StrCat("SHA256 (disk.qcow2) = ", other_, "\n"), absl::StrCat(other_, "\n")}) {
    const auto fetched = With(text);
    EXPECT_TRUE(absl::IsFailedPrecondition(fetched.status())) << text << fetched.status();
    EXPECT_NE(fetched.status().message().find("SUMS says"), absl::string_view::npos);
    EXPECT_TRUE(List().empty());
  }
}

TEST_F(MirrorChecksums, ThatDoNotNameTheImageAreAnErrorThatSaysSo) {
  for (const char* text : {"", "IMAGE256  other.qcow2\n", "IMAGE256  disk.qcow2.sig\n",
                           "<html></html>", "d41d8cd98f00b204e9800998ecf8427e  disk.qcow2\n"}) {
    const auto fetched = With(text);
    EXPECT_TRUE(absl::IsFailedPrecondition(fetched.status())) << fetched.status();
    EXPECT_NE(fetched.status().message().find("names no SHA-256 or SHA-512 of \"disk.qcow2\""),
              absl::string_view::npos)
        << fetched.status();
  }
}

TEST_F(MirrorChecksums, ThatAreNotThereAreAnError) {
  EXPECT_TRUE(absl::IsNotFound(With("", 404).status()));
  EXPECT_TRUE(absl::IsUnavailable(With("", 500).status()));
}

TEST_F(MirrorChecksums, ThatCannotBeHadLeaveTheCachedCopy) {
  const std::string image = Qcow2(1000);
  HttpServer server([&](const Asked& asked, int number) {
    if (asked.target != "/SUMS") return Served{.body = image, .etag = "\"1\""};
    return number < 2 ? Served{.body = Sha256(image)} : Served{.status = 503};
  });
  const ImageSource source{server.Url("/a"), "", server.Url("/SUMS")};
  ASSERT_TRUE(Fetch(source).ok());
  const auto fetched = Fetch(source);
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(Said("using the cached copy of a: checksums of a: ")) << SaidText();
  EXPECT_EQ(server.log("/a").size(), 1u);
}

}  // namespace
}  // namespace rum
