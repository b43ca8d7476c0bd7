#ifndef RUM_CONTROLLER_FLEET_FILE_WATCH_H_
#define RUM_CONTROLLER_FLEET_FILE_WATCH_H_

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "controller/fleet/file_places.h"

struct inotify_event;

namespace rum {

// Tells when files change, also by being replaced, and where they are links, by what they lead to.
// Watches folders, since editors rename; one thread for all. Tells of a file once it has been quiet
// for 100 ms, and after 1 s at the latest; of one that somebody has open and writes, when it is
// closed, and after 5 s at the latest. What the kernel does not tell of (a folder above was
// exchanged, the file system is another machine's, watches are used up) is looked for every 2 s.
class FileWatch {
 public:
  // `on_change` gets the path as it was given to Add, on the watch's own thread. `listens` false:
  // as where the kernel gives no watches.
  explicit FileWatch(std::function<void(const std::string& path)> on_change, bool listens = true);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // `path` is absolute. False: the kernel does not tell of it now, for want of its folder or of
  // watches; adding it again tries again, and meanwhile it is looked at every 2 s. Of one that is
  // watched, again does nothing.
  bool Add(const std::string& path);
  void Remove(const std::string& path);
  // Whether somebody is in the middle of writing it, so that what was just read may be the half of
  // it. Told of when that ends; after 5 s it is false, as the half is all there is.
  bool BeingWritten(const std::string& path);

 private:
  struct Pending {
    absl::Time first;
    absl::Time last;
    absl::Time writing_since = absl::InfiniteFuture();
    bool writing() const { return writing_since != absl::InfiniteFuture(); }
    absl::Time due() const;
  };
  // What the kernel's word of a name in a watched folder is about.
  struct Ear {
    std::string path;  // as it was given to Add
    FilePlace place;
    auto operator<=>(const Ear& other) const {
      return std::tie(path, place.folder, place.name) <=>
             std::tie(other.path, other.place.folder, other.place.name);
    }
    bool operator==(const Ear&) const = default;
  };
  struct Watched {
    std::set<std::pair<int, Ear>> ears;       // with the watch descriptor of their folder
    std::map<std::string, FolderId> folders;  // of its places, as they were watched
    bool told = false;                        // the kernel tells of all of it
    FileLook seen;
    absl::Time read_anyway_until = absl::InfinitePast();
  };

  void Watch();
  void Wake();
  // All below need the lock.
  void Read();
  void Hear(const inotify_event& event, absl::Time now);
  void HearOf(const Ear& ear, uint32_t mask, absl::Time now);
  Pending& Mark(const std::string& path, absl::Time now);
  void Settle(const std::string& path, Watched* watched);
  void Forget(int descriptor, const Ear& ear);
  void LookAround(absl::Time now);
  std::vector<std::string> TakeDue(absl::Time now);
  int WaitMs(absl::Time now) const;  // -1: for ever

  const std::function<void(const std::string& path)> on_change_;
  const int inotify_;
  const int wake_;  // eventfd
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::map<std::string, Watched> files_;
  std::map<int, std::set<Ear>> ears_;       // by watch descriptor
  std::map<std::string, Pending> pending_;  // by path
  absl::Time next_look_ = absl::InfinitePast();
  std::thread thread_;
};

}  // namespace rum

#endif  // RUM_CONTROLLER_FLEET_FILE_WATCH_H_
