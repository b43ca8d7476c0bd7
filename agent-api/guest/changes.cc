#include "agent-api/guest/changes.h"

#include <fcntl.h>
#include <google/protobuf/descriptor.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "agent-api/guest/cards.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

using std::chrono::milliseconds;

// A tool that edits a group replaces several files, one after the other.
constexpr int kQuietMs = 20;
// Whoever changes things without end is looked at ten times a second.
constexpr milliseconds kBetweenLooks{100};
constexpr uint32_t kInFolder =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR;

agent::Observation WhatMatters(const agent::Observation& observation) {
  agent::Observation matters = observation;
  matters.clear_cards();
  matters.clear_runs();
  if (matters.has_resources()) {  // the rest moves all the time
    matters.mutable_resources()->clear_memory_kib();
    matters.mutable_resources()->clear_available_kib();
  }
  for (const agent::ScriptRun& run : observation.runs()) {
    if (run.ended_ms() != 0) *matters.add_runs() = run;
  }
  return matters;
}

// The kernel tells of devices that come, go, and change in a group of this family; -1: it does not.
int OpenUevents() {
  const int fd =
      socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
  sockaddr_nl group{};
  group.nl_family = AF_NETLINK;
  group.nl_groups = 1;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&group), sizeof group) == 0) return fd;
  close(fd);
  return -1;
}

// Takes what was told. True: something of it was of a CPU or a block of memory, or was lost.
bool DrainUevents(int fd) {
  bool sign = false;
  char buffer[8192];
  ssize_t size = 0;
  while ((size = recv(fd, buffer, sizeof buffer - 1, 0)) > 0 || (size < 0 && errno == ENOBUFS)) {
    buffer[std::max<ssize_t>(size, 0)] = '\0';
    const std::string what = buffer;  // "online@/devices/system/cpu/cpu1", then its properties
    sign = sign || size < 0 || what.find("@/devices/system/cpu/") != std::string::npos ||
           what.find("@/devices/system/memory/") != std::string::npos;
  }
  return sign;
}

// That something changed.
struct Sign {
  std::chrono::steady_clock::time_point came = std::chrono::steady_clock::now();
  int64_t at_ms = absl::ToUnixMillis(absl::Now());  // as it is told
};

}  // namespace

std::vector<std::string> Differences(const agent::Observation& told,
                                     const agent::Observation& now) {
  const agent::Observation before = WhatMatters(told);
  const agent::Observation after = WhatMatters(now);
  std::vector<std::string> names;
  const google::protobuf::Descriptor* type = agent::Observation::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = type->field(i);
    // One field at a time, as bytes.
    agent::Observation one = before;
    agent::Observation other = after;
    agent::Observation rest_of_one, rest_of_other;
    one.GetReflection()->SwapFields(&one, &rest_of_one, {field});
    other.GetReflection()->SwapFields(&other, &rest_of_other, {field});
    if (rest_of_one.SerializeAsString() != rest_of_other.SerializeAsString()) {
      names.push_back(field->name());
    }
  }
  return names;
}

Changes::Changes(Observer observe, std::vector<std::string> files)
    : observe_(std::move(observe)),
      files_(std::move(files)),
      inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      hostname_(open("/proc/sys/kernel/hostname", O_RDONLY | O_CLOEXEC)),
      mounts_(open("/proc/self/mounts", O_RDONLY | O_CLOEXEC)),
      uevents_(OpenUevents()),
      links_(ListenToLinks()),
      thread_([this] { Watch(); }) {}

Changes::~Changes() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stopping_ = true;
  }
  Notice();
  thread_.join();
  for (const int fd : {inotify_, wake_, hostname_, mounts_, uevents_, links_}) {
    if (fd >= 0) close(fd);
  }
}

void Changes::Told(const agent::ObserveRequest& request, const agent::Observation& answer) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const bool other_user = !asked_ || request.user() != request_.user();
  request_ = request;
  told_ = answer;
  asked_ = true;
  if (other_user) Notice();
}

void Changes::Notice() {
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof one);
}

std::string Changes::User() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return request_.user();
}

uint64_t Changes::count() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return count_;
}

bool Changes::Next(milliseconds patience, uint64_t* seen, agent::Changed* change) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!changed_.wait_for(lock, patience, [&] { return count_ != *seen; })) return false;
  *seen = count_;
  *change = last_;
  return true;
}

