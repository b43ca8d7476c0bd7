#include "agent-api/forward/session_link.h"

#include <utility>

namespace rum {
namespace {

constexpr size_t kCompact = 64 * 1024;

}  // namespace

SessionLink::SessionLink(Role role, Events events)
    : role_(role),
      events_(std::move(events)),
      decoder_(
          [this](const char* data, size_t size) {
            if (up_ && !refused_) events_.on_data(data, size);
          },
          [this](FrameKind kind, const std::string& nonce) { OnControl(kind, nonce); }) {}

void SessionLink::Start() {
  nonce_ = NewNonce();
  out_.clear();  // a guest that asks again and again and does not read makes nothing grow
  sent_ = 0;
  refused_ = false;
  out_ += EncodeControl(role_ == Role::kHost ? FrameKind::kHello : FrameKind::kReset, nonce_);
}

void SessionLink::OnControl(FrameKind kind, const std::string& nonce) {
  if (role_ == Role::kHost) return OnGuest(kind, nonce);
  if (kind == FrameKind::kBye && up_ && nonce == nonce_) Finish();
  if (kind != FrameKind::kHello) return;
  const bool again = up_ && nonce == nonce_;
  if (!again) Finish();
  nonce_ = nonce;
  out_ += EncodeControl(FrameKind::kAck, nonce);
  if (again) return;
  up_ = true;
  events_.on_begin();
}

void SessionLink::OnGuest(FrameKind kind, const std::string& nonce) {
  if (refused_) return;
  if (!pace_.TakeControl()) {
    Finish();
    pace_.Ended();
    Refuse();
  } else if (kind == FrameKind::kReset) {
    Again();
  } else if (kind == FrameKind::kAck && nonce == nonce_ && !up_) {
    up_ = true;
    pace_.Began();
    events_.on_begin();
  }
}

void SessionLink::Again() {
  Finish();
  pace_.Ended();
  pace_.Wait().count() > 0 ? Refuse() : Start();
}

void SessionLink::Refuse() {
  refused_ = true;
  out_.clear();
  sent_ = 0;
}

void SessionLink::End() {
  const std::string nonce = nonce_;
  const bool was_up = up_;
  Finish();
  if (!was_up) return;
  if (role_ == Role::kHost) out_ += EncodeControl(FrameKind::kBye, nonce);
  if (role_ == Role::kGuest) Start();
}

// What was still to be sent belonged to the session that is over.
void SessionLink::Finish() {
  if (!up_) return;
  up_ = false;
  out_.clear();
  sent_ = 0;
  events_.on_end();
}

void SessionLink::Sent(size_t size) {
  sent_ += size;
  if (sent_ == out_.size()) out_.clear(), sent_ = 0;
  if (sent_ >= out_.size() / 2 && sent_ > kCompact) out_.erase(0, std::exchange(sent_, 0));
}

}  // namespace rum
