#ifndef RUM_AGENT_API_GUEST_CHANGES_H_
#define RUM_AGENT_API_GUEST_CHANGES_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/agent.pb.h"

namespace rum::guest {

// Notices when an observation would be answered differently than the host was told last: by poll(2)
// on the kernel's hostname, the mount table and its words on CPUs, memory and the machine's cards,
// by inotify(7) on the folders of passwd, group, hostname, hosts, fstab and the user's
// authorized_keys, which tools replace, and of what these link to, and by being told of the ends of
// scripts. What changes nothing of the answer (other users' groups, say) is nobody's news, and many
// changes at once are one. Thread-safe; costs nothing while nothing happens.
class Changes {
 public:
  using Observer = std::function<agent::Observation(const agent::ObserveRequest&)>;

  // `files`: more that tell of what is observed.
  explicit Changes(Observer observe, std::vector<std::string> files = {});
  ~Changes();
  Changes(const Changes&) = delete;
  Changes& operator=(const Changes&) = delete;

  // The host was given this answer.
  void Told(const agent::ObserveRequest& request, const agent::Observation& answer);
  // Names whom the host asked about last; empty: nobody.
  std::string User() const;
  // Something happened that no file tells of.
  void Notice();

  // How many changes there were. Next() waits up to `patience` for one after `*seen`, which
  // follows.
  uint64_t count() const;
  bool Next(std::chrono::milliseconds patience, uint64_t* seen, agent::Changed* change);

 private:
  void Watch();
  bool Drain();       // true: an event of something that may matter
  bool DrainCards();  // the same of a card that the host asked about
  bool WatchFiles();  // also those of the user who was asked about last; true: others than before
  void WatchFile(const std::string& path, uint32_t events);
  void Compare(int64_t at_ms);

  const Observer observe_;
  const std::vector<std::string> files_;
  const int inotify_;
  const int wake_;      // eventfd
  const int hostname_;  // /proc/sys/kernel/hostname, -1: none
  const int mounts_;    // /proc/self/mounts, -1: none
  const int uevents_;   // netlink: CPUs and memory come and go; -1: nobody tells
  const int links_;     // the same of cards and their addresses
  // The thread's own: of each folder's watch, the names in it that matter.
  std::map<int, std::set<std::string>> names_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  agent::ObserveRequest request_;
  agent::Observation told_;
  bool asked_ = false;
  bool stopping_ = false;
  uint64_t count_ = 0;
  agent::Changed last_;
  std::thread thread_;
};

// The fields of an observation in which `now` differs in a way that matters to the host: neither
// addresses nor runs that have not ended count.
std::vector<std::string> Differences(const agent::Observation& told, const agent::Observation& now);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_CHANGES_H_
