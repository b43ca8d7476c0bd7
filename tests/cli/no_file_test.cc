#include "cli/no_file.h"

#include <gtest/gtest.h>

namespace rum {
namespace {

TEST(NoFileText, ProposesInit) {
  EXPECT_EQ(NoFileText({"rum.toml", {}, "", 0}),
            "there is no rum.toml here, and no machine was made from it: `rum init` writes a first "
            "one");
  EXPECT_EQ(NoFileText({"my dev.toml", {}, "", 0}),
            "my dev.toml does not exist, and no machine was made from it: `rum init -f 'my "
            "dev.toml'` writes a first one");
}

TEST(NoFileText, NamesWhatMayHaveBeenMeant) {
  EXPECT_EQ(NoFileText({"rum.toml", {"a.rum.toml", "b c.rum.toml"}, "../../rum.toml", 3}),
            "there is no rum.toml here, and no machine was made from it: `rum init` writes a first "
            "one\n"
            "  here is a.rum.toml: `rum -c a.rum.toml COMMAND`\n"
            "  here is b c.rum.toml: `rum -c 'b c.rum.toml' COMMAND`\n"
            "  above is ../../rum.toml: `rum -c ../../rum.toml COMMAND`\n"
            "  `rum list` shows your 3 machines, `rum -m NAME COMMAND` does without a file");
  EXPECT_NE(NoFileText({"x.toml", {"rum.toml"}, "", 0}).find("here is rum.toml: `rum COMMAND`"),
            std::string::npos);
  EXPECT_NE(NoFileText({"rum.toml", {}, "", 1}).find("shows your machine,"), std::string::npos);
}

}  // namespace
}  // namespace rum
