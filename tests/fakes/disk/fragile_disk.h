#ifndef RUM_TESTS_FAKES_DISK_FRAGILE_DISK_H_
#define RUM_TESTS_FAKES_DISK_FRAGILE_DISK_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <tuple>

namespace rum {

// What a power cut and a failing device make of the files below a folder, for the process that it
// is linked into: it hears of each system call that changes something there (system_calls.cc).
//
//   FragileDisk disk(folder);                      // what is there now is safe
//   disk.AfterEach([&] { disk.ForEachCut(to, [&] { ... read what is left in `to` ... }); });
//   disk.Fail(2, EIO);                             // the third call from now on, and no other
//
// A file is after a cut as it was synced last, as it is now, or in between, or what is new of it is
// zeros; the names in a folder are as they were when it was synced last, or as they are now. One at
// a time; calls of other processes are seen by their results.
class FragileDisk {
 public:
  explicit FragileDisk(const std::string& folder);
  ~FragileDisk();
  FragileDisk(const FragileDisk&) = delete;
  FragileDisk& operator=(const FragileDisk&) = delete;

  // After each call, and at once. What `look` does to files is not heard of.
  void AfterEach(std::function<void()> look);
  // Leaves the folder at `to` as it would be after a cut now, in each way that a filesystem may
  // choose and that makes a difference, and calls `check`.
  void ForEachCut(const std::string& to, const std::function<void(const std::string& cut)>& check);

  // The nth call from now on fails (0: the next); or none, with a negative number.
  void Fail(int nth, int error);
  // Each call from now on fails until Fail(-1, 0).
  void FailAll(int error);
  int calls() const { return calls_; }
  // The path of the call that was made to fail; empty: none was.
  const std::string& failed() const { return failed_; }

  // For system_calls.cc.
  static bool Watches();
  // kElsewhere: it is not of the folder; else what the call is to fail with, or 0.
  static int Before(const std::string& path);
  static constexpr int kElsewhere = -1;
  static void After();
  static void Synced(int fd);

 private:
  struct Names {
    std::map<std::string, ino_t> entries;
  };
  enum class Choice { kSynced, kNow, kHalf, kZeros };
  struct Cut {
    Choice data = Choice::kSynced;
    Choice names_above = Choice::kSynced;  // of the folder itself
    Choice names_below = Choice::kSynced;  // of those in it
  };
  struct Seen;  // the folder as it is now
  struct Node {
    mode_t mode = 0;  // with its kind
    std::string bytes;
    bool operator<(const Node& other) const {
      return std::tie(mode, bytes) < std::tie(other.mode, other.bytes);
    }
  };
  using Tree = std::map<std::string, Node>;  // by relative path; a folder before what is in it

  void Sync(const std::string& path);
  void SyncAll(const std::string& path);
  void Hold(const std::string& path);
  std::string DataOf(ino_t file, const Seen& now, Choice choice) const;
  void Leave(ino_t node, const Seen& now, const Cut& cut, const std::string& path,
             Tree* tree) const;

  const std::string folder_;
  std::function<void()> look_;
  std::map<ino_t, int> held_;  // descriptors: so that no number is given anew
  std::map<ino_t, std::string> data_;
  std::map<ino_t, Names> names_;
  ino_t top_ = 0;
  int calls_ = 0;
  int fail_at_ = -1;
  bool fail_all_ = false;
  int error_ = 0;
  std::string failed_;
};

}  // namespace rum

#endif  // RUM_TESTS_FAKES_DISK_FRAGILE_DISK_H_
