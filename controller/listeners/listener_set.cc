#include "controller/listeners/listener_set.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/listeners/io_thread.h"
#include "controller/listeners/listener.h"
#include "controller/listeners/listener_set_options.h"
#include "controller/listeners/port_owner.h"
#include "state/bind_address.h"

namespace rum {
namespace {

// An address in any spelling is one listener; of a unix socket, its path.
using Key = std::pair<std::string, boost::asio::ip::tcp::endpoint>;

Key KeyOf(const Forward& forward) {
  if (IsUnixBind(forward.bind)) return {forward.bind, {}};
  boost::system::error_code error;
  return {"", {boost::asio::ip::make_address(forward.bind, error), forward.host}};
}

bool IsValid(const Forward& forward) {
  if (IsUnixBind(forward.bind)) return BindProblem(forward.bind).empty() && forward.host == 0;
  boost::system::error_code error;
  boost::asio::ip::make_address(forward.bind, error);
  return !error && forward.host != 0;
}

bool IsAny(const Forward& forward, bool v6) {
  if (IsUnixBind(forward.bind)) return false;
  const auto address = KeyOf(forward).second.address();
  return address.is_v6() == v6 && address.is_unspecified();
}

// Sockets that `forward` of `all` is accepted at: one for each family of ::, unless another forward
// has the other one.
std::vector<Forward> SocketsOf(const Forward& forward, const std::vector<Forward>& all) {
  const bool alone = std::none_of(all.begin(), all.end(), [&](const Forward& other) {
    return other.host == forward.host && IsValid(other) && IsAny(other, false);
  });
  if (!IsAny(forward, true) || !alone) return {forward};
  return {forward, {"0.0.0.0", forward.host, forward.guest}};
}

// A socket that could not be opened.
struct Failure {
  int error = 0;  // 0: all of the forward's could
  std::string bind = {};

  // Somebody holds the port or the path, or the address or the folder is not there yet: that passes
  // by itself.
  bool passes() const {
    return error == EADDRINUSE || error == EADDRNOTAVAIL || error == ENOTSOCK || error == ENOENT;
  }
};

std::string OwnerOf(const Failure& failure, uint16_t port) {
  if (failure.error != EADDRINUSE) return "";
  std::string machine = MachineAt(failure.bind, port);
  if (IsUnixBind(failure.bind)) return machine;
  return machine.empty() ? PortOwner(failure.bind, port) : machine;
}

class AsioListenerSet : public ListenerSet {
 public:
  AsioListenerSet(GuestRoute route, const ListenerSetOptions& options)
      : route_(std::move(route)),
        options_(options),
        retry_(std::make_shared<boost::asio::steady_timer>(IoContext())) {}

  ~AsioListenerSet() override {
    OnIoThread([this] {
      retry_.reset();
      for (const auto& [key, listener] : listeners_) listener->Close();
      for (const auto& [key, listener] : draining_) listener->Close();
      // Here, for what they hold belongs to this thread.
      listeners_.clear();
      draining_.clear();
    });
  }

  std::vector<ForwardState> Apply(const std::vector<Forward>& wanted) override {
    const std::lock_guard<std::mutex> one_at_a_time(apply_mutex_);
    const std::vector<Failure> failures = OnIoThread([&] { return ApplyHere(wanted); });
    // Who holds a port is looked up here, for it takes longer than a connection should wait.
    std::vector<absl::Status> texts;
    for (size_t i = 0; i < wanted.size(); ++i)
      texts.push_back(TextOf(wanted[i], failures[i], true));
    return OnIoThread([&] {
      for (size_t i = 0; i < texts.size(); ++i) {
        if (failures_[i].error != 0) texts_[i] = std::move(texts[i]);  // it may be free meanwhile
      }
      return States();
    });
  }

  std::vector<ForwardState> Observe() override {
    return OnIoThread([this] { return States(); });
  }

  void Probe(std::chrono::milliseconds limit) override {
    struct Waiting {
      std::mutex mutex;
      std::condition_variable changed;
      size_t left = 1;
      void Done() {
        const std::lock_guard<std::mutex> guard(mutex);
        --left;
        changed.notify_all();
      }
    };
    const auto waiting = std::make_shared<Waiting>();
    OnIoThread([&] {
      {
        const std::lock_guard<std::mutex> guard(waiting->mutex);
        waiting->left += wanted_.size();
      }
      for (const Forward& forward : wanted_) {
        const auto found = listeners_.find(KeyOf(forward));
        if (found == listeners_.end()) {
          waiting->Done();
        } else {
          found->second->Probe([waiting] { waiting->Done(); });
        }
      }
    });
    waiting->Done();
    std::unique_lock<std::mutex> guard(waiting->mutex);
    waiting->changed.wait_for(guard, limit, [&] { return waiting->left == 0; });
  }

 private:
  using Listeners = std::map<Key, std::shared_ptr<Listener>>;

  // One for each of `wanted`.
  std::vector<Failure> ApplyHere(const std::vector<Forward>& wanted) {
    std::vector<Failure> failures(wanted.size());
    std::set<Key> keys;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (!IsValid(wanted[i])) {
        failures[i] = {EINVAL};
      } else if (!keys.insert(KeyOf(wanted[i])).second) {
        failures[i] = {EEXIST};
      } else {
        for (const Forward& socket : SocketsOf(wanted[i], wanted)) keys.insert(KeyOf(socket));
        failures[i] = OpenAll(wanted[i], wanted);
      }
    }
    DrainAllBut(keys);
    texts_.clear();
    for (size_t i = 0; i < wanted.size(); ++i) {
      // New before old cannot be where the old one holds the port: 127.0.0.1 to 0.0.0.0.
      if (failures[i].error == EADDRINUSE) failures[i] = OpenAll(wanted[i], wanted);
      texts_.push_back(TextOf(wanted[i], failures[i], false));
    }
    wanted_ = wanted;
    failures_ = failures;
    RetryLater();
    return failures;
  }

