#include "agent-api/client/agent_sessions.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent-api/budget.h"
#include "agent-api/channel/host_link.h"
#include "agent-api/channel/session_pace.h"
#include "agent-api/client/greeting.h"
#include "agent-api/forward/stream_secret.h"
#include "agent-api/protocol.h"
#include "agent-api/threads.h"

namespace rum {
namespace {

constexpr auto kReplacement = std::chrono::seconds(20);  // until the next agent is heard of
constexpr auto kFirstBackOff = std::chrono::milliseconds(50);
constexpr auto kMostBackOff = std::chrono::milliseconds(2000);
// A session may break while a replacement is on its way.
constexpr int kMostReplacements = 3;
// Of all builds together: a guest may invent one after another.
constexpr int kReplacementBurst = 6;
constexpr auto kReplacementInterval = std::chrono::minutes(10);
constexpr size_t kMostBuilds = 64;

}  // namespace

AgentSessions::AgentSessions(GuestAgentParts parts)
    : parts_(std::move(parts)), stream_secret_(NewStreamSecret()) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Begin();
}

// Needs the lock. What it lacks threads or descriptors for is begun by the next one who asks for a
// session; until then that is why there is none.
void AgentSessions::Begin() {
  if (link_.joinable() || stopping_) return;
  if (wake_ < 0) wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) {
    last_error_ = absl::StrCat("eventfd: ", std::strerror(errno));
    return;
  }
  if (BeginThread(&notifier_, &AgentSessions::Notify) &&
      BeginThread(&greeter_, &AgentSessions::GreetAll)) {
    BeginThread(&link_, &AgentSessions::KeepLink);
  }
}

bool AgentSessions::BeginThread(std::thread* thread, void (AgentSessions::*work)()) {
  if (thread->joinable()) return true;
  absl::StatusOr<std::thread> begun = StartThread([this, work] { (this->*work)(); });
  if (!begun.ok()) {
    last_error_ = std::string(begun.status().message());
    return false;
  }
  *thread = *std::move(begun);
  return true;
}

AgentSessions::~AgentSessions() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  // An eventfd takes a one.
  if (wake_ >= 0 && write(wake_, &one, sizeof one) < 0) std::abort();
  changed_.notify_all();
  for (std::thread* thread : {&link_, &notifier_, &greeter_}) {
    if (thread->joinable()) thread->join();
  }
  session_.reset();  // its stream's last word takes the lock
  if (wake_ >= 0) close(wake_);
}

absl::Status AgentSessions::WaitConnected(absl::Duration timeout) {
  std::unique_lock<std::mutex> guard(mutex_);
  Begin();
  const bool there = changed_.wait_for(guard, absl::ToChronoMilliseconds(timeout),
                                       [this] { return session_ != nullptr || stopping_; });
  if (there && !stopping_) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("the agent did not answer within ",
                                                  absl::FormatDuration(timeout),
                                                  last_error_.empty() ? "" : ": " + last_error_));
}

bool AgentSessions::Pushes() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return State().pushes;
}

bool AgentSessions::Arriving() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  const AgentState state = State();
  return !state.connected && (state.greeted || state.replacing.count() > 0);
}

std::string AgentSessions::StreamSecret() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return State().stream_secret;
}

std::shared_ptr<AgentSession> AgentSessions::Current() {
  const std::lock_guard<std::mutex> guard(mutex_);
  Begin();
  return session_;
}

absl::Status AgentSessions::None() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return absl::UnavailableError(
      absl::StrCat("the agent is not connected", last_error_.empty() ? "" : ": " + last_error_));
}

void AgentSessions::KeepLink() {
  auto back_off = kFirstBackOff;
  SessionPace pace;
  for (;;) {
    bool worked = false;
    const absl::StatusOr<int> channel = parts_.open();
    if (channel.ok()) {
      fcntl(*channel, F_SETFL, fcntl(*channel, F_GETFL) | O_NONBLOCK);
      worked = ServeHostLink(
          *channel, wake_, [this](int socket) { BeginSession(socket); },
          [this] { EndSession("the session ended"); }, {[this] { return HasCalls(); }}, &pace,
          Payload::kHttp2);
      close(*channel);
    } else {
      EndSession(std::string(channel.status().message()));
    }
    back_off = worked ? kFirstBackOff : std::min(back_off * 2, kMostBackOff);
    const auto pause = std::max(back_off, pace.Wait());
    pollfd stop{wake_, POLLIN, 0};
    if (poll(&stop, 1, static_cast<int>(pause.count())) == 1) return;
  }
}

bool AgentSessions::HasCalls() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return session_ != nullptr && session_.use_count() > 1;
}

