#include "controller/guests/process_link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent-api/channel/session_pace.h"
#include "agent-api/threads.h"
#include "controller/guests/no_process.h"

namespace rum {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFirstBackOff{50};
constexpr std::chrono::milliseconds kMostBackOff{2000};
// What a process may leave untaken: many scripts, or as many clients as come at once.
constexpr size_t kMostWaiting = 64 << 20;
constexpr size_t kMostDescriptors = 1024;
constexpr size_t kCrowd = 64;
// From the wish that it ends to its end: it says goodbye to the guest.
constexpr std::chrono::milliseconds kGoodbye{4000};
// From the end of its words to its own.
constexpr int kDeathMs = 1000;
// What it may say that is nobody's answer: how its guest is, that something changed, that it wants
// a channel or how much went through.
constexpr int kUnaskedBurst = 512;
constexpr std::chrono::milliseconds kUnaskedInterval{5};

constexpr char kDoesNotTake[] = "it does not take what it is told";

bool IsUnasked(const guests::FromProcess& message) {
  switch (message.message_case()) {
    case guests::FromProcess::kState:
    case guests::FromProcess::kChanged:
    case guests::FromProcess::kWanted:
    case guests::FromProcess::kCounts:
    case guests::FromProcess::kUnfit:
    case guests::FromProcess::MESSAGE_NOT_SET:
      return true;
    default:
      return false;
  }
}

}  // namespace

ProcessSender::ProcessSender() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void ProcessSender::Wake() const {
  const uint64_t one = 1;
  // Full is as good.
  const ssize_t woken = write(wake_.get(), &one, sizeof one);
  static_cast<void>(woken);
}

bool ProcessSender::Send(const guests::ToProcess& message, Fd&& fd) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!socket_.ok() || !refused_.empty()) return false;
  const bool waited = writer_.bytes() > 0;
  writer_.Add(message, std::move(fd));
  if (waited) {
    if (writer_.bytes() < kMostWaiting && writer_.descriptors() < kMostDescriptors) return true;
    refused_ = kDoesNotTake;
  } else if (Flush()) {
    return true;
  }
  Wake();
  return true;
}

// True: nothing waits any more. Needs the lock.
bool ProcessSender::Flush() {
  const FrameWriter::Outcome outcome = writer_.Flush(socket_.get());
  // The one who listens sees why.
  if (outcome == FrameWriter::Outcome::kBroken) writer_ = FrameWriter();
  return outcome != FrameWriter::Outcome::kFull;
}

void ProcessSender::Refuse(const std::string& why) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (refused_.empty()) refused_ = why;
  Wake();
}

bool ProcessSender::Crowded() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return writer_.descriptors() > kCrowd;
}

ProcessLink::ProcessLink(std::string machine, ProcessMaker make, Events events)
    : machine_(std::move(machine)),
      make_(std::move(make)),
      events_(std::move(events)),
      unasked_(kUnaskedBurst, kUnaskedInterval) {}

void ProcessLink::Stop() {
  stopping_ = true;
  sender_->Wake();
  if (thread_.joinable()) thread_.join();
}

