#include "controller/guests/guest_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent-api/budget.h"
#include "agent-api/build_id.h"
#include "agent-api/channel/socket_io.h"
#include "agent-api/forward/stream_secret.h"
#include "agent-api/threads.h"
#include "controller/guests/no_process.h"

namespace rum {
namespace {

// Changes that are told at once, and how often then: a process that was taken over makes no more
// looks at its machine than that.
constexpr int kChangeBurst = 16;
constexpr std::chrono::milliseconds kChangeInterval{200};
// For the next agent's arrival: no process knows of a longer one.
constexpr uint32_t kMostReplacingMs = 60'000;

absl::Status Said(const char* what) { return absl::DataLossError(what); }

}  // namespace

GuestProcess::GuestProcess(std::string machine, ChannelOpener open, std::function<void()> on_change,
                           std::string program, ProcessMaker make)
    : on_change_(std::move(on_change)),
      program_(std::move(program)),
      link_(std::move(machine), std::move(make),
            {[this] { return FirstWords(); },
             [this](const guests::FromProcess& message) { return Take(message); },
             [this](const absl::Status& why) { Lose(why); }}),
      agent_channel_(
          std::move(open),
          [this](const absl::StatusOr<int>& channel) { Opened(guests::AGENT, channel); }),
      forward_channel_(nullptr, [this](const absl::StatusOr<int>& channel) {
        Opened(guests::FORWARD, channel);
      }) {
  Begin().IgnoreError();  // whoever asks for a session learns it
}

GuestProcess::~GuestProcess() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (notifier_.joinable()) notifier_.join();
  link_.Stop();
  Lose(absl::UnavailableError("the machine is off"));
}

// What it lacks threads for is begun by the next one who asks for a session.
absl::Status GuestProcess::Begin() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!notifier_.joinable()) {
      absl::StatusOr<std::thread> notifier = StartThread([this] { Notify(); });
      if (!notifier.ok()) return notifier.status();
      notifier_ = *std::move(notifier);
    }
  }
  if (absl::Status begun = agent_channel_.Begin(); !begun.ok()) return begun;
  return link_.Begin();
}

absl::Status GuestProcess::None() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!refused_.ok()) return refused_;
  return absl::UnavailableError(
      absl::StrCat("the agent is not connected", state_.why().empty() ? "" : ": ", state_.why()));
}

absl::StatusOr<uint32_t> GuestProcess::Protocol() const {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (state_.connected()) return state_.protocol();
  }
  return None();
}

absl::Status GuestProcess::WaitConnected(absl::Duration timeout) {
  const absl::Status begun = Begin();
  std::unique_lock<std::mutex> guard(mutex_);
  const bool there = changed_.wait_for(guard, absl::ToChronoMilliseconds(timeout),
                                       [this] { return state_.connected() || stopping_; });
  if (there && !stopping_) return absl::OkStatus();
  const absl::Status& refused = begun.ok() ? refused_ : begun;
  const std::string why = refused.ok() ? state_.why() : std::string(refused.message());
  return absl::DeadlineExceededError(absl::StrCat("the agent did not answer within ",
                                                  absl::FormatDuration(timeout),
                                                  why.empty() ? "" : ": ", why));
}

bool GuestProcess::Pushes() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return state_.connected() && state_.pushes();
}

bool GuestProcess::Arriving() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return !state_.connected() && (state_.greeted() || Clock::now() < replacing_until_);
}

std::string GuestProcess::StreamSecret() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return state_.connected() ? state_.stream_secret() : "";
}

std::shared_ptr<ProcessCarrier> GuestProcess::Forwards(ChannelOpener open,
                                                       std::function<int()> connect) {
  const auto carrier = std::make_shared<ProcessCarrier>(link_.sender(), NextNumber());
  forward_channel_.Become(std::move(open));
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    carrier_ = carrier;
    connect_ = std::move(connect);
  }
  // A process that begins meanwhile is told twice.
  for (const guests::ToProcess& word : FirstWords()) link_.sender()->Send(word);
  return carrier;
}

