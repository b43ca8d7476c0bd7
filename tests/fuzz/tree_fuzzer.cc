// Any messages as a tree that somebody sends: nothing outside of its folder is touched, and the
// writer is left without a hold on anything.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "agent-api/files/tree_writer.h"

namespace {

namespace fs = std::filesystem;

constexpr char kSecret[] = "not yours";

// A jail with a target, and beside it what must not be touched; links lead out of the target.
class Jail {
 public:
  Jail() {
    std::string name = (fs::temp_directory_path() / "tree-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    folder_ = name;
    fs::create_directories(folder_ / "outside/folder");
    std::ofstream(folder_ / "outside/file") << kSecret;
    Mark("outside/file");
    Mark("outside/folder");
    Mark("outside");
  }
  ~Jail() { fs::remove_all(folder_); }

  // As somebody in a guest prepares it.
  fs::path FreshTarget() const {
    const fs::path target = folder_ / "target";
    // Its folders may have any mode by now.
    std::error_code none;
    for (auto entry = fs::recursive_directory_iterator(target, none);
         !none && entry != fs::recursive_directory_iterator(); entry.increment(none)) {
      if (entry->is_directory() && !entry->is_symlink()) chmod(entry->path().c_str(), 0700);
    }
    fs::remove_all(target);
    fs::create_directories(target / "a");
    fs::create_symlink("../outside", target / "l");
    fs::create_symlink("../../outside/file", target / "a/l");
    std::ofstream(target / "f") << "old";
    return target;
  }
  // What is outside is as it was.
  void Check() const {
    std::string text;
    std::getline(std::ifstream(folder_ / "outside/file"), text);
    bool same = text == kSecret && fs::is_empty(folder_ / "outside/folder");
    for (const char* path : {"outside/file", "outside/folder", "outside"}) {
      struct stat info {};
      same = same && lstat((folder_ / path).c_str(), &info) == 0 && info.st_mtim.tv_sec == 5 &&
             info.st_nlink == (S_ISDIR(info.st_mode) ? info.st_nlink : 1);
    }
    for (const auto& entry : fs::directory_iterator(folder_)) {
      same = same && (entry.path().filename() == "outside" || entry.path().filename() == "target");
    }
    if (!same) std::abort();
  }

 private:
  void Mark(const char* path) const {
    const timespec times[2] = {{5, 0}, {5, 0}};
    if (utimensat(AT_FDCWD, (folder_ / path).c_str(), times, 0) != 0) std::abort();
  }

  fs::path folder_;
};

int OpenDescriptors() {
  return static_cast<int>(std::distance(fs::directory_iterator("/proc/self/fd"), {}));
}

void Write(const std::string& bytes, bool resume, const fs::path& target) {
  rum::Destination destination;
  destination.folder = rum::OwnedFd(open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  destination.name = bytes.size() % 3 == 0 ? "." : "new";
  destination.path = target;
  rum::TreeWriter writer(std::move(destination), {.give_away = geteuid() == 0, .resume = resume},
                         [](const std::string&, const std::string&) {});
  // Each message after its size in one byte.
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = static_cast<unsigned char>(bytes[at]);
    rum::agent::CopyMessage message;
    if (message.ParseFromString(bytes.substr(at + 1, size))) {
      if (message.has_offer()) {
        (void)writer.Answer(message.offer());
      } else if (!writer.Take(message).ok()) {
        return;
      }
    }
    at += 1 + size;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const jail = new Jail;
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const fs::path target = jail->FreshTarget();
  const int before = OpenDescriptors();
  Write(bytes, data[0] % 2 == 1, target);
  if (OpenDescriptors() != before) std::abort();
  jail->Check();
  return 0;
}
