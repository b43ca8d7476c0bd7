// Which forward is meant, and what a browser gets of it.
#include "cli/forward_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

namespace rum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ForwardFacts Forward(const std::string& bind, uint32_t host, uint32_t guest) {
  ForwardFacts forward;
  forward.set_bind(bind);
  forward.set_host(host);
  forward.set_guest(guest);
  return forward;
}

std::string Url(const ForwardFacts& forward) {
  const auto url = UrlOf(forward);
  return url.ok() ? *url : std::string(url.status().message());
}

TEST(Url, IsMadeOfTheAddressAndTheHostsPort) {
  EXPECT_EQ(Url(Forward("127.0.0.1", 8080, 80)), "http://127.0.0.1:8080/");
  EXPECT_EQ(Url(Forward("", 8080, 80)), "http://127.0.0.1:8080/");
  EXPECT_EQ(Url(Forward("0.0.0.0", 80, 80)), "http://127.0.0.1/");
  EXPECT_EQ(Url(Forward("::", 8080, 80)), "http://[::1]:8080/");
  EXPECT_EQ(Url(Forward("fd00::7", 8080, 80)), "http://[fd00::7]:8080/");
  EXPECT_EQ(Url(Forward("127.0.0.1", 8443, 443)), "https://127.0.0.1:8443/");
  EXPECT_EQ(Url(Forward("127.0.0.1", 443, 8443)), "https://127.0.0.1/");
}

TEST(Url, OfWhatIsNoAddressThereIsNone) {
  for (const char* bind : {"unix:/p/app.sock", "-new-window", "$(reboot)", "127.0.0.1/x", "a b"})
    EXPECT_FALSE(UrlOf(Forward(bind, 8080, 80)).ok()) << bind;
}

TEST(PickForward, ByTheHostsPortElseByTheGuests) {
  const std::vector<ForwardFacts> all = {Forward("127.0.0.1", 8080, 80),
                                         Forward("127.0.0.1", 80, 3000),
                                         Forward("0.0.0.0", 5432, 5432)};
  EXPECT_EQ(PickForward(all, "8080")->guest(), 80u);
  EXPECT_EQ(PickForward(all, "3000")->host(), 80u);
  EXPECT_EQ(PickForward(all, "80")->guest(), 3000u) << "what is typed into a browser";
  EXPECT_EQ(PickForward({all[2]}, "")->host(), 5432u);
}

TEST(PickForward, SaysWhatThereIs) {
  const std::vector<ForwardFacts> all = {Forward("127.0.0.1", 8080, 80), Forward("::1", 9090, 90)};
  const auto why = [&](const std::string& said) {
    return std::string(PickForward(all, said).status().message());
  };
  EXPECT_EQ(why(""), "which one? Say the port: 127.0.0.1:8080 (guest 80), [::1]:9090 (guest 90)");
  EXPECT_THAT(why("8088"), HasSubstr("no forward has port 8088 (did you mean `8080`?)"));
  for (const char* word : {"http", "0", "65536", "-1", "80x"})
    EXPECT_THAT(why(word), HasSubstr("a port is a number")) << word;
  EXPECT_THAT(std::string(PickForward({}, "80").status().message()),
              HasSubstr("rum explain ports"));
}

class Browser : public testing::Test {
 protected:
  Browser() {
    std::string folder = std::string(std::getenv("TEST_TMPDIR")) + "/bin.XXXXXX";
    folder_ = mkdtemp(folder.data());
    for (const char* name : {"xdg-open", "firefox", "w3m"}) {
      std::ofstream(folder_ + "/" + name) << "#!/bin/sh\n";
      chmod((folder_ + "/" + name).c_str(), 0755);
    }
  }
  std::vector<std::string> Words(const char* browser, const char* display = nullptr,
                                 const char* wayland = nullptr) {
    return BrowserWords("http://127.0.0.1:8080/", {browser, display, wayland, folder_.c_str()});
  }
  std::string folder_;
};

TEST_F(Browser, IsTheUsersElseTheDesktops) {
  EXPECT_THAT(Words("firefox"), ElementsAre(folder_ + "/firefox", "http://127.0.0.1:8080/"));
  EXPECT_THAT(Words(nullptr, ":0"), ElementsAre(folder_ + "/xdg-open", "http://127.0.0.1:8080/"));
  EXPECT_THAT(Words("", "", "wayland-0"),
              ElementsAre(folder_ + "/xdg-open", "http://127.0.0.1:8080/"));
  EXPECT_THAT(Words(nullptr), IsEmpty());
  EXPECT_THAT(Words("", ""), IsEmpty());
}

TEST_F(Browser, OfSeveralTheFirstThatIsThereWithItsWords) {
  EXPECT_THAT(Words("chromium:w3m -N %s -o x=%s:firefox"),
              ElementsAre(folder_ + "/w3m", "-N", "http://127.0.0.1:8080/", "-o",
                          "x=http://127.0.0.1:8080/"));
  EXPECT_THAT(Words("nothing"), IsEmpty());
}

TEST_F(Browser, NoShellReadsItsWords) {
  EXPECT_THAT(Words("firefox $(reboot) ;"),
              ElementsAre(folder_ + "/firefox", "$(reboot)", ";", "http://127.0.0.1:8080/"));
}

}  // namespace
}  // namespace rum
