#include "controller/guests/process_carrier.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "controller/guests/pending_calls.h"
#include "controller/listeners/io_thread.h"

namespace rum {
namespace {

constexpr size_t kMostWhyBytes = 1024;
constexpr uint64_t kMostCount = uint64_t{1} << 62;
// That wait for their answers: whoever asks waits at most as long as for the guest.
constexpr size_t kMostProbes = 4096;

void SetReset(const Fd& client, bool reset) {
  const linger how{reset ? 1 : 0, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &how, sizeof how);
}

absl::Status Unasked() { return absl::DataLossError("a connection that there was not"); }

}  // namespace

uint64_t ProcessCarrier::Carry(Fd* client, uint16_t port, std::chrono::milliseconds patience,
                               CarryEvents events) {
  if (closed_) return 0;
  // Whatever ends the process, what the client sees is a reset then; the process takes that back
  // where both ends have said all.
  SetReset(*client, true);
  const uint64_t number = NextNumber();
  guests::ToProcess message;
  message.mutable_carry()->set_number(number);
  message.mutable_carry()->set_port(port);
  message.mutable_carry()->set_patience_ms(static_cast<uint32_t>(patience.count()));
  if (!sender_->Send(message, std::move(*client))) {
    SetReset(*client, false);
    return 0;
  }
  ones_[number].events = std::move(events);
  return number;
}

void ProcessCarrier::Abort(uint64_t connection, const std::string& why) {
  if (ones_.count(connection) == 0) return;
  guests::ToProcess message;
  message.mutable_abort()->set_number(connection);
  message.mutable_abort()->set_why(why);
  sender_->Send(message);
  Over(connection, why);
}

bool ProcessCarrier::Probe(uint16_t port, std::function<void(int error)> done) {
  if (closed_ || probes_.size() >= kMostProbes) return false;
  const uint64_t number = NextNumber();
  guests::ToProcess message;
  message.mutable_probe()->set_number(number);
  message.mutable_probe()->set_port(port);
  if (!sender_->Send(message)) return false;
  probes_[number] = std::move(done);
  return true;
}

absl::Status ProcessCarrier::Take(const guests::FromProcess& message) {
  return OnIoThread([&] { return TakeHere(message); });
}

absl::Status ProcessCarrier::TakeHere(const guests::FromProcess& message) {
  const auto find = [&](uint64_t number, One** one) {
    const auto found = ones_.find(number);
    *one = found == ones_.end() ? nullptr : &found->second;
    return *one != nullptr || WasNumber(number);  // it may have been aborted
  };
  One* one = nullptr;
  switch (message.message_case()) {
    case guests::FromProcess::kConnected:
      if (!find(message.connected(), &one)) return Unasked();
      if (one != nullptr) {
        const auto told = std::exchange(one->events.on_connected, nullptr);
        if (told) told();
      }
      return absl::OkStatus();
    case guests::FromProcess::kOver: {
      const guests::FromProcess::Over& over = message.over();
      if (!find(over.number(), &one) || over.why().size() > kMostWhyBytes) return Unasked();
      if (one == nullptr) return absl::OkStatus();
      const bool counted = Count(one, over.to_guest(), over.to_client());
      Over(over.number(), over.why());
      return counted ? absl::OkStatus() : Unasked();
    }
    case guests::FromProcess::kCounts:
      for (const auto& told : message.counts().ones()) {
        if (!find(told.number(), &one)) return Unasked();
        if (one != nullptr && !Count(one, told.to_guest(), told.to_client())) return Unasked();
      }
      return absl::OkStatus();
    case guests::FromProcess::kProbed: {
      const auto asked = probes_.extract(message.probed().number());
      if (!asked.empty())
        asked.mapped()(message.probed().closed() ? ENOTCONN : message.probed().error());
      return absl::OkStatus();
    }
    default:
      return Unasked();
  }
}

// False: bytes that were counted cannot go away.
bool ProcessCarrier::Count(One* one, uint64_t to_guest, uint64_t to_client) {
  if (to_guest < one->to_guest || to_client < one->to_client) return false;
  if (to_guest > kMostCount || to_client > kMostCount) return false;
  if (one->events.to_guest != nullptr) {
    *one->events.to_guest += static_cast<int64_t>(to_guest - one->to_guest);
  }
  if (one->events.to_client != nullptr) {
    *one->events.to_client += static_cast<int64_t>(to_client - one->to_client);
  }
  one->to_guest = to_guest;
  one->to_client = to_client;
  return true;
}

void ProcessCarrier::Over(uint64_t number, const std::string& why) {
  const auto ended = ones_.extract(number);
  if (!ended.empty() && ended.mapped().events.on_over) ended.mapped().events.on_over(why);
}

void ProcessCarrier::LoseAll(const std::string& why) {
  while (!ones_.empty()) Over(ones_.begin()->first, why);
  std::map<uint64_t, std::function<void(int)>> probes;
  probes.swap(probes_);
  for (const auto& [number, done] : probes) done(ENOTCONN);
}

void ProcessCarrier::Lose(const std::string& why) {
  OnIoThread([&] {
    LoseAll(why);
    return 0;
  });
}

void ProcessCarrier::Close() {
  OnIoThread([this] {
    closed_ = true;
    LoseAll("the machine is off");
    return 0;
  });
  guests::ToProcess message;
  message.mutable_forwards()->set_generation(generation_);
  sender_->Send(message);
}

}  // namespace rum
