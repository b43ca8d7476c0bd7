#include "agent-api/forward/host_end.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace rum {

// A splice that knows where it goes, so that it can begin again.
class HostEnd::Connection : public Splice {
 public:
  Connection(int client, Splice::Events events, uint16_t port, Clock::duration patience)
      : Splice(Mux::Side::kHost, client, std::move(events)), port_(port), patience_(patience) {}

  uint16_t port() const { return port_; }
  void Wait() { until_ = Clock::now() + patience_; }
  void StopWaiting() { until_ = Clock::time_point::max(); }
  Clock::time_point until() const { return until_; }

 private:
  const uint16_t port_;
  const Clock::duration patience_;
  Clock::time_point until_ = Clock::time_point::max();
};

class HostEnd::Probing : public Mux::Stream {
 public:
  Probing(HostEnd* end, std::function<void(int)> done) : end_(*end), done_(std::move(done)) {}
  void Join(int32_t id) { id_ = id; }
  Clock::time_point until() const { return until_; }
  void Done(int error) {
    const auto done = std::move(done_);
    const auto self = end_.probes_.extract(this);
    done(error);
  }
  void OnAnswer(int error) override {
    end_.mux()->Reset(id_);
    Done(error);
  }
  void GiveUp() { OnAnswer(ETIMEDOUT); }
  int64_t Take(char*, size_t) override { return kNothingNow; }
  void OnData(const char*, size_t) override {}
  void OnEnd() override {}
  void OnClose(bool) override { Done(ECONNRESET); }

 private:
  HostEnd& end_;
  const Clock::time_point until_ = Clock::now() + end_.times_.probe;
  int32_t id_ = 0;
  std::function<void(int)> done_;
};

HostEnd::HostEnd(std::function<void()> on_lost, std::function<void()> on_session,
                 HostEndTimes times)
    : ForwardEnd(Mux::Side::kHost, nullptr),
      on_lost_(std::move(on_lost)),
      on_session_(std::move(on_session)),
      times_(times) {}

HostEnd::~HostEnd() { Close("closed"); }

void HostEnd::Close(const std::string& why) {
  for (Splice* splice : splices()) splice->Break(why);
  Flush();
  Detach();
  hello_ = Clock::time_point::max();
}

void HostEnd::Open(int channel) {
  fcntl(channel, F_SETFL, fcntl(channel, F_GETFL) | O_NONBLOCK);
  hello_ = Clock::now() + times_.hello;
  Attach(channel);
  Flush();
}

void HostEnd::Lose() {
  Detach();
  hello_ = Clock::time_point::max();
  on_lost_();
}

uint64_t HostEnd::Carry(int client, uint16_t port, Clock::duration patience, CarryEvents events) {
  static std::atomic<uint64_t> next = 1;  // no two connections of any end have the same
  const uint64_t number = next++;
  Splice::Events told;
  told.sent = events.to_guest;
  told.received = events.to_client;
  told.on_answer = [this, number, on_connected = std::move(events.on_connected)](int error) {
    Connection* connection = carried_.at(number);
    if (error == 0 && on_connected) on_connected();
    if (error != 0) {
      connection->Break("guest port " + std::to_string(connection->port()) + ": " +
                        std::strerror(error));
    }
  };
  told.on_over = [this, number, on_over = std::move(events.on_over)](const std::string& why) {
    const auto found = carried_.find(number);
    Connection* connection = found->second;
    carried_.erase(found);
    Over(connection);
    on_over(why);
  };
  auto made = std::make_unique<Connection>(client, std::move(told), port, patience);
  Connection* connection = made.get();
  carried_[number] = connection;
  Adopt(std::move(made));
  if (!Watch(connection)) {
    connection->Break(std::strerror(errno));
    return number;
  }
  Begin(connection);
  Flush();
  return number;
}

void HostEnd::Begin(Connection* connection) {
  if (!up()) return connection->Wait();
  const int32_t id = mux()->Open(connection->port(), connection, false);
  if (id < 0) {  // two thousand million connections: the next session counts from one
    connection->Wait();
    return Restart();
  }
  connection->StopWaiting();
  connection->Join(mux(), id);
  if (check_ == Clock::time_point::max()) check_ = Clock::now() + times_.quiet;
}

void HostEnd::Abort(uint64_t number, const std::string& why) {
  const auto found = carried_.find(number);
  if (found == carried_.end()) return;
  found->second->Break(why);
  Flush();
}

void HostEnd::Probe(uint16_t port, std::function<void(int error)> done) {
  if (!up()) return done(ENOTCONN);
  auto probing = std::make_unique<Probing>(this, std::move(done));
  Probing* key = probing.get();
  probes_[key] = std::move(probing);
  const int32_t id = mux()->Open(port, key, true);
  if (id < 0) return key->Done(ENOTCONN);
  key->Join(id);
  Flush();
}

void HostEnd::OnSession() {
  hello_ = Clock::time_point::max();
  for (const auto& [number, connection] : std::map(carried_)) Begin(connection);
  on_session_();
}

void HostEnd::OnSessionEnd() {
  hello_ = Clock::now() + times_.hello;
  for (const auto& [number, connection] : std::map(carried_)) {
    if (connection->answered()) {
      connection->Drop("the agent went away");
    } else {
      connection->Leave();
      connection->Wait();
    }
  }
  while (!probes_.empty()) probes_.begin()->first->OnClose(true);
  on_session_();
}

void HostEnd::OnPortClosed(int) { Lose(); }

ForwardEnd::Clock::time_point HostEnd::deadline() const {
  Clock::time_point first = std::min(hello_, check_);
  for (const auto& [key, probing] : probes_) first = std::min(first, probing->until());
  if (link().up()) return first;
  for (const auto& [number, connection] : carried_) first = std::min(first, connection->until());
  return first;
}

void HostEnd::OnTime(Clock::time_point now) {
  for (const auto& [number, connection] : std::map(carried_)) {
    if (connection->until() <= now) connection->Drop("the agent is away");
  }
  std::vector<Probing*> unanswered;
  for (const auto& [key, probing] : probes_) {
    if (probing->until() <= now) unanswered.push_back(key);
  }
  for (Probing* probing : unanswered) probing->GiveUp();
  if (now >= hello_) return Lose();
  if (now >= check_) CheckLife(now);
}

// An agent that is gone without a word, or a guest that hangs, would leave connections open for
// good. Nothing is asked while there are none, or while bytes come.
void HostEnd::CheckLife(Clock::time_point now) {
  check_ = Clock::time_point::max();
  if (!up() || connections() == 0) return;
  if (now >= last_heard() + times_.silent) return Lose();
  if (now >= last_heard() + times_.quiet) mux()->Ping();
  check_ = std::max(last_heard(), now) + times_.quiet;
}

}  // namespace rum
