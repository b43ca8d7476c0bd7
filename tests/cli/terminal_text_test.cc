#include "cli/terminal_text.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

TEST(TerminalText, LeavesWhatAnybodyMayRead) {
  EXPECT_EQ(OneLine("dev → devbox — é 漢 😀", true), "dev → devbox — é 漢 😀");
  EXPECT_EQ(Lines("a\tb\n\nc\n", true), "a\tb\n\nc\n");
}

TEST(TerminalText, SpellsOutWhatMovesTheCursorOrTheLetters) {
  EXPECT_EQ(OneLine("\x1b[2J\x07\b\x7f", true), "\\x1b[2J\\x07\\x08\\x7f");
  EXPECT_EQ(OneLine(std::string("a\0b", 3), true), "a\\x00b");
  EXPECT_EQ(OneLine("a\nb\rc\td", true), "a\\nb\\rc\\td");
  EXPECT_EQ(OneLine("\xC2\x9B"
                    "31m",
                    true),
            "\\u009b31m");
  EXPECT_EQ(OneLine("\u202Eevil\u2066\u200F\u2028", true), "\\u202eevil\\u2066\\u200f\\u2028");
}

TEST(TerminalText, SpellsOutBytesThatAreNotUtf8) {
  EXPECT_EQ(OneLine("\xFF\x9B x\xC3", true), "\\xff\\x9b x\\xc3");
  EXPECT_EQ(OneLine("\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80", true),
            "\\xc0\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
}

TEST(TerminalText, IsAsciiWithoutAUtf8Terminal) {
  EXPECT_EQ(OneLine("a → b — c… é 😀", false), "a -> b - c... \\u00e9 \\U0001f600");
}

TEST(TerminalText, KeepsLinesButNoLoneCarriageReturn) {
  EXPECT_EQ(Lines("one\r\ntwo\rTWO\n", true), "one\ntwo\\rTWO\n");
}

TEST(TerminalText, OutputInPiecesIsTheSameAsInOne) {
  const std::string whole = "é漢😀\r\nx\ry\x1b[0m\xFFz\n→\r";
  for (size_t size = 1; size <= whole.size(); ++size) {
    OutputText output(true);
    std::string shown;
    for (size_t at = 0; at < whole.size(); at += size) shown += output.Next(whole.substr(at, size));
    EXPECT_EQ(shown + output.End(), Lines(whole, true)) << "pieces of " << size;
  }
}

TEST(TerminalText, OutputIsNotHeldBackLongerThanItMust) {
  OutputText output(true);
  EXPECT_EQ(output.Next("downloading"), "downloading");
  EXPECT_EQ(output.Next(" \xE2\x86"), " ");
  EXPECT_EQ(output.Next("\x92."), "→.");
  EXPECT_EQ(output.Next("\xC3"), "");
  EXPECT_EQ(output.End(), "\\xc3");
}

}  // namespace
}  // namespace rum
