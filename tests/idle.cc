#include "tests/idle.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include "tests/eventually.h"

namespace rum {
namespace {

// Longer than any pause between the looks of something that waits by looking again and again.
constexpr std::chrono::milliseconds kBetweenLooks{50};

// Empty: the thread has ended.
std::string ReadAnew(int status) {
  char text[4096];
  const ssize_t size = pread(status, text, sizeof text, 0);
  return size > 0 ? std::string(text, static_cast<size_t>(size)) : "";
}

// How often each has begun to sleep; nullopt: one of them does not sleep now.
std::optional<std::vector<long>> Asleep(const std::vector<int>& statuses) {
  std::vector<long> begun;
  for (const int status : statuses) {
    const std::string text = ReadAnew(status);
    if (text.empty()) continue;
    const ThreadLook look = ReadThreadLook(text);
    if (!look.sleeps) return std::nullopt;
    begun.push_back(look.sleeps_begun);
  }
  return begun;
}

}  // namespace

ThreadLook ReadThreadLook(const std::string& status) {
  ThreadLook look;
  std::istringstream words(status);
  for (std::string word; words >> word;) {
    if (word == "State:" && words >> word) look.sleeps = word == "S";
    if (word == "voluntary_ctxt_switches:") words >> look.sleeps_begun;
  }
  return look;
}

ThreadLook LookAtThread(int tid) {
  std::ifstream status("/proc/self/task/" + std::to_string(tid) + "/status");
  return ReadThreadLook({std::istreambuf_iterator<char>(status), {}});
}

OtherThreads::OtherThreads(const std::string& process) {
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + process + "/task")) {
    if (thread.path().filename() == std::to_string(gettid())) continue;
    const int status = open((thread.path() / "status").c_str(), O_RDONLY | O_CLOEXEC);
    if (status >= 0) statuses_.push_back(status);
  }
}

OtherThreads::~OtherThreads() {
  for (const int status : statuses_) close(status);
}

bool OtherThreads::FallIdle(std::chrono::seconds limit) const {
  return Eventually(
      [this] {
        const std::optional<std::vector<long>> before = Asleep(statuses_);
        if (!before.has_value()) return false;
        std::this_thread::sleep_for(kBetweenLooks);
        return Asleep(statuses_) == before;
      },
      limit);
}

}  // namespace rum