std::vector<guests::ToProcess> GuestProcess::FirstWords() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (carrier_ == nullptr) return {};
  std::vector<guests::ToProcess> words(1);
  guests::ToProcess::Forwards& forwards = *words[0].mutable_forwards();
  forwards.set_generation(carrier_->generation());
  forwards.set_on(true);
  forwards.set_streams(connect_ != nullptr);
  return words;
}

absl::Status GuestProcess::Take(const guests::FromProcess& message) {
  switch (message.message_case()) {
    case guests::FromProcess::kState:
      return TakeState(message.state());
    case guests::FromProcess::kChanged:
      Change();
      return absl::OkStatus();
    case guests::FromProcess::kWanted:
      return TakeWanted(message.wanted());
    case guests::FromProcess::kAnswer:
      return calls_.Take(message.answer());
    case guests::FromProcess::kPiece:
      return calls_.Take(message.piece());
    case guests::FromProcess::kTaken:
      return calls_.Take(message.taken());
    case guests::FromProcess::kStream:
      ConnectStream(message.stream());
      return absl::OkStatus();
    case guests::FromProcess::kConnected:
    case guests::FromProcess::kOver:
    case guests::FromProcess::kProbed:
    case guests::FromProcess::kCounts:
      return TakeOfCarrier(message);
    case guests::FromProcess::kUnfit: {
      if (message.unfit().size() > kMostReasonBytes) return Said("a reason that is too long");
      const std::lock_guard<std::mutex> guard(mutex_);
      unfit_ = message.unfit();
      return absl::OkStatus();
    }
    case guests::FromProcess::MESSAGE_NOT_SET:
      break;
  }
  return Said("nothing");
}

absl::Status GuestProcess::TakeState(const guests::FromProcess::State& state) {
  if (state.why().size() > 2 * kMostReasonBytes) return Said("a reason that is too long");
  if (!state.stream_secret().empty() && state.stream_secret().size() != kStreamSecretSize) {
    return Said("a secret that is none");
  }
  if (state.replacing_ms() > kMostReplacingMs) return Said("an agent that never comes");
  const std::lock_guard<std::mutex> guard(mutex_);
  state_ = state;
  if (state.connected() || absl::IsResourceExhausted(refused_)) refused_ = absl::OkStatus();
  replacing_until_ = Clock::now() + std::chrono::milliseconds(state.replacing_ms());
  changed_.notify_all();
  return absl::OkStatus();
}

absl::Status GuestProcess::TakeWanted(guests::Channel channel) {
  if (channel == guests::AGENT) {
    return agent_channel_.Want() ? absl::OkStatus() : Said("the same wish twice");
  }
  if (channel != guests::FORWARD) return Said("a channel that there is not");
  if (const absl::Status begun = forward_channel_.Begin(); !begun.ok()) {
    Opened(guests::FORWARD, begun);
    return absl::OkStatus();
  }
  return forward_channel_.Want() ? absl::OkStatus() : Said("the same wish twice");
}

// On the thread that opens it.
void GuestProcess::Opened(guests::Channel channel, const absl::StatusOr<int>& opened) {
  Fd fd(opened.ok() ? *opened : -1);
  if (channel == guests::AGENT && !program_.empty()) {
    guests::ToProcess words;
    words.mutable_program()->set_build_id(BuildIdOf(program_));
    link_.sender()->Send(words, Fd(open(program_.c_str(), O_RDONLY | O_CLOEXEC)));
  }
  guests::ToProcess words;
  words.mutable_opened()->set_channel(channel);
  words.mutable_opened()->set_code(static_cast<int>(opened.status().code()));
  words.mutable_opened()->set_why(std::string(opened.status().message()));
  link_.sender()->Send(words, std::move(fd));
}