  static absl::Status TextOf(const Forward& forward, const Failure& failure, bool with_owner) {
    if (failure.error == 0) return absl::OkStatus();
    return BindError(forward, failure.error, with_owner ? OwnerOf(failure, forward.host) : "");
  }

  Failure OpenAll(const Forward& forward, const std::vector<Forward>& all) {
    Failure first;
    for (const Forward& socket : SocketsOf(forward, all)) {
      const int error = Open(socket);
      const bool no_such_family = socket != forward && error == EAFNOSUPPORT;
      if (error != 0 && !no_such_family && first.error == 0) first = {error, socket.bind};
    }
    return first;
  }

  void RetryLater() {
    const bool busy = std::any_of(failures_.begin(), failures_.end(),
                                  [](const Failure& failure) { return failure.passes(); });
    if (!busy) return void(retry_->cancel());
    retry_->expires_after(options_.retry);
    retry_->async_wait([this, alive = std::weak_ptr(retry_)](const auto& cancelled) {
      if (!cancelled && !alive.expired()) Retry();
    });
  }

  void Retry() {
    bool opened = false;
    for (size_t i = 0; i < wanted_.size(); ++i) {
      if (!failures_[i].passes()) continue;
      const Failure failure = OpenAll(wanted_[i], wanted_);
      if (failure.error != 0) continue;
      failures_[i] = failure;
      texts_[i] = absl::OkStatus();
      opened = true;
    }
    if (opened && route_.on_change) route_.on_change();
    RetryLater();
  }

  int Open(const Forward& forward) {
    const Key key = KeyOf(forward);
    if (const auto kept = listeners_.find(key); kept != listeners_.end()) {
      if (!kept->second->Lost()) {
        kept->second->Retarget(forward.guest);
        return 0;
      }
      kept->second->Drain();
      draining_.insert(*kept);
      listeners_.erase(kept);
    }
    // One that was removed a moment ago comes back with its connections.
    const auto back = draining_.find(key);
    const auto listener = back != draining_.end() ? back->second
                                                  : std::make_shared<Listener>(
                                                        forward, route_, options_, &connections_);
    if (const int error = listener->Open(); error != 0) return error;
    listener->Retarget(forward.guest);
    if (back != draining_.end()) draining_.erase(back);
    listeners_[key] = listener;
    return 0;
  }

  void DrainAllBut(const std::set<Key>& keys) {
    for (auto it = listeners_.begin(); it != listeners_.end();) {
      if (keys.count(it->first) == 0) {
        it->second->Drain();
        draining_.insert(*it);
        it = listeners_.erase(it);
      } else {
        ++it;
      }
    }
    for (auto it = draining_.begin(); it != draining_.end();) {
      it = it->second->idle() ? draining_.erase(it) : std::next(it);
    }
  }

  std::vector<ForwardState> States() const {
    std::vector<ForwardState> states;
    for (size_t i = 0; i < wanted_.size(); ++i) {
      ForwardState state;
      state.forward = wanted_[i];
      state.bound = texts_[i];
      if (!state.bound.ok()) state.last_error = std::string(state.bound.message());
      std::chrono::steady_clock::time_point newest;
      for (const Forward& socket : SocketsOf(wanted_[i], wanted_)) {
        const auto found = listeners_.find(KeyOf(socket));
        if (!state.bound.ok() || found == listeners_.end()) continue;
        AddTo(&state, *found->second, &newest);
      }
      states.push_back(std::move(state));
    }
    return states;
  }

  static void AddTo(ForwardState* state, const Listener& listener,
                    std::chrono::steady_clock::time_point* newest) {
    const ForwardCounters& counters = listener.counters();
    state->bound.Update(listener.accepting());
    if (listener.Lost()) {
      state->bound.Update(absl::UnavailableError(
          absl::StrCat("port ", state->forward.bind, ": its file is gone from its path")));
    }
    state->open_connections += counters.open_connections;
    state->bytes_in += counters.bytes_in;
    state->bytes_out += counters.bytes_out;
    if (state->last_error.empty()) state->last_error = counters.last_error;
    if (counters.health == ForwardHealth::kUnknown || counters.health_at < *newest) return;
    state->health = counters.health;
    *newest = counters.health_at;
  }

  const GuestRoute route_;
  const ListenerSetOptions options_;
  std::mutex apply_mutex_;
  // io thread only:
  std::vector<Forward> wanted_;
  std::vector<Failure> failures_;    // for each of them
  std::vector<absl::Status> texts_;  // likewise
  std::shared_ptr<boost::asio::steady_timer> retry_;
  size_t connections_ = 0;  // of all listeners
  Listeners listeners_;     // a key is in one of these two
  Listeners draining_;
};

}  // namespace

std::unique_ptr<ListenerSet> MakeListenerSet(GuestRoute route, ListenerSetOptions options) {
  return std::make_unique<AsioListenerSet>(std::move(route), options);
}

std::unique_ptr<ListenerSet> MakeListenerSet(Dialer dial, ListenerSetOptions options) {
  return MakeListenerSet(GuestRoute{std::move(dial), nullptr, nullptr}, options);
}

std::unique_ptr<ListenerSet> MakeListenerSet(GuestRoute route) {
  return MakeListenerSet(std::move(route), ListenerSetOptions());
}

std::unique_ptr<ListenerSet> MakeListenerSet(Dialer dial) {
  return MakeListenerSet(std::move(dial), ListenerSetOptions());
}

}  // namespace rum