void Changes::Watch() {
  pollfd fds[] = {{wake_, POLLIN, 0},    {inotify_, POLLIN, 0}, {hostname_, POLLPRI, 0},
                  {mounts_, POLLPRI, 0}, {uevents_, POLLIN, 0}, {links_, POLLIN, 0}};
  auto looked = std::chrono::steady_clock::now() - kBetweenLooks;
  std::optional<Sign> first_sign;
  for (;;) {
    const bool moved = WatchFiles();
    if (moved && !first_sign.has_value()) first_sign.emplace();
    // After a sign: until it is quiet, and not too soon after the last look.
    const auto since =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - looked);
    const int wait = std::max(kQuietMs, static_cast<int>((kBetweenLooks - since).count()));
    const int ready = poll(fds, std::size(fds), first_sign.has_value() ? wait : -1);
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      if (stopping_) return;
    }
    if (ready < 0) continue;
    bool sign = false;
    uint64_t noticed = 0;
    if (fds[0].revents != 0) sign = read(wake_, &noticed, sizeof noticed) > 0 || sign;
    if (fds[1].revents != 0) sign = Drain() || sign;
    if (fds[4].revents != 0) sign = DrainUevents(uevents_) || sign;
    if (fds[5].revents != 0) sign = DrainCards() || sign;
    for (const int i : {2, 3}) sign = (fds[i].revents & (POLLPRI | POLLERR)) != 0 || sign;
    if (sign && !first_sign.has_value()) first_sign.emplace();
    const auto now = std::chrono::steady_clock::now();
    const bool endless = first_sign.has_value() && now - first_sign->came > kBetweenLooks;
    if (!first_sign.has_value() || (sign && !endless) || now - looked < kBetweenLooks) continue;
    looked = now;
    Compare(std::exchange(first_sign, std::nullopt)->at_ms);
  }
}

bool Changes::DrainCards() {
  std::set<std::string> macs;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    macs.insert(request_.cards().begin(), request_.cards().end());
  }
  return DrainLinks(links_, macs);
}

bool Changes::Drain() {
  bool sign = false;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t size = 0; (size = read(inotify_, buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      const std::string name = event->len > 0 ? event->name : "";
      const auto names = names_.find(event->wd);
      sign = sign || (event->mask & IN_Q_OVERFLOW) != 0 ||
             (names != names_.end() && names->second.count(name) > 0);
    }
  }
  return sign;
}

// Again and again: a folder may have been made, or replaced, since, and a link exchanged. What was
// told of those that are no longer watched is lost, and so their going is a sign itself.
bool Changes::WatchFiles() {
  const std::map<int, std::set<std::string>> before = std::exchange(names_, {});
  for (const char* path :
       {"/etc/group", "/etc/passwd", "/etc/hostname", "/etc/hosts", "/etc/fstab"}) {
    WatchFile(path, kInFolder);
  }
  for (const std::string& path : files_) WatchFile(path, kInFolder);
  std::string user;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    user = request_.user();
  }
  const std::optional<Account> account = user.empty() ? std::nullopt : FindAccount(user);
  if (account.has_value()) {
    WatchFile(account->home + "/.ssh", kInFolder & ~IN_CLOSE_WRITE);
    WatchFile(account->home + "/.ssh/authorized_keys", kInFolder);
  }
  for (const auto& [folder, names] : before) {
    if (names_.count(folder) == 0) inotify_rm_watch(inotify_, folder);
  }
  return names_ != before;
}

// The link and what it leads to: either may be exchanged.
void Changes::WatchFile(const std::string& path, uint32_t events) {
  std::filesystem::path place = path;
  for (int links = 0; links < kMostLinks; ++links) {
    const int folder =
        inotify_add_watch(inotify_, place.parent_path().c_str(), events | IN_MASK_ADD);
    if (folder >= 0) names_[folder].insert(place.filename().string());
    std::error_code no_link;
    const std::filesystem::path to = std::filesystem::read_symlink(place, no_link);
    if (no_link) return;
    place = to.is_absolute() ? to : place.parent_path() / to;
  }
}

void Changes::Compare(int64_t at_ms) {
  agent::ObserveRequest request;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!asked_) return;  // whoever comes asks first
    request = request_;
  }
  const agent::Observation now = observe_(request);
  const std::lock_guard<std::mutex> guard(mutex_);
  const std::vector<std::string> names = Differences(told_, now);
  if (names.empty()) return;
  told_ = now;
  last_.Clear();
  for (const std::string& name : names) last_.add_what(name);
  last_.set_at_ms(at_ms);
  ++count_;
  changed_.notify_all();
}

}  // namespace rum::guest
