#include "agent-api/run_log/run_log.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/agent-api/guest/folder.h"

namespace rum {
namespace {

std::unique_ptr<RunLogWriter> Writer(const Folder& folder) {
  auto writer = RunLogWriter::Open(folder.path());
  EXPECT_TRUE(writer.ok()) << writer.status();
  return *std::move(writer);
}

// All that a reader gets from `offset` on; what is missing as '?'.
std::string ReadAll(RunLogReader* reader, uint64_t from = 0) {
  std::string all(from, '?');
  OutputPiece piece;
  while (reader->Next(&piece)) {
    EXPECT_GE(piece.offset, all.size());
    all.resize(piece.offset, '?');
    all += piece.bytes;
  }
  EXPECT_EQ(reader->offset(), all.size());
  return all;
}

std::string ReadAll(const Folder& folder, uint64_t from = 0) {
  RunLogReader reader(folder.path(), from);
  return ReadAll(&reader, from);
}

TEST(RunLog, KeepsBytesTimesAndStreams) {
  const Folder folder;
  const auto writer = Writer(folder);
  ASSERT_TRUE(writer->Append({0, 1234567890123, true, std::string("a\0\xff", 3)}).ok());
  ASSERT_TRUE(writer->Append({3, 5, false, "b"}).ok());
  RunLogReader reader(folder.path(), 0);
  OutputPiece piece;
  ASSERT_TRUE(reader.Next(&piece));
  EXPECT_EQ(piece.bytes, std::string("a\0\xff", 3));
  EXPECT_EQ(piece.time_ms, 1234567890123);
  EXPECT_TRUE(piece.error);
  ASSERT_TRUE(reader.Next(&piece));
  EXPECT_FALSE(piece.error);
  EXPECT_EQ(piece.offset, 3u);
  EXPECT_FALSE(reader.Next(&piece));
  ASSERT_TRUE(writer->Append({4, 6, false, "c"}).ok());
  ASSERT_TRUE(reader.Next(&piece)) << "read while it is written";
  EXPECT_EQ(piece.bytes, "c");
}

// Whatever pieces come, also again or with gaps, in however many lives of the writer: a reader from
// any offset gets each byte once, at its offset.
RC_GTEST_PROP(RunLog, GivesEachByteOnceFromAnyOffset, ()) {
  const Folder folder;
  const int pieces = *rc::gen::inRange(1, 12);
  std::string expected;
  std::unique_ptr<RunLogWriter> writer = Writer(folder);
  for (int i = 0; i < pieces; ++i) {
    const auto size = *rc::gen::element<size_t>(1, 10, 1000, 600'000);
    const auto back = *rc::gen::inRange<size_t>(0, 20);  // of what is there already
    const auto gap = *rc::gen::element<size_t>(0, 0, 0, 5);
    if (*rc::gen::inRange(0, 4) == 0) writer.reset(), writer = Writer(folder);
    OutputPiece piece;
    const size_t begin = expected.size() + gap - std::min(back, expected.size() + gap);
    piece.offset = begin;
    for (size_t at = begin; at < begin + size; ++at)
      piece.bytes += static_cast<char>('a' + at % 23);
    RC_ASSERT(writer->Append(piece).ok());
    if (begin + size <= expected.size()) continue;
    const size_t fresh = std::max(begin, expected.size());
    expected.resize(fresh, '?');
    expected += piece.bytes.substr(fresh - begin);
  }
  RC_ASSERT(writer->end() == expected.size());
  RC_ASSERT(ReadAll(folder) == expected);
  const auto from = *rc::gen::inRange<size_t>(0, expected.size() + 1);
  const std::string rest = ReadAll(folder, from);
  RC_ASSERT(rest.substr(from) == expected.substr(std::min(from, expected.size())));
}

TEST(RunLog, KeepsTheNewestOfALongOutputAndShowsWhatIsMissing) {
  const Folder folder;
  const auto writer = Writer(folder);
  RunLogReader slow(folder.path(), 0);
  const std::string chunk(100'000, 'x');
  uint64_t written = 0;
  for (; written < 40'000'000; written += chunk.size()) {
    ASSERT_TRUE(writer->Append({written, 1, false, chunk}).ok());
  }
  uintmax_t on_disk = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
    on_disk += file.file_size();
  }
  EXPECT_LT(on_disk, 18u << 20);
  const std::string all = ReadAll(&slow);
  EXPECT_EQ(all.size(), written);
  const size_t missing = static_cast<size_t>(std::count(all.begin(), all.end(), '?'));
  EXPECT_EQ(all.find('x'), missing) << "the oldest";
  EXPECT_GE(written - missing, 15u << 20);
}

TEST(RunLog, HalfAPieceOfAKilledWriterIsCutOffAndWrittenAgain) {
  const Folder folder;
  ASSERT_TRUE(Writer(folder)->Append({0, 1, false, "whole"}).ok());
  const std::string file = folder / "output-00000000000000000000";
  const std::string whole = Slurp(file);
  ASSERT_TRUE(Writer(folder)->Append({5, 1, false, "second"}).ok());
  const std::string both = Slurp(file);
  for (size_t size = whole.size(); size < both.size(); ++size) {
    Spill(file, both.substr(0, size));
    EXPECT_EQ(ReadAll(folder), "whole");
    const auto writer = Writer(folder);
    EXPECT_EQ(writer->end(), 5u);
    ASSERT_TRUE(writer->Append({5, 1, false, "second"}).ok());
    EXPECT_EQ(ReadAll(folder), "wholesecond");
  }
}

TEST(RunLog, OfARunThatWroteNothingIsEmpty) {
  const Folder folder;
  EXPECT_EQ(ReadAll(folder), "");
  EXPECT_EQ(Writer(folder)->end(), 0u);
  EXPECT_EQ(ReadAll(folder, 7), "???????");
}

}  // namespace
}  // namespace rum
