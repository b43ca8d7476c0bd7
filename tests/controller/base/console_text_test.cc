// What a person gets to see of a guest's console.
#include "controller/base/console_text.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

TEST(LastConsoleLines, AreTheLastWithSomethingInThem) {
  EXPECT_EQ(LastConsoleLines("", 20), "");
  EXPECT_EQ(LastConsoleLines("\r\n\r\n  \r\n", 20), "");
  EXPECT_EQ(LastConsoleLines("one\r\n\r\ntwo  \r\nthree", 20), "one\ntwo\nthree\n");
  EXPECT_EQ(LastConsoleLines("one\r\ntwo\r\nthree\r\n\r\n", 2), "two\nthree\n");
  EXPECT_EQ(LastConsoleLines("one\n", 0), "");
}

TEST(LastConsoleLines, HaveNoSequencesOfATerminal) {
  EXPECT_EQ(LastConsoleLines("\x1B[2J\x1B[01;01H\x1B[=3h[  \x1B[0;32mOK  \x1B[0m] Started\r\n", 20),
            "[  OK  ] Started\n");
  EXPECT_EQ(LastConsoleLines("\x1B]0;title\a$ \x1B]8;;x\x1B\\ls\n", 20), "$ ls\n");
  EXPECT_EQ(LastConsoleLines("\x1B(B\x1B"
                             "7a\bb\x1B",
                             20),
            "ab\n");
}

// A sequence that breaks off hides no more than its line.
TEST(LastConsoleLines, WhatBreaksOffHidesNoOtherLine) {
  EXPECT_EQ(LastConsoleLines("\x1B]0;no end\nline\n", 20), "line\n");
  EXPECT_EQ(LastConsoleLines("\x1B[3", 20), "");
  EXPECT_EQ(LastConsoleLines("\x1B]", 20), "");
  EXPECT_EQ(LastConsoleLines(std::string("a\0b\x7F\xFF\n", 6), 20), "ab\x7F\xFF\n");
}

}  // namespace
}  // namespace rum
