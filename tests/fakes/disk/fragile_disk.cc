#include "tests/fakes/disk/fragile_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

std::atomic<FragileDisk*> present = nullptr;
std::recursive_mutex calls_lock;
// What the test itself does to files meanwhile is none of the tested program's.
thread_local bool aside = false;

class Aside {
 public:
  Aside() : before_(std::exchange(aside, true)) {}
  ~Aside() { aside = before_; }

 private:
  const bool before_;
};

ino_t NumberOf(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Makes the tree of files at `to`.
template <typename Tree>
void Make(const Tree& tree, const std::string& to) {
  fs::remove_all(to);
  for (const auto& [path, node] : tree) {
    const std::string place = to + path;
    if (S_ISDIR(node.mode)) {
      fs::create_directory(place);
    } else {
      std::ofstream(place, std::ios::binary) << node.bytes;
    }
    chmod(place.c_str(), node.mode & 07777);
  }
}

std::string PathOf(int fd) {
  std::error_code none;
  return fs::read_symlink(absl::StrCat("/proc/self/fd/", fd), none).string();
}

}  // namespace

struct FragileDisk::Seen {
  std::map<ino_t, std::string> paths;
  std::map<ino_t, Names> names;

  explicit Seen(const std::string& folder) {
    paths[NumberOf(folder)] = folder;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string path = entry.path();
      names[NumberOf(folder)].entries[entry.path().filename()] = NumberOf(path);
      if (entry.is_directory()) {
        Seen below(path);
        paths.merge(below.paths);
        names.merge(below.names);
      } else {
        paths[NumberOf(path)] = path;
      }
    }
  }
};

FragileDisk::FragileDisk(const std::string& folder) : folder_(fs::canonical(folder)) {
  const Aside guard;
  top_ = NumberOf(folder_);
  SyncAll(folder_);
  const std::lock_guard<std::recursive_mutex> lock(calls_lock);
  if (present != nullptr) std::abort();
  present = this;
}

FragileDisk::~FragileDisk() {
  const std::lock_guard<std::recursive_mutex> lock(calls_lock);
  const Aside guard;
  present = nullptr;
  for (const auto& [number, fd] : held_) close(fd);
}

void FragileDisk::AfterEach(std::function<void()> look) {
  look_ = std::move(look);
  const Aside guard;
  look_();
}

void FragileDisk::Fail(int nth, int error) {
  fail_at_ = nth < 0 ? -1 : calls_ + nth;
  fail_all_ = false;
  error_ = error;
  failed_.clear();
}

void FragileDisk::FailAll(int error) {
  fail_all_ = true;
  error_ = error;
}

bool FragileDisk::Watches() { return !aside && present != nullptr; }

int FragileDisk::Before(const std::string& path) {
  const std::lock_guard<std::recursive_mutex> lock(calls_lock);
  const Aside guard;
  FragileDisk* const disk = present;
  if (disk == nullptr) return kElsewhere;
  const std::string whole = fs::weakly_canonical(path).string();
  if (!absl::StartsWith(whole, disk->folder_ + "/") && whole != disk->folder_) return kElsewhere;
  const int number = disk->calls_++;
  if (!disk->fail_all_ && number != disk->fail_at_) return 0;
  disk->failed_ = whole;
  return disk->error_;
}

void FragileDisk::After() {
  const std::lock_guard<std::recursive_mutex> lock(calls_lock);
  const Aside guard;
  FragileDisk* const disk = present;
  if (disk != nullptr && disk->look_) disk->look_();
}

void FragileDisk::Synced(int fd) {
  const std::lock_guard<std::recursive_mutex> lock(calls_lock);
  const Aside guard;
  FragileDisk* const disk = present;
  if (disk != nullptr) disk->Sync(PathOf(fd));
}

void FragileDisk::Hold(const std::string& path) {
  const ino_t number = NumberOf(path);
  if (number == 0 || held_.count(number) > 0) return;
  const int fd = open(path.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0) held_[number] = fd;
}

void FragileDisk::Sync(const std::string& path) {
  if (!absl::StartsWith(path, folder_)) return;
  Hold(path);
  if (!fs::is_directory(path)) {
    data_[NumberOf(path)] = BytesOf(path);
    return;
  }
  Names& names = names_[NumberOf(path)];
  names.entries.clear();
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    Hold(entry.path());
    names.entries[entry.path().filename()] = NumberOf(entry.path());
  }
}

void FragileDisk::SyncAll(const std::string& path) {
  Sync(path);
  if (!fs::is_directory(path)) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) SyncAll(entry.path());
}

std::string FragileDisk::DataOf(ino_t file, const Seen& now, Choice choice) const {
  const auto safe = data_.find(file);
  const std::string synced = safe == data_.end() ? "" : safe->second;
  if (choice == Choice::kSynced) return synced;
  const auto named = now.paths.find(file);
  const auto held = held_.find(file);
  std::string bytes;
  if (named != now.paths.end()) {
    bytes = BytesOf(named->second);
  } else if (held != held_.end()) {
    bytes = BytesOf(absl::StrCat("/proc/self/fd/", held->second));
  }
  if (choice == Choice::kNow || bytes == synced) return bytes;
  if (choice == Choice::kZeros) {
    return synced.substr(0, bytes.size()) +
           std::string(bytes.size() - std::min(bytes.size(), synced.size()), '\0');
  }
  return bytes.substr(0, (bytes.size() + std::min(bytes.size(), synced.size())) / 2);
}

void FragileDisk::Leave(ino_t node, const Seen& now, const Cut& cut, const std::string& path,
                        Tree* tree) const {
  const auto there = now.paths.find(node);
  const auto held = held_.find(node);
  struct stat info {};
  const bool known = there != now.paths.end()
                         ? lstat(there->second.c_str(), &info) == 0
                         : held != held_.end() && fstat(held->second, &info) == 0;
  if (!known || (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))) return;
  (*tree)[path] = {info.st_mode, S_ISREG(info.st_mode) ? DataOf(node, now, cut.data) : ""};
  if (S_ISREG(info.st_mode)) return;
  const Choice choice = path.empty() ? cut.names_above : cut.names_below;
  const auto& from = choice == Choice::kNow ? now.names : names_;
  const auto names = from.find(node);
  if (names == from.end()) return;
  for (const auto& [name, child] : names->second.entries) {
    Leave(child, now, cut, absl::StrCat(path, "/", name), tree);
  }
}

void FragileDisk::ForEachCut(const std::string& to,
                             const std::function<void(const std::string& cut)>& check) {
  const Aside guard;
  const Seen now(folder_);
  std::set<Tree> trees;
  for (const Choice data : {Choice::kSynced, Choice::kNow, Choice::kHalf, Choice::kZeros}) {
    for (const Choice above : {Choice::kSynced, Choice::kNow}) {
      for (const Choice below : {Choice::kSynced, Choice::kNow}) {
        Tree tree;
        Leave(top_, now, {data, above, below}, "", &tree);
        if (!trees.insert(tree).second) continue;
        Make(tree, to);
        check(absl::StrCat("call ", calls_, ", data ", static_cast<int>(data), ", names ",
                           static_cast<int>(above), static_cast<int>(below)));
      }
    }
  }
  fs::remove_all(to);
}

}  // namespace rum
