#include "agent-api/guest/memory.h"

#include <unistd.h>

#include <mutex>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/sysfs.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

// Only movable memory can be taken back.
constexpr char kMovable[] = "online_movable";

std::string MemoryFolder(const std::string& system) { return system + "/memory"; }

std::vector<std::string> OfflineBlocks(const std::string& system) {
  std::vector<std::string> states;
  for (const unsigned block : NumbersIn(MemoryFolder(system), "memory")) {
    const std::string state = absl::StrCat(MemoryFolder(system), "/memory", block, "/state");
    if (ReadAttribute(state) == "offline") states.push_back(state);
  }
  return states;
}

}  // namespace

MemoryUse ReadMemoryUse(const std::string& meminfo) {
  MemoryUse use;
  const std::vector<std::string> lines = absl::StrSplit(ReadFile(meminfo), '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kib = 0;
    if (words.size() < 2 || !absl::SimpleAtoi(words[1], &kib)) continue;
    if (words[0] == "MemTotal:") use.total = kib;
    if (words[0] == "MemAvailable:") use.available = kib;
  }
  return use;
}

uint64_t OfflineMemoryKib(const std::string& system) {
  const uint64_t blocks = OfflineBlocks(system).size();
  if (blocks == 0) return 0;
  uint64_t block_bytes = 0;
  const std::string size = ReadAttribute(MemoryFolder(system) + "/block_size_bytes");
  return absl::SimpleHexAtoi(size, &block_bytes) ? blocks * block_bytes / 1024 : 0;
}

absl::Status BringMemoryOnline(const std::string& system) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  absl::Status status;
  const std::string by_itself = MemoryFolder(system) + "/auto_online_blocks";
  if (access(by_itself.c_str(), F_OK) == 0 && ReadAttribute(by_itself) != kMovable)
    status.Update(WriteAttribute(by_itself, kMovable));
  for (const std::string& state : OfflineBlocks(system)) {
    const absl::Status brought = WriteAttribute(state, kMovable);
    if (!brought.ok() && ReadAttribute(state) == "offline") status.Update(brought);
  }
  return status;
}

}  // namespace rum::guest
