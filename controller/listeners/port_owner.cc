#include "controller/listeners/port_owner.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace rum {
namespace {

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  std::ostringstream text;
  if (std::ifstream file(path); file) text << file.rdbuf();
  return text.str();
}

bool HasSocket(const fs::path& process, const std::set<std::string>& inodes) {
  std::error_code error;
  for (fs::directory_iterator fd(process / "fd", error), end; !error && fd != end;
       fd.increment(error)) {
    const std::string target = fs::read_symlink(fd->path(), error).string();
    if (!error && target.rfind("socket:[", 0) == 0 &&
        inodes.count(target.substr(8, target.size() - 9)) > 0) {
      return true;
    }
    error.clear();  // one descriptor closed meanwhile
  }
  return false;
}

}  // namespace

std::set<std::string> ListeningInodes(const std::string& table, uint16_t port) {
  std::set<std::string> inodes;
  std::istringstream lines(table);
  std::string line;
  std::getline(lines, line);  // the header
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >>
        inode;
    const size_t colon = local.rfind(':');
    if (state != "0A" || colon == std::string::npos) continue;
    if (std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port) inodes.insert(inode);
  }
  return inodes;
}

std::string PortOwner(uint16_t port) {
  std::set<std::string> inodes = ListeningInodes(Read("/proc/net/tcp"), port);
  inodes.merge(ListeningInodes(Read("/proc/net/tcp6"), port));
  if (inodes.empty()) return "";
  std::error_code error;
  for (fs::directory_iterator process("/proc", error), end; !error && process != end;
       process.increment(error)) {
    const std::string pid = process->path().filename();
    if (!std::isdigit(static_cast<unsigned char>(pid[0])) || !HasSocket(process->path(), inodes))
      continue;
    std::string name = Read(process->path() / "comm");
    while (!name.empty() && name.back() == '\n') name.pop_back();
    return name + " (pid " + pid + ")";
  }
  return "";
}

}  // namespace rum
