// Whatever a server does to a download, wherever it does it: the image comes out whole, and no byte
// is sent twice that need not be.
#include <rapidcheck.h>

#include <filesystem>

#include "tests/controller/images/world.h"

namespace rum {
namespace {

class AnyCuts : public CacheWorld {};

// Requests of one download that the server treats badly: each is a connection and a few writes that
// wait for the disk, and a ninth finds nothing that eight did not.
int AnyNumberOfCuts() { return *rc::gen::inRange(0, 9); }

TEST_F(AnyCuts, GiveTheWholeImageAndEachByteIsSentOnce) {
  int run = 0;
  EXPECT_TRUE(rc::check([&] {
    const auto size = *rc::gen::inRange<size_t>(104, 60000);
    const auto steps = *rc::gen::container<std::vector<int64_t>>(
        AnyNumberOfCuts(), rc::gen::inRange<int64_t>(0, 20000));
    const bool dated = *rc::gen::arbitrary<bool>();
    const std::string image = Qcow2(size, static_cast<unsigned>(++run));
    HttpServer server([&](const Asked&, int number) {
      Served served{.body = image};
      (dated ? served.last_modified : served.etag) =
          dated ? "Mon, 23 Nov 2026 10:00:00 GMT" : "\"1\"";
      if (number < static_cast<int>(steps.size())) served.cut_after = steps[number];
      return served;
    });
    absl::StatusOr<FetchedImage> fetched = absl::UnknownError("");
    for (size_t tries = 0; tries <= steps.size() && !fetched.ok(); ++tries) {
      fetched = Fetch(server.Url("/a"));
      RC_ASSERT(fetched.ok() || absl::IsUnavailable(fetched.status()));
    }
    RC_ASSERT(fetched.ok());
    RC_ASSERT(Bytes(fetched->path) == image);
    RC_ASSERT(server.sent() == image.size());
  }));
}

TEST_F(AnyCuts, WithChangesInBetweenNeverMixTwoVersions) {
  int run = 0;
  EXPECT_TRUE(rc::check([&] {
    // Of each request: which version the server has, where it cuts, whether it likes ranges.
    const auto script = *rc::gen::container<std::vector<std::tuple<int, int64_t, bool>>>(
        AnyNumberOfCuts(),
        rc::gen::tuple(rc::gen::inRange(0, 3), rc::gen::inRange<int64_t>(0, 20000),
                       rc::gen::arbitrary<bool>()));
    const unsigned seed = static_cast<unsigned>(10 * ++run);
    const auto version = [&](int n) { return Qcow2(15000 + n * 1000, seed + n); };
    HttpServer server([&](const Asked&, int number) {
      const bool scripted = number < static_cast<int>(script.size());
      const auto [n, cut, ignores] =
          scripted ? script[number] : std::tuple<int, int64_t, bool>(0, -1, false);
      Served served{.body = version(n), .etag = "\"" + std::to_string(n) + "\""};
      served.cut_after = cut;
      served.ignores_ranges = ignores;
      return served;
    });
    for (size_t tries = 0; tries <= script.size() + 1; ++tries) {
      const auto fetched = Fetch(server.Url("/a"));
      if (!fetched.ok()) continue;
      const std::string bytes = Bytes(fetched->path);
      RC_ASSERT(bytes == version(0) || bytes == version(1) || bytes == version(2));
    }
    const auto last = Fetch(server.Url("/a"));
    RC_ASSERT(last.ok());
    RC_ASSERT(Bytes(last->path) == version(0));
  }));
}

}  // namespace
}  // namespace rum
