// A machine whose image comes from a web server, and the cache that it leaves.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/e2e/world.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

// python3's own server, over a folder; it writes a line for each answer.
class WebServer {
 public:
  WebServer(const std::string& folder, std::string log) : port_(FreePort()), log_(std::move(log)) {
    const std::string command = "exec python3 -u -m http.server " + std::to_string(port_) +
                                " --bind 127.0.0.1 --directory '" + folder + "' >'" + log_ +
                                "' 2>&1 </dev/null";
    const char* argv[] = {"sh", "-c", command.c_str(), nullptr};
    EXPECT_EQ(posix_spawnp(&pid_, "sh", nullptr, nullptr, const_cast<char**>(argv), environ), 0);
    while (Text().find("Serving HTTP") == std::string::npos) usleep(10000);
  }
  ~WebServer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::string Url(const std::string& name) const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/" + name;
  }
  int Downloads() const {
    const std::string text = Text();
    int count = 0;
    for (size_t at = 0; (at = text.find("\" 200 ", at)) != std::string::npos; ++at) ++count;
    return count;
  }

 private:
  std::string Text() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }

  const uint16_t port_;
  const std::string log_;
  pid_t pid_ = -1;
};

TEST(Images, AreDownloadedOnceAndKeptWhileADiskStandsOnThem) {
  World world(std::getenv("RUM_TEST_URI"));
  const fs::path image = world.file.image;
  WebServer server(image.parent_path(), world.folder() + "/web.log");
  world.file.image = server.Url(image.filename());
  world.Save();
  const Result up = world.Rum({"up", "-d"});
  ASSERT_EQ(up.exit_status, 0) << up.out << up.err;
  EXPECT_NE(up.err.find("downloading"), std::string::npos) << up.err;
  EXPECT_EQ(world.Guest("hostname"), "dev");
  EXPECT_EQ(server.Downloads(), 1);
  EXPECT_EQ(world.Rum({"apply", "--exit-code"}).exit_status, 0) << "the URL is what was applied";

  // Another machine on the same image.
  const std::string other = world.folder() + "/project/other.rum.toml";
  fs::copy_file(world.folder() + "/project/rum.toml", other);
  const auto rum = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {std::getenv("RUM_BINARY"), "-c", other});
    return e2e::Run(words, world.env());
  };
  const Result second = rum({"up", "-d"});
  EXPECT_EQ(second.exit_status, 0) << second.out << second.err;
  EXPECT_EQ(server.Downloads(), 1);

  const std::string list = world.Rum({"image", "list"}).out;
  const size_t row = list.find('\n') + 1;
  const std::string name = list.substr(row, list.find(' ', row) - row);
  const Result refused = world.Rum({"image", "delete", name});
  EXPECT_EQ(refused.exit_status, 1);
  EXPECT_NE(refused.err.find("a disk stands on it"), std::string::npos) << refused.err;
  EXPECT_EQ(world.Rum({"destroy"}).exit_status, 0);
  EXPECT_EQ(world.Rum({"image", "prune"}).exit_status, 0);
  EXPECT_EQ(world.Rum({"image", "list"}).out, list) << "the other machine stands on it";
  EXPECT_EQ(rum({"destroy"}).exit_status, 0);
  const Result pruned = world.Rum({"image", "prune"});
  EXPECT_NE(pruned.out.find("deleted " + name), std::string::npos) << pruned.out << pruned.err;
  EXPECT_EQ(world.Rum({"image", "list"}).out.find(name), std::string::npos);
}

}  // namespace
}  // namespace rum::e2e
