#include "state/size.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace rum {
namespace {

TEST(Size, ReadsUnitsInAnyCaseWithAnOptionalB) {
  for (const char* text : {"20G", "20g", "20GB", "20gb", "20GiB", "20gib", "20Gi", "20 GiB", "20 G",
                           "20  gb", "20480M", "20480 MiB", "21474836480"}) {
    EXPECT_EQ(ParseSize(text), uint64_t{20} << 30) << text;
  }
  EXPECT_EQ(ParseSize("1K"), 1024u);
  EXPECT_EQ(ParseSize("16777215T"), uint64_t{16777215} << 40);
}

TEST(Size, RefusesEverythingElse) {
  for (const char* text : {"",
                           "G",
                           "20G ",
                           " 20G",
                           "20 ",
                           "20GiBs",
                           "20iB",
                           "20BB",
                           "20B",
                           "-1",
                           "+1",
                           "1.5G",
                           "20GBx",
                           "20 Gi B",
                           "1_000M",
                           "0x10",
                           "20P",
                           "20%",
                           "16777216T",
                           "18446744073709551616",
                           "99999999999999999999 GiB"}) {
    EXPECT_EQ(ParseSize(text), std::nullopt) << text;
  }
}

TEST(Size, SaysWhatIsWrongWithOne) {
  EXPECT_EQ(SizeProblem("1.5G"),
            "must be a size: an integer and K, M, G or T, such as \"20G\"; \"1536M\" is one and "
            "a half G (got \"1.5G\")");
  EXPECT_EQ(SizeProblem("99999999999T"), "is more than any disk holds (got \"99999999999T\")");
  EXPECT_EQ(SizeProblem("20X"),
            "must be a size: an integer and K, M, G or T, such as \"20G\" (got \"20X\")");
}

TEST(Size, FormattedIsReadBack) {
  EXPECT_TRUE(rc::check([](uint64_t bytes) { RC_ASSERT(ParseSize(FormatSize(bytes)) == bytes); }));
  EXPECT_TRUE(rc::check([] {
    const uint64_t bytes = *rc::gen::inRange<uint64_t>(0, 1 << 14) << *rc::gen::inRange(0, 50);
    RC_ASSERT(ParseSize(FormatSize(bytes)) == bytes);
  }));
}

TEST(Size, FormattedIsTheShortestText) {
  EXPECT_EQ(FormatSize(uint64_t{20} << 30), "20G");
  EXPECT_EQ(FormatSize(uint64_t{1536} << 20), "1536M");
  EXPECT_EQ(FormatSize(17), "17");
  EXPECT_EQ(FormatSize(0), "0");
}

TEST(Size, OfADiskIsThatOfWholeKiB) {
  EXPECT_EQ(DiskSize(1000000000), 1000000512u);
  EXPECT_EQ(DiskSize(1000000512), 1000000512u);
  EXPECT_EQ(DiskSize(1), 1024u);
  EXPECT_EQ(DiskSize(0), 0u);
  EXPECT_EQ(DiskSize(UINT64_MAX), UINT64_MAX);
  EXPECT_TRUE(rc::check([](uint32_t bytes) {
    RC_ASSERT(DiskSize(bytes) >= bytes && DiskSize(bytes) < uint64_t{bytes} + 1024);
    RC_ASSERT(DiskSize(DiskSize(bytes)) == DiskSize(bytes));
  }));
}

}  // namespace
}  // namespace rum
