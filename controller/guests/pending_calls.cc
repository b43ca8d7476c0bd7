#include "controller/guests/pending_calls.h"

#include <atomic>
#include <utility>

#include "agent-api/budget.h"

namespace rum {
namespace {

std::atomic<uint64_t> last_number = 0;

// The agent's own words are bounded by kMostReasonBytes, and there is what they are put into.
constexpr size_t kMostTextBytes = kMostReasonBytes + 1024;

}  // namespace

uint64_t NextNumber() { return ++last_number; }

bool WasNumber(uint64_t number) { return number > 0 && number <= last_number; }

void PendingCall::End(const absl::Status& status, std::string reply) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (ended_) return;
    ended_ = true;
    status_ = status;
    reply_ = std::move(reply);
    changed_.notify_all();
  }
  stream_.ComesToEnd();
}

bool PendingCall::Await(absl::Duration patience, absl::Status* status, std::string* reply) {
  std::unique_lock<std::mutex> guard(mutex_);
  if (patience == absl::InfiniteDuration()) {
    changed_.wait(guard, [this] { return ended_; });
  } else {
    changed_.wait_for(guard, absl::ToChronoMilliseconds(patience), [this] { return ended_; });
  }
  if (!ended_) return false;
  *status = status_;
  *reply = std::move(reply_);
  return true;
}

std::shared_ptr<PendingCall> PendingCalls::Add() {
  auto call = std::make_shared<PendingCall>(NextNumber());
  const std::lock_guard<std::mutex> guard(mutex_);
  calls_[call->number()] = call;
  return call;
}

void PendingCalls::Forget(const PendingCall& call) {
  const std::lock_guard<std::mutex> guard(mutex_);
  calls_.erase(call.number());
}

absl::Status PendingCalls::Find(uint64_t number, std::shared_ptr<PendingCall>* call) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto found = calls_.find(number);
  if (found != calls_.end()) *call = found->second;
  if (found != calls_.end() || WasNumber(number)) return absl::OkStatus();
  return absl::DataLossError("an answer to a call that was not made");
}

absl::Status PendingCalls::Take(const guests::FromProcess::Answer& answer) {
  std::shared_ptr<PendingCall> call;
  if (absl::Status judged = Find(answer.number(), &call); !judged.ok()) return judged;
  const auto code = static_cast<absl::StatusCode>(answer.code());
  if (code < absl::StatusCode::kOk || code > absl::StatusCode::kUnauthenticated ||
      answer.text().size() > kMostTextBytes) {
    return absl::DataLossError("an error that is none");
  }
  if (call == nullptr) return absl::OkStatus();  // nobody waits any more
  call->End(absl::Status(code, answer.text()), answer.reply());
  return absl::OkStatus();
}

absl::Status PendingCalls::Take(const guests::Piece& piece) {
  std::shared_ptr<PendingCall> call;
  if (absl::Status judged = Find(piece.number(), &call); !judged.ok()) return judged;
  if (piece.message().size() > kMostMessageBytes) {
    return absl::DataLossError("a message of a stream that is too large");
  }
  if (call != nullptr && !call->stream().Came(piece.message())) {
    return absl::DataLossError("more than anybody takes");
  }
  return absl::OkStatus();
}

absl::Status PendingCalls::Take(const guests::Taken& taken) {
  std::shared_ptr<PendingCall> call;
  if (absl::Status judged = Find(taken.number(), &call); !judged.ok()) return judged;
  if (call != nullptr) call->stream().Grow(taken.bytes());
  return absl::OkStatus();
}

void PendingCalls::Lose(const absl::Status& why) {
  std::map<uint64_t, std::shared_ptr<PendingCall>> lost;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    lost.swap(calls_);
  }
  for (const auto& [number, call] : lost) {
    call->End(why, "");  // what came before is still taken
    call->stream().StopSending();
  }
}

}  // namespace rum
