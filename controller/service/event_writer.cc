#include "controller/service/event_writer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent-api/threads.h"
#include "controller/base/utf8.h"

namespace rum {
namespace {

using control::ApplyEvent;

constexpr size_t kMostOutputWaiting = 1024 * 1024;
constexpr std::chrono::seconds kPatience{5};  // a client is late on a busy machine, too

}  // namespace

absl::StatusOr<std::unique_ptr<EventWriter>> EventWriter::Begin(
    std::function<bool(const ApplyEvent&)> write) {
  std::unique_ptr<EventWriter> events(new EventWriter(std::move(write)));
  absl::StatusOr<std::thread> writer = StartThread([raw = events.get()] { raw->WriteAll(); });
  if (!writer.ok()) return writer.status();
  events->writer_ = *std::move(writer);
  return events;
}

EventWriter::~EventWriter() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

EventSink EventWriter::Sink() {
  return {[this](const std::string& text) {
            ApplyEvent event;
            event.set_progress(text);
            Push(std::move(event));
          },
          [this](const ActionResult& result) {
            ApplyEvent event;
            *event.mutable_result() = result;
            Push(std::move(event));
          },
          [this](const std::string& bytes, bool error) { PushOutput(bytes, error); }, nullptr};
}

void EventWriter::End(const ApplyOutcome& outcome) {
  ApplyEvent event;
  control::Outcome* message = event.mutable_outcome();
  *message->mutable_plan() = outcome.plan;
  message->set_failed(outcome.failed);
  message->set_error(outcome.error);
  message->set_already_running(outcome.already_running);
  for (const std::string& removed : outcome.removed) message->add_removed(removed);
  for (const std::string& kept : outcome.kept) message->add_kept(kept);
  for (const std::string& snapshot : outcome.snapshots) message->add_snapshots(snapshot);
  message->set_actions(outcome.actions);
  Push(std::move(event));
}

void EventWriter::Push(ApplyEvent event) {
  MakeUtf8(&event);
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    SayWhatWasLeftOut();
    waiting_.push_back(std::move(event));
  }
  changed_.notify_all();
}

void EventWriter::PushOutput(const std::string& bytes, bool error) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto fits = [&] { return gone_ || output_waiting_ + bytes.size() <= kMostOutputWaiting; };
    slow_ = !fits() && (slow_ || !changed_.wait_for(lock, kPatience, fits));
    if (slow_) {
      left_out_ += bytes.size();
      return;
    }
    SayWhatWasLeftOut();
    output_waiting_ += bytes.size();
    ApplyEvent& event = waiting_.emplace_back();
    *(error ? event.mutable_script_error() : event.mutable_script_output()) = bytes;
  }
  changed_.notify_all();
}

void EventWriter::SayWhatWasLeftOut() {
  if (left_out_ == 0) return;
  waiting_.emplace_back().set_script_output(
      absl::StrCat("\n[", left_out_, " bytes of output left out: nobody read them]\n"));
  left_out_ = 0;
}

void EventWriter::WriteAll() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const ApplyEvent event = std::move(waiting_.front());
    waiting_.pop_front();
    if (gone_) continue;
    lock.unlock();
    const bool written = write_(event);
    lock.lock();
    // A notice of what was left out was never counted as waiting.
    output_waiting_ -=
        std::min(output_waiting_, event.script_output().size() + event.script_error().size());
    gone_ = !written;
    changed_.notify_all();
  }
}

}  // namespace rum
