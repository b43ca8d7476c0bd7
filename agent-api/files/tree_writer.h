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
// is new and keeps its own mode and time. Other items keep theirs, but no set-user-id.
class TreeWriter {
 public:
  using OnProblem = std::function<void(const std::string& path, const std::string& text)>;

  // `give_away`: what is made belongs to the owner of what it replaces, else of its folder (for
  // root); otherwise to us.
  TreeWriter(Destination destination, bool give_away, OnProblem on_problem);
  ~TreeWriter();  // a file that is not whole goes
  TreeWriter(const TreeWriter&) = delete;
  TreeWriter& operator=(const TreeWriter&) = delete;

  // An item that cannot be made is a problem, and what is in it is left out. An error: no more can
  // be made (the disk is full), or the messages make no tree.
  absl::Status Take(const agent::CopyMessage& message);
  bool whole() const { return started_ && levels_.empty() && !file_.ok() && skipped_ == 0; }

 private:
  struct Level {
    OwnedFd folder;
    std::string path;
    agent::CopyItem item;
    bool made = false;
  };

  absl::Status TakeItem(const agent::CopyItem& item);
  absl::Status TakeData(const std::string& data);
  absl::Status TakeEnd(bool whole);
  absl::Status BeginFolder(const agent::CopyItem& item);
  absl::Status BeginFile(const agent::CopyItem& item);
  absl::Status MakeLink(const agent::CopyItem& item);
  void EndFolder();
  absl::Status EndFile();
  void DropFile();
  // Of the item at `name_` in `parent_`: what is in its place may be replaced.
  absl::Status MayReplace(struct stat* there, bool* is_there) const;
  bool GiveAway(const struct stat* there, uid_t* uid, gid_t* gid) const;
  absl::Status Problem(int error);
  absl::Status Problem(const std::string& text);
  int folder() const { return levels_.empty() ? top_.folder.get() : levels_.back().folder.get(); }

  const Destination top_;
  const bool give_away_;
  const OnProblem on_problem_;
  bool started_ = false;
  std::vector<Level> levels_;
  std::string name_;  // of the present item in folder()
  std::string path_;
  agent::CopyItem item_;
  OwnedFd file_;
  std::string temporary_;  // the file's name until it is whole
  int skipped_ = 0;        // folders that are open in a part that is left out
  bool skips_file_ = false;
};

}  // namespace rum

#endif  // RUM_AGENT_API_FILES_TREE_WRITER_H_
