#include "agent-api/guest/shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/agent-api/guest/folder.h"

namespace rum::guest {
namespace {

using testing::HasSubstr;

// A tmpfs may have any name, as a share has a tag.
const std::set<std::string> kType = {"tmpfs"};

// What this test mounts is seen by nobody else.
class Shares : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  }
  void SetUp() override {
    std::filesystem::create_directory(target_);
    ASSERT_EQ(mount("rum-share", target_.c_str(), "tmpfs", 0, nullptr), 0);
  }
  void TearDown() override {
    if (other_ > 0) {
      kill(other_, SIGKILL);
      waitpid(other_, nullptr, 0);
    }
    umount2(target_.c_str(), MNT_DETACH);
  }
  agent::ShareState Look() { return ObserveShares({"rum-share"}, kType).leaving(0); }
  // A process that does `work` and then stays.
  void Other(const std::function<bool()>& work) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    other_ = fork();
    if (other_ == 0) {
      const bool done = work();
      if (write(ready[1], done ? "y" : "n", 1) == 1) pause();
      _exit(1);
    }
    char done = 'n';
    ASSERT_EQ(read(ready[0], &done, 1), 1);
    ASSERT_EQ(done, 'y');
    close(ready[0]), close(ready[1]);
  }

  const Folder folder_;
  const std::string target_ = folder_ / "shared";
  pid_t other_ = 0;
};

TEST_F(Shares, OthersMountsAreNotIdle) {
  const agent::ShareState state = Look();
  EXPECT_EQ(state.tag(), "rum-share");
  EXPECT_EQ(state.used(), "mounted at " + target_);
  EXPECT_FALSE(state.idle()) << "rum did not mount it";
  umount2(target_.c_str(), 0);
  EXPECT_EQ(Look().used(), "");
  EXPECT_FALSE(Look().idle());
}

TEST_F(Shares, SayWhoIsInThem) {
  Other([&] { return chdir(target_.c_str()) == 0; });
  EXPECT_THAT(Look().used(), HasSubstr(absl::StrCat("in use by pid ", other_)));
}

TEST_F(Shares, AreAContainersTooWhoseMountsStayWhenOursGo) {
  Other([&] {
    return unshare(CLONE_NEWNS) == 0 &&
           mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  });
  const std::string by = absl::StrCat("mounted where pid ", other_, " (shares_test) runs");
  EXPECT_THAT(Look().used(), HasSubstr(by));
  ASSERT_EQ(umount2(target_.c_str(), 0), 0);
  EXPECT_EQ(Look().used(), by);
  EXPECT_FALSE(Look().idle());
}

TEST_F(Shares, AreNotAServicesWhoseMountsGoWithOurs) {
  ASSERT_EQ(mount(nullptr, target_.c_str(), nullptr, MS_SHARED, nullptr), 0);
  Other([&] {
    return unshare(CLONE_NEWNS) == 0 &&
           mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0;
  });
  EXPECT_EQ(Look().used(), "mounted at " + target_);
}

TEST_F(Shares, ThatAreLostAreTakenOutOfTheTreeAlsoFromUnderWhoIsInThem) {
  Other([&] { return chdir(target_.c_str()) == 0; });
  ASSERT_NE(umount2(target_.c_str(), 0), 0);
  ASSERT_EQ(errno, EBUSY);
  DropLostShares({"another", "rum-share"}, kType);
  EXPECT_EQ(Look().used(), "");
}

TEST_F(Shares, AreToldByTheirTypesAlone) {
  EXPECT_EQ(ObserveShares({"rum-share"}).leaving(0).used(), "") << "a tmpfs of that name is none";
  DropLostShares({"rum-share"});
  EXPECT_NE(Look().used(), "");
}

TEST(Kernel, HasWhatIsLoadedAndNotWhatNobodyKnows) {
  EXPECT_TRUE(KernelHas("proc"));
  EXPECT_FALSE(KernelHas("roc"));
  EXPECT_FALSE(KernelHas("no-such-filesystem"));
}

}  // namespace
}  // namespace rum::guest