absl::Status GuestProcess::TakeOfCarrier(const guests::FromProcess& message) {
  std::shared_ptr<ProcessCarrier> carrier;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    carrier = carrier_;
  }
  if (message.has_over() || message.message_case() == guests::FromProcess::kConnected) {
    const uint64_t number = message.has_over() ? message.over().number() : message.connected();
    if (!WasNumber(number)) return Said("a connection that there was not");
    const auto code = static_cast<absl::StatusCode>(message.over().code());
    if (message.has_over() && message.over().why().size() > 2 * kMostReasonBytes) {
      return Said("a reason that is too long");
    }
    const bool known = code > absl::StatusCode::kOk && code <= absl::StatusCode::kUnauthenticated;
    Dialed(number, !message.has_over() ? absl::OkStatus()
                                       : absl::Status(known ? code : absl::StatusCode::kUnavailable,
                                                      message.over().why()));
  }
  return carrier == nullptr ? absl::OkStatus() : carrier->Take(message);
}

void GuestProcess::ConnectStream(uint64_t number) {
  std::function<int()> connect;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    connect = connect_;
  }
  guests::ToProcess words;
  words.mutable_stream()->set_number(number);
  if (!connect || link_.sender()->Crowded()) {
    words.mutable_stream()->set_error(EAGAIN);
    link_.sender()->Send(words);
    return;
  }
  Fd stream(connect());
  if (!stream.ok()) words.mutable_stream()->set_error(errno != 0 ? errno : ECONNREFUSED);
  link_.sender()->Send(words, std::move(stream));
}

void GuestProcess::Lose(const absl::Status& status) {
  const std::string why(status.message());
  std::map<uint64_t, Dialing> dialing;
  std::shared_ptr<ProcessCarrier> carrier;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    state_.Clear();
    state_.set_why(why);
    if (!absl::IsUnavailable(status)) refused_ = status;
    if (!unfit_.empty()) refused_ = absl::ResourceExhaustedError(absl::StrCat(kNoProcess, unfit_));
    unfit_.clear();
    replacing_until_ = Clock::time_point::min();
    carrier = carrier_;
    dialing.swap(dialing_);
    changed_.notify_all();
  }
  agent_channel_.Forget();
  forward_channel_.Forget();
  calls_.Lose(absl::UnavailableError("the connection to the agent in the guest was lost"));
  for (const auto& [number, one] : dialing) one.done(absl::UnavailableError(why));
  if (carrier != nullptr) carrier->Lose(why);
  Change();
}

void GuestProcess::Change() {
  const std::lock_guard<std::mutex> guard(mutex_);
  ++changes_;
  changed_.notify_all();
}

void GuestProcess::Notify() {
  Pace pace(kChangeBurst, kChangeInterval);
  std::unique_lock<std::mutex> guard(mutex_);
  for (int seen = 0;;) {
    changed_.wait(guard, [&] { return stopping_ || changes_ != seen; });
    if (stopping_) return;
    seen = changes_;
    guard.unlock();
    if (on_change_) on_change_();
    guard.lock();
    pace.Count(Clock::now());
    changed_.wait_until(guard, pace.Next(Clock::now()), [this] { return stopping_; });
  }
}

void GuestProcess::Dial(uint16_t port, std::function<void(absl::StatusOr<int>)> done) {
  if (const absl::StatusOr<uint32_t> protocol = Protocol(); !protocol.ok()) {
    return done(protocol.status());
  }
  int ours = -1;
  int theirs = -1;
  if (!SocketPair(&ours, &theirs)) {
    return done(absl::ResourceExhaustedError(absl::StrCat("socketpair: ", std::strerror(errno))));
  }
  Fd to_process(ours);
  guests::ToProcess words;
  const uint64_t number = NextNumber();
  words.mutable_carry()->set_number(number);
  words.mutable_carry()->set_port(port);
  words.mutable_carry()->set_dial(true);
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    dialing_[number] = {Fd(theirs), std::move(done)};
  }
  if (!link_.sender()->Send(words, std::move(to_process))) Dialed(number, None());
}

void GuestProcess::Dialed(uint64_t number, const absl::Status& connected) {
  std::map<uint64_t, Dialing>::node_type asked;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    asked = dialing_.extract(number);
  }
  if (asked.empty()) return;
  Dialing& one = asked.mapped();
  if (!connected.ok()) return one.done(connected);
  one.done(one.socket.Release());
}

}  // namespace rum