void AgentSessions::BeginSession(int socket) {
  auto session = std::make_shared<AgentSession>();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  arguments.SetMaxReceiveMessageSize(kMostMessageBytes);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMostMetadataBytes);
  session->channel = grpc::CreateCustomInsecureChannelFromFd("rum-agent", socket, arguments);
  session->stub = agent::Agent::NewStub(session->channel);
  const std::lock_guard<std::mutex> guard(mutex_);
  greeted_ = std::move(session);
  ++states_;
  changed_.notify_all();
}

// Nobody is given a session before it is known who is at its other end.
void AgentSessions::GreetAll() {
  std::map<std::string, int> sent;  // replacements, by the build that was there
  Pace replacements(kReplacementBurst, kReplacementInterval);
  const auto in_vain = [&](const std::string& build_id) {
    const auto now = std::chrono::steady_clock::now();
    const auto known = sent.find(build_id);
    return replacements.Next(now) > now || sent.size() > kMostBuilds ||
           (!build_id.empty() && known != sent.end() && known->second >= kMostReplacements);
  };
  auto again = kFirstBackOff;
  std::unique_lock<std::mutex> guard(mutex_);
  for (;;) {
    changed_.wait(guard, [this] { return stopping_ || greeted_ != nullptr; });
    if (stopping_) return;
    std::shared_ptr<AgentSession> session = greeted_;
    guard.unlock();
    const Greeting greeting =
        Greet(session->stub.get(), parts_.program ? parts_.program() : AgentProgram(),
              stream_secret_, in_vain);
    guard.lock();
    ++states_;
    if (greeting.outcome == Greeting::kReplaced) {
      ++sent[greeting.build_id];
      replaced_ = std::chrono::steady_clock::now();
      replacements.Count(replaced_);
    }
    if (greeted_ != session) continue;  // it is over
    if (greeting.outcome != Greeting::kServe) {
      last_error_ = greeting.text;
      // An agent that does not answer is asked again; the others begin another session.
      // One that is refused stays as it is, so that it is not asked again and again.
      if (greeting.outcome == Greeting::kRefused) refused_ = greeted_;
      if (greeting.outcome != Greeting::kLost) greeted_ = nullptr;
      changed_.notify_all();
      if (greeting.outcome == Greeting::kLost) {
        changed_.wait_for(guard, again, [&] { return stopping_ || greeted_ != session; });
        again = std::min(again * 2, kMostBackOff);
      }
      continue;
    }
    again = kFirstBackOff;
    session->protocol = greeting.protocol;
    session->not_replaced = greeting.text;
    session->changes =
        std::make_unique<ChangeStream>(session->stub.get(), [this] { TellChange(); });
    std::shared_ptr<AgentSession> before =
        std::exchange(session_, std::exchange(greeted_, nullptr));
    last_error_.clear();
    ++changes_;
    changed_.notify_all();
    guard.unlock();  // its stream's last word may wait for the lock
    before.reset();
    session.reset();
    guard.lock();
  }
}

void AgentSessions::TellChange() {
  const std::lock_guard<std::mutex> guard(mutex_);
  ++changes_;
  ++states_;  // whether the guest tells
  changed_.notify_all();
}

void AgentSessions::EndSession(const std::string& why) {
  std::shared_ptr<AgentSession> refused;  // after the lock
  std::shared_ptr<AgentSession> ended;
  const std::lock_guard<std::mutex> guard(mutex_);
  last_error_ = why;
  greeted_ = nullptr;
  refused_.swap(refused);
  ++states_;
  changed_.notify_all();
  if (session_ == nullptr) return;
  session_.swap(ended);
  ++changes_;
}

// Needs the lock.
AgentState AgentSessions::State() const {
  AgentState state;
  state.connected = session_ != nullptr;
  state.pushes = state.connected && session_->changes->open();
  state.greeted = greeted_ != nullptr;
  const auto until = replaced_ + kReplacement;
  const auto now = std::chrono::steady_clock::now();
  if (until > now) {
    state.replacing = std::chrono::ceil<std::chrono::milliseconds>(until - now);
  }
  state.why = last_error_;
  if (state.connected) state.protocol = session_->protocol;
  if (state.protocol >= kTakesStreamSecret) state.stream_secret = stream_secret_;
  return state;
}

// A thread of its own, so that a slow observer never holds up the link.
void AgentSessions::Notify() {
  std::unique_lock<std::mutex> guard(mutex_);
  for (int seen = 0, told = 0;;) {
    changed_.wait(guard, [&] { return stopping_ || changes_ != seen || states_ != told; });
    if (stopping_) return;
    const bool change = std::exchange(seen, changes_) != changes_;
    const bool another = std::exchange(told, states_) != states_;
    const AgentState state = State();
    guard.unlock();
    if (another && parts_.on_state) parts_.on_state(state);
    if (change && parts_.on_change) parts_.on_change();
    guard.lock();
  }
}

}  // namespace rum
