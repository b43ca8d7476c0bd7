#include "controller/guests/served_forwards.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <utility>

#include "controller/listeners/io_thread.h"

namespace rum {
namespace {

using boost::system::error_code;

// How soon the controller knows how much went through, and how late while nothing does.
constexpr std::chrono::milliseconds kFirstCount{100};
constexpr std::chrono::milliseconds kLastCount{1600};
constexpr size_t kMostOverBytes = 1024;  // of the reason

}  // namespace

ServedForwards::ServedForwards(GuestAgent* agent, ChannelDesk* desk, Outlet* outlet)
    : agent_(*agent),
      desk_(*desk),
      outlet_(*outlet),
      route_{[this](uint16_t port, std::function<void(absl::StatusOr<int>)> done) {
               agent_.Dial(port, std::move(done));
             },
             [this] { return carrier_; }, nullptr},
      count_(IoContext()),
      pause_(kFirstCount) {}

ServedForwards::~ServedForwards() {
  Close();
  OnIoThread([this] {
    count_.cancel();
    for (const auto& [number, one] : std::map(ones_)) one.relay->Reset("the machine is off");
    return 0;
  });
}

void ServedForwards::Close() {
  desk_.Shut(guests::FORWARD, true);
  OnIoThread([this] {
    carrier_ = nullptr;
    return 0;
  });
  if (streams_ != nullptr) streams_->Close();
  streams_.reset();
  path_.reset();
}

void ServedForwards::Become(const guests::ToProcess::Forwards& forwards) {
  if (forwards.generation() < generation_) return;
  if (forwards.generation() == generation_ && forwards.on()) return;  // it is so
  generation_ = forwards.generation();
  Close();
  if (!forwards.on()) return;
  desk_.Shut(guests::FORWARD, false);
  path_ = std::make_unique<ForwardPath>([this] { return desk_.Want(guests::FORWARD); });
  std::shared_ptr<Carrier> carrier = path_->status().ok() ? path_->carrier() : nullptr;
  if (forwards.streams()) {
    streams_ = std::make_shared<StreamCarrier>(
        [this](OnConnecting done) { ConnectStream(std::move(done)); },
        [this] { return agent_.StreamSecret(); }, carrier);
    streams_->Start();
    carrier = streams_;
  }
  OnIoThread([this, &carrier] {
    carrier_ = carrier;
    return 0;
  });
}

void ServedForwards::Carry(const guests::ToProcess::Carry& carry, Fd client) {
  const auto port = static_cast<uint16_t>(carry.port());
  if (carry.dial()) return DialOn(carry.number(), port, std::move(client));
  boost::asio::post(IoContext(), [this, number = carry.number(), port,
                                  patience = std::chrono::milliseconds(carry.patience_ms()),
                                  client = std::move(client)]() mutable {
    Relayed(number, port, patience, std::move(client));
  });
}

void ServedForwards::Relayed(uint64_t number, uint16_t port, std::chrono::milliseconds patience,
                             Fd client) {
  ListenerSetOptions options;
  options.patience = patience;
  const auto counters = std::make_shared<ForwardCounters>();
  const auto relay = std::make_shared<Relay>(
      std::move(client), port, route_, options, counters,
      [this, number, counters](Relay*) {
        ones_.erase(number);
        Over(number, counters->last_error, 0, *counters);
      },
      [this, number] {
        guests::FromProcess message;
        message.set_connected(number);
        outlet_.Say(message);
        pause_ = kFirstCount;
        if (!counting_) CountLater();
      });
  ones_[number] = {counters, relay};
  relay->Start();
}

void ServedForwards::DialOn(uint64_t number, uint16_t port, Fd socket) {
  agent_.DialOn(port, socket.Release(), [this, number](const absl::Status& connected) {
    if (!connected.ok()) {
      return Over(number, std::string(connected.message()), static_cast<int>(connected.code()), {});
    }
    guests::FromProcess message;
    message.set_connected(number);
    outlet_.Say(message);
  });
}

void ServedForwards::Over(uint64_t number, const std::string& why, int code,
                          const ForwardCounters& counters) {
  guests::FromProcess message;
  guests::FromProcess::Over& over = *message.mutable_over();
  over.set_number(number);
  over.set_why(why.substr(0, kMostOverBytes));
  over.set_code(code);
  over.set_to_guest(static_cast<uint64_t>(counters.bytes_in));
  over.set_to_client(static_cast<uint64_t>(counters.bytes_out));
  outlet_.Say(message);
}

void ServedForwards::CountLater() {
  counting_ = !ones_.empty();
  if (!counting_) return;
  count_.expires_after(pause_);
  count_.async_wait([this](error_code cancelled) {
    if (cancelled) return;
    pause_ = TellCounts() ? kFirstCount : std::min(pause_ * 2, kLastCount);
    CountLater();
  });
}

bool ServedForwards::TellCounts() {
  guests::FromProcess message;
  guests::FromProcess::Counts& counts = *message.mutable_counts();
  for (auto& [number, one] : ones_) {
    if (one.told_in == one.counters->bytes_in && one.told_out == one.counters->bytes_out) continue;
    one.told_in = one.counters->bytes_in;
    one.told_out = one.counters->bytes_out;
    auto* const told = counts.add_ones();
    told->set_number(number);
    told->set_to_guest(static_cast<uint64_t>(one.told_in));
    told->set_to_client(static_cast<uint64_t>(one.told_out));
  }
  if (counts.ones().empty()) return false;
  outlet_.Say(message);
  return true;
}

void ServedForwards::Abort(const guests::ToProcess::Abort& abort) {
  boost::asio::post(IoContext(), [this, number = abort.number(), why = abort.why()] {
    const auto found = ones_.find(number);
    if (found == ones_.end()) return;
    const std::shared_ptr<Relay> relay = found->second.relay;
    relay->Reset(why);
  });
}

void ServedForwards::Probe(const guests::ToProcess::Probe& probe) {
  const auto port = static_cast<uint16_t>(probe.port());
  boost::asio::post(IoContext(), [this, number = probe.number(), port] {
    const auto heard = [this, number](int error) { Probed(number, error, false); };
    if (carrier_ != nullptr && carrier_->Probe(port, heard)) return;
    agent_.Dial(port, [this, number](absl::StatusOr<int> socket) {
      const Fd connected(socket.ok() ? *socket : -1);
      const bool refused = absl::IsFailedPrecondition(socket.status());
      Probed(number, refused ? ECONNREFUSED : 0, !socket.ok() && !refused);
    });
  });
}

void ServedForwards::Probed(uint64_t number, int error, bool closed) {
  guests::FromProcess message;
  message.mutable_probed()->set_number(number);
  message.mutable_probed()->set_error(error);
  message.mutable_probed()->set_closed(closed);
  outlet_.Say(message);
}

void ServedForwards::ConnectStream(OnConnecting done) {
  connecting_[++last_stream_] = std::move(done);
  guests::FromProcess message;
  message.set_stream(last_stream_);
  outlet_.Say(message);
}

void ServedForwards::TakeStream(const guests::ToProcess::Stream& stream, Fd fd) {
  boost::asio::post(IoContext(), [this, number = stream.number(), error = stream.error(),
                                  fd = std::move(fd)]() mutable {
    const auto waits = connecting_.extract(number);
    if (waits.empty()) return;
    const bool came = fd.ok();
    waits.mapped()(came ? fd.Release() : -1, came || error != 0 ? error : ECONNRESET);
  });
}

}  // namespace rum
