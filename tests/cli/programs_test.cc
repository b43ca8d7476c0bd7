// The programs as they are shipped.
#include <elf.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace rum {
namespace {

// Whether a program of the test's own files names an interpreter, which would load libraries.
bool IsLoaded(std::ifstream& file, const Elf64_Ehdr& head) {
  for (int i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part;
    file.seekg(static_cast<std::streamoff>(head.e_phoff + sizeof part * static_cast<size_t>(i)));
    if (!file.read(reinterpret_cast<char*>(&part), sizeof part)) return true;
    if (part.p_type == PT_INTERP) return true;
  }
  return false;
}

TEST(Programs, ClientAndAgentNeedNoLibraryAndHaveNoFixedAddress) {
  for (const char* name : {"cli/rum", "agent-api/guest/rum-agent"}) {
    SCOPED_TRACE(name);
    std::ifstream file(std::string(std::getenv("TEST_SRCDIR")) + "/" +
                       std::getenv("TEST_WORKSPACE") + "/" + name);
    Elf64_Ehdr head;
    ASSERT_TRUE(file.read(reinterpret_cast<char*>(&head), sizeof head));
    EXPECT_EQ(head.e_type, ET_DYN);
    EXPECT_FALSE(IsLoaded(file, head));
  }
}

}  // namespace
}  // namespace rum
