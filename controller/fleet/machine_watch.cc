#include <algorithm>

#include "agent-api/steady_now.h"
#include "controller/fleet/machine.h"

namespace rum {
namespace {

// How soon a watcher that went away is noticed while nothing happens.
constexpr absl::Duration kLookForWatcher = absl::Seconds(1);

}  // namespace

EventSink Machine::Told(const EventSink& sink, StatusFeed::Clock::time_point read_at) {
  EventSink told = sink;
  told.report = [this, read_at, inner = sink.report](const MachineStatus& status,
                                                     const MachineRecord& record) {
    feed_.Publish(WithNotes(status, record), read_at);
    feed_.PublishEvents(record);
    if (inner) inner(status, record);
  };
  return told;
}

void Machine::Remember(const std::map<std::string, std::string>& errors) {
  std::lock_guard<std::mutex> lock(mutex_);
  failures_ = {errors, 0};
}

Failures Machine::RememberedFailures() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failures_;
}

void Machine::NoteNextTry(absl::Time at) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (failures_.errors.empty()) return;
    failures_.next_try_ms = absl::ToUnixMillis(at);
  }
  PublishIfWatched();
}

void Machine::PublishIfWatched() {
  if (!feed_.watched()) return;
  const auto read_at = StatusFeed::Clock::now();
  feed_.Publish(Status(), read_at);
}

void Machine::Watch(const WatchOptions& options,
                    const std::function<bool(const StatusFeed::News&)>& tell,
                    const std::function<bool()>& gone) {
  const std::shared_ptr<StatusFeed::Subscription> subscription = feed_.Subscribe();
  const MachineRecord record = record_.Get();
  int64_t last = record.last_event();  // what comes twice is told once
  const int events = options.events ? std::min(options.history, record.events_size()) : 0;
  for (int i = record.events_size() - events; i < record.events_size(); ++i) {
    if (!tell(record.events(i))) return;
  }
  if (options.status && !options.follow && !tell(Status())) return;
  if (!options.follow) return;
  if (options.status) PublishIfWatched();
  while (!subscription->ended() && !gone()) {
    StatusFeed::News news;
    if (!subscription->Next(kLookForWatcher, &news)) continue;
    if (const auto* event = std::get_if<Event>(&news)) {
      if (!options.events || event->number() <= last) continue;
      last = event->number();
    } else if (!options.status) {
      continue;
    }
    if (!tell(news)) return;
  }
}

}  // namespace rum
