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

TEST(DisplayWidth, IsThatOfATerminalsCells) {
  EXPECT_EQ(DisplayWidth("abc"), 3u);
  EXPECT_EQ(DisplayWidth("dev → é"), 7u);
  EXPECT_EQ(DisplayWidth("漢字 😀"), 7u);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1u) << "what combines takes none";
  EXPECT_EQ(DisplayWidth("\033[31m✗\033[0m x"), 3u);
  EXPECT_EQ(DisplayWidth("\xFF\xC3"), 2u);
}

TEST(CutTo, LeavesWhatFitsAndSaysThatSomethingIsMissing) {
  EXPECT_EQ(CutTo("abc", 3, true), "abc");
  EXPECT_EQ(CutTo("abcd", 3, true), "ab…");
  EXPECT_EQ(CutTo("abcdef", 5, false), "ab...");
  EXPECT_EQ(CutTo("漢字漢字", 5, true), "漢字…");
  EXPECT_EQ(CutTo("\033[31mabcd\033[0m", 3, true), "\033[31mab…\033[0m") << "the colour ends";
  EXPECT_EQ(CutTo("abc", 0, true), "");
}

TEST(Columns, AreInLineWhateverTheirLettersAre) {
  Style style;
  EXPECT_EQ(Columns({{"NAME", "X"}, {"für", "1"}, {"漢字漢", "2"}}, style),
            "NAME    X\nfür     1\n漢字漢  2\n");
}

TEST(Columns, FitAWindowButForTheFirst) {
  Style style;
  style.width = 30;
  EXPECT_EQ(Columns({{"NAME", "FILE", "WAITS"},
                     {"a-machine", "/home/ada/work/rum.toml", "resources.cpus"}},
                    style),
            "NAME       FILE      WAITS\na-machine  …um.toml  resource…\n");
}

TEST(Columns, AreReadAloudByTheirHeads) {
  Style style;
  style.plain = true;
  EXPECT_EQ(Columns({{"NAME", "PHASE", "WAITS"}, {"a", "running", ""}}, style),
            "NAME: a, PHASE: running\n");
}

TEST(Hanging, GoesOnBelowItself) {
  Style style;
  EXPECT_EQ(Hanging("  x ", 4, "one two three four five six seven", style),
            "  x one two three four five six seven\n");
  style.width = 30;
  EXPECT_EQ(Hanging("  x ", 4, "one two three four five six seven", style),
            "  x one two three four five\n    six seven\n");
  EXPECT_EQ(Hanging("a long one ", 11, "one two three four five", style),
            "a long one one two three four five\n")
      << "there is no room to do it";
}

TEST(LeaveOut, TakesWholeColumnsAndNoMoreThanItHasTo) {
  const std::vector<std::vector<std::string>> all = {{"NAME", "A", "B", "C"},
                                                     {"dev", "11", "222", "3"}};
  const auto left = [&](size_t width) {
    std::vector<std::vector<std::string>> rows = all;
    LeaveOut({3, 1}, width, &rows);
    return Columns(rows, Style{});
  };
  EXPECT_EQ(left(0), "NAME  A   B    C\ndev   11  222  3\n");
  EXPECT_EQ(left(16), left(0));
  EXPECT_EQ(left(15), "NAME  A   B\ndev   11  222\n");
  EXPECT_EQ(left(12), "NAME  B\ndev   222\n");
  EXPECT_EQ(left(3), left(12)) << "what is not dispensable stays";
  std::vector<std::vector<std::string>> none;
  LeaveOut({}, 10, &none);
}

TEST(FullScreen, IsNeverEmptyAndNeverLongerThanTheWindow) {
  EXPECT_EQ(FullScreen("one\ntwo three\nfour\n", 5, 2, true),
            "\033[Hone\033[K\r\ntwo …\033[K\033[J");
}

}  // namespace
}  // namespace rum
