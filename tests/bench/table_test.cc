#include "tests/bench/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace rum::bench {
namespace {

using testing::HasSubstr;

Series Of(std::vector<double> ms) { return {std::move(ms)}; }

TEST(Series, QuantilesAreSamplesByNearestRank) {
  const Series ten = Of({10, 1, 9, 2, 8, 3, 7, 4, 6, 5});
  EXPECT_EQ(ten.Median(), 5);
  EXPECT_EQ(ten.Quantile(0.9), 9);
  EXPECT_EQ(ten.Quantile(1), 10);
  EXPECT_EQ(ten.Quantile(0), 1);
  EXPECT_EQ(Of({7}).Quantile(0.9), 7);
  EXPECT_TRUE(std::isnan(Series().Median()));
}

TEST(Row, IsMeasuredAgainstItsRivalOnly) {
  Row row{"hostname", Of({30}), Of({60}), Of({20}), Rival::kQemuAgent, 1};
  EXPECT_EQ(row.Ratio(), 0.5);
  EXPECT_TRUE(row.Met());
  row.rival = Rival::kSsh;
  EXPECT_EQ(row.Ratio(), 1.5);
  EXPECT_FALSE(row.Met());
}

TEST(Row, AnsibleIsARivalWhereItWasMeasured) {
  Row row{"boot script", Of({10}), std::nullopt, std::nullopt, Rival::kAnsible, 0.02};
  EXPECT_FALSE(row.Met());
  row.ansible = Of({1000});
  EXPECT_EQ(row.Ratio(), 0.01);
  EXPECT_TRUE(row.Met());
  EXPECT_THAT(TextTable({1, true, "a machine", Of({7})}, {row}), HasSubstr("**0.010** of ansible"));
}

TEST(Row, AnEqualRivalIsNotBeaten) {
  EXPECT_FALSE((Row{"exec", Of({4}), Of({4}), Of({9}), Rival::kQemuAgent, 1}).Met());
}

TEST(Row, WhatWasNotMeasuredIsNeverMet) {
  EXPECT_FALSE((Row{"exec", Of({4}), std::nullopt, Of({9}), Rival::kQemuAgent, 1}).Met());
}

TEST(Table, ShowsWhatIsMetAndWhatIsMissed) {
  const std::vector<Row> rows = {{"no-op", Of({10}), std::nullopt, Of({100}), Rival::kSsh, 0.25},
                                 {"exec", Of({50}), Of({40}), Of({90}), Rival::kQemuAgent, 1}};
  const std::string text = TextTable({1, true, "a machine", Of({7})}, rows);
  EXPECT_THAT(text, HasSubstr("**0.100** of ssh"));
  EXPECT_THAT(text, HasSubstr("< 0.25: met"));
  EXPECT_THAT(text, HasSubstr("**1.250** of qemu-ga"));
  EXPECT_THAT(text, HasSubstr("< 1: missed"));
  EXPECT_THAT(text, HasSubstr("started in the guest: 7.0 / 7.0"));
  const std::string json = JsonTable({1, true, "a \"machine\"", Of({7})}, rows);
  EXPECT_THAT(json, HasSubstr(R"("machine": "a \"machine\"")"));
  EXPECT_THAT(json, HasSubstr(R"("qemu_agent": null)"));
  EXPECT_THAT(json, HasSubstr(R"("samples_ms": [50.000])"));
}

}  // namespace
}  // namespace rum::bench
