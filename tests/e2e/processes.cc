#include "tests/e2e/processes.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace rum::e2e {

namespace fs = std::filesystem;

std::vector<pid_t> ProcessesOf(const std::set<std::string>& binaries) {
  std::vector<pid_t> pids;
  std::error_code denied;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const int pid = std::atoi(entry.path().filename().c_str());
    const fs::path binary = fs::read_symlink(entry.path() / "exe", denied);
    if (pid > 0 && binaries.count(binary.filename()) > 0) pids.push_back(pid);
  }
  return pids;
}

std::vector<pid_t> Controllers() {
  const std::vector<pid_t> all = ProcessesOf({"rum-controller"});
  std::vector<pid_t> controllers;
  for (const pid_t pid : all) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    pid_t parent = 0;
    for (std::string word; status >> word;) {
      if (word == "PPid:" && status >> parent) break;
    }
    if (std::find(all.begin(), all.end(), parent) == all.end()) controllers.push_back(pid);
  }
  return controllers;
}

void KillAll(const std::set<std::string>& binaries) {
  // Not until there is none: a client of libvirtd's may start the next one at once.
  const std::vector<pid_t> killed = ProcessesOf(binaries);
  for (pid_t pid : killed) kill(pid, SIGKILL);
  const auto lives = [&](pid_t pid) {
    const std::vector<pid_t> now = ProcessesOf(binaries);
    return std::find(now.begin(), now.end(), pid) != now.end();
  };
  while (std::any_of(killed.begin(), killed.end(), lives)) usleep(1000);
}

long PeakKbOf(const std::string& binary) {
  long most = 0;
  for (const pid_t pid : ProcessesOf({binary})) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    long kb = 0;
    for (std::string word; status >> word;) {
      if (word == "VmHWM:" && status >> kb) most = std::max(most, kb);
    }
  }
  return most;
}

}  // namespace rum::e2e
