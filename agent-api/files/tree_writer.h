#ifndef RUM_AGENT_API_FILES_TREE_WRITER_H_
#define RUM_AGENT_API_FILES_TREE_WRITER_H_

#include <sys/stat.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"
#include "agent-api/files/destination.h"
#include "agent-api/files/owned_fd.h"

namespace rum {

// Makes the tree that messages tell of (see CopyItem), below its destination and nowhere else: a
// name is one name, and a link that is in the way of a folder is never followed. A file or link
// takes the place of what was there in one step, when it is whole; a folder that is there gets what
// is new and keeps its own mode and time. A folder that breaks off has the time and mode that it
// would have whole, and is known again by them. Other items keep theirs, but no set-user-id.
//
// What has arrived of a file that does not get whole goes, or, to resume it, stays beside its place
// under a name of its own (".rum-cp-" and hex digits) until it is whole or copied again.
class TreeWriter {
 public:
  using OnProblem = std::function<void(const std::string& path, const std::string& text)>;

  struct Options {
    // What is made belongs to the owner of what it replaces, else of its folder (for root);
    // otherwise to us.
    bool give_away = false;
    bool resume = false;
  };

  TreeWriter(Destination destination, Options options, OnProblem on_problem);
  ~TreeWriter();
  TreeWriter(const TreeWriter&) = delete;
  TreeWriter& operator=(const TreeWriter&) = delete;

  // An item that cannot be made is a problem, and what is in it is left out. An error: no more can
  // be made (the disk is full), or the messages make no tree.
  absl::Status Take(const agent::CopyMessage& message);
  // What is there of the items that come next in the folder that is open, or of the first one.
  agent::CopyHave Answer(const agent::CopyOffer& offer) const;
  bool whole() const { return started_ && levels_.empty() && !file_.ok() && skipped_ == 0; }

 private:
  struct Level {
    OwnedFd folder;
    std::string path;
    agent::CopyItem item;
    bool gets_mode = false;  // and time, of the item
  };

  absl::Status TakeItem(const agent::CopyItem& item);
  absl::Status TakeData(const std::string& data);
  absl::Status TakeEnd(bool whole);
  absl::Status BeginFolder(const agent::CopyItem& item);
  absl::Status BeginFile(const agent::CopyItem& item);
  absl::Status OpenPart(uint64_t offset);
  absl::Status MakeLink(const agent::CopyItem& item);
  static bool IsAsTold(int fd, const agent::CopyItem& item);
  void EndFolder();
  absl::Status EndFile();
  void DropFile();
  void RemovePart() const;
  void LeaveFile();  // it broke off
  // Returns Ok if what is in the place of the item, `name_` in `parent_`, may be replaced.
  absl::Status MayReplace(struct stat* there, bool* is_there) const;
  bool GiveAway(const struct stat* there, uid_t* uid, gid_t* gid) const;
  absl::Status Problem(int error);
  absl::Status Problem(const std::string& text);
  int folder() const { return levels_.empty() ? top_.folder.get() : levels_.back().folder.get(); }

  const Destination top_;
  const Options options_;
  const OnProblem on_problem_;
  bool started_ = false;
  std::vector<Level> levels_;
  std::string name_;  // of the present item in folder()
  std::string path_;
  agent::CopyItem item_;
  OwnedFd file_;
  std::string temporary_;  // the file's name until it is whole
  uint64_t arrived_ = 0;   // of the file, bytes
  int skipped_ = 0;        // folders that are open in a part that is left out
  bool skips_file_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FILES_TREE_WRITER_H_