absl::Status ProcessLink::Begin() {
  const std::lock_guard<std::mutex> guard(begin_);
  if (thread_.joinable()) return absl::OkStatus();
  {
    const std::lock_guard<std::mutex> of_sender(sender_->mutex_);
    if (!sender_->wake_.ok()) sender_->wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!sender_->wake_.ok()) {
      return absl::UnavailableError(absl::StrCat("eventfd: ", std::strerror(errno)));
    }
  }
  absl::StatusOr<std::thread> thread = StartThread([this] { Keep(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

void ProcessLink::Keep() {
  SessionPace pace;
  std::chrono::milliseconds back_off = kFirstBackOff;
  while (!stopping_) {
    int ends[2] = {-1, -1};
    absl::StatusOr<Leashed> process = absl::UnavailableError("");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      process = absl::UnavailableError(absl::StrCat("socketpair: ", std::strerror(errno)));
    } else {
      process = make_(machine_, Fd(ends[1]));
    }
    Fd ours(ends[0]);
    if (!process.ok()) {
      events_.on_end(absl::ResourceExhaustedError(
          absl::StrCat(kNoProcess, std::string(process.status().message()))));
    } else {
      pace.Began();
      const auto born = Clock::now();
      fcntl(ours.get(), F_SETFL, O_NONBLOCK);
      {
        const std::lock_guard<std::mutex> guard(sender_->mutex_);
        sender_->refused_.clear();
        sender_->socket_ = std::move(ours);
        for (const guests::ToProcess& first : events_.on_begin()) sender_->writer_.Add(first);
        sender_->Flush();
      }
      const absl::Status why = Live(&*process);
      if (stopping_) return;
      events_.on_end(why);
      pace.Ended();
      if (Clock::now() - born > SessionPace::kLasted) back_off = kFirstBackOff;
    }
    if (!Pause(std::max(back_off, pace.Wait()))) return;
    back_off = std::min(back_off * 2, kMostBackOff);
  }
}

// To its end, and says how that came.
absl::Status ProcessLink::Live(Leashed* process) {
  pid_ = process->pid();
  std::string why = Listen();
  {
    const std::lock_guard<std::mutex> guard(sender_->mutex_);
    sender_->socket_ = Fd();
    sender_->writer_ = FrameWriter();
  }
  const std::string how = process->End(why.empty() ? kDeathMs : 0);
  pid_ = -1;
  if (!why.empty()) return absl::DataLossError(why);
  return absl::UnavailableError(
      absl::StrCat("another process begins, the one that listened to the guest ended (", how, ")"));
}

// Why it is to be ended; "": it has ended.
std::string ProcessLink::Listen() {
  FrameReader reader(kMostFrameBytes, false);
  Clock::time_point until = Clock::time_point::max();
  std::string why;
  for (;;) {
    short events = POLLIN;
    {
      const std::lock_guard<std::mutex> guard(sender_->mutex_);
      if (!sender_->refused_.empty()) return sender_->refused_;
      if (sender_->writer_.bytes() > 0 && !sender_->Flush()) events |= POLLOUT;
      if (stopping_ && until == Clock::time_point::max()) {
        until = Clock::now() + kGoodbye;
        shutdown(sender_->socket_.get(), SHUT_WR);
      }
    }
    if (Clock::now() >= until) return kDoesNotTake;
    pollfd asked[] = {{sender_->socket_.get(), events, 0}, {sender_->wake_.get(), POLLIN, 0}};
    if (poll(asked, 2, stopping_ ? static_cast<int>(kGoodbye.count()) : -1) < 0) continue;
    uint64_t ignored = 0;
    if (asked[1].revents != 0 && read(sender_->wake_.get(), &ignored, sizeof ignored) < 0) continue;
    if ((asked[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !Hear(&reader, &why)) return why;
  }
}

// False: it is over, or is to be, by `why`.
bool ProcessLink::Hear(FrameReader* reader, std::string* why) {
  const auto refuse = [&](const std::string& words) {
    *why = absl::StrCat("the process that listens to the guest says what none says: ", words);
    return false;
  };
  const FrameReader::Outcome outcome =
      reader->Read(sender_->socket_.get(), [&](const std::string& bytes, const Fd&) {
        guests::FromProcess message;
        if (!message.ParseFromString(bytes)) return refuse("a message that cannot be read");
        if (IsUnasked(message) && !unasked_.Take(Clock::now())) return refuse("too much");
        const absl::Status judged = events_.on_message(message);
        return judged.ok() || refuse(std::string(judged.message()));
      });
  if (outcome == FrameReader::Outcome::kNoFrame && why->empty()) return refuse("no message");
  return outcome == FrameReader::Outcome::kMore || outcome == FrameReader::Outcome::kNothingNow;
}

// False: it is to stop.
bool ProcessLink::Pause(std::chrono::milliseconds pause) {
  const auto until = Clock::now() + pause;
  while (!stopping_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0) return true;
    pollfd ask{sender_->wake_.get(), POLLIN, 0};
    uint64_t ignored = 0;
    if (poll(&ask, 1, static_cast<int>(left.count())) == 1 &&
        read(sender_->wake_.get(), &ignored, sizeof ignored) < 0) {
      continue;
    }
  }
  return false;
}

}  // namespace rum
