#include "controller/listeners/listener_set.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "controller/listeners/io_thread.h"
#include "controller/listeners/listener.h"
#include "controller/listeners/listener_set_options.h"
#include "controller/listeners/port_owner.h"

namespace rum {
namespace {

// An address in any spelling is one listener.
using Key = boost::asio::ip::tcp::endpoint;

Key KeyOf(const Forward& forward) {
  boost::system::error_code error;
  return {boost::asio::ip::make_address(forward.bind, error), forward.host};
}

bool IsValid(const Forward& forward) {
  boost::system::error_code error;
  boost::asio::ip::make_address(forward.bind, error);
  return !error && forward.host != 0;
}

class AsioListenerSet : public ListenerSet {
 public:
  AsioListenerSet(GuestRoute route, const ListenerSetOptions& options)
      : route_(std::move(route)), options_(options) {}

  ~AsioListenerSet() override {
    OnIoThread([this] {
      for (const auto& [key, listener] : listeners_) listener->Close();
      for (const auto& [key, listener] : draining_) listener->Close();
      // Here, for what they hold belongs to this thread.
      listeners_.clear();
      draining_.clear();
    });
  }

  std::vector<ForwardState> Apply(const std::vector<Forward>& wanted) override {
    const std::lock_guard<std::mutex> one_at_a_time(apply_mutex_);
    const std::vector<int> errors = OnIoThread([&] { return ApplyHere(wanted); });
    // Who holds a port is looked up here, for it takes longer than a connection should wait.
    std::vector<absl::Status> failures;
    for (size_t i = 0; i < wanted.size(); ++i) {
      const Forward& forward = wanted[i];
      failures.push_back(
          errors[i] == 0
              ? absl::OkStatus()
              : BindError(forward, errors[i],
                          errors[i] == EADDRINUSE ? PortOwner(forward.bind, forward.host) : ""));
    }
    return OnIoThread([&] {
      failures_ = std::move(failures);
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
        waiting->left += listeners_.size();
      }
      for (const auto& [key, listener] : listeners_)
        listener->Probe([waiting] { waiting->Done(); });
    });
    waiting->Done();
    std::unique_lock<std::mutex> guard(waiting->mutex);
    waiting->changed.wait_for(guard, limit, [&] { return waiting->left == 0; });
  }

 private:
  using Listeners = std::map<Key, std::shared_ptr<Listener>>;

  // An errno for each of `wanted`.
  std::vector<int> ApplyHere(const std::vector<Forward>& wanted) {
    std::vector<int> errors(wanted.size());
    std::set<Key> keys;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (!IsValid(wanted[i])) {
        errors[i] = EINVAL;
      } else if (!keys.insert(KeyOf(wanted[i])).second) {
        errors[i] = EEXIST;
      } else {
        errors[i] = Open(wanted[i]);
      }
    }
    DrainAllBut(keys);
    failures_.clear();
    for (size_t i = 0; i < wanted.size(); ++i) {
      // New before old cannot be where the old one holds the port: 127.0.0.1 to 0.0.0.0.
      if (errors[i] == EADDRINUSE) errors[i] = Open(wanted[i]);
      failures_.push_back(errors[i] == 0 ? absl::OkStatus() : BindError(wanted[i], errors[i], ""));
    }
    wanted_ = wanted;
    return errors;
  }

  int Open(const Forward& forward) {
    const Key key = KeyOf(forward);
    if (const auto kept = listeners_.find(key); kept != listeners_.end()) {
      kept->second->Retarget(forward.guest);
      return 0;
    }
    // One that was removed a moment ago comes back with its connections.
    const auto back = draining_.find(key);
    const auto listener = back != draining_.end()
                              ? back->second
                              : std::make_shared<Listener>(forward, route_, options_);
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
      state.bound = failures_[i];
      if (!state.bound.ok()) {
        state.last_error = std::string(state.bound.message());
      } else {
        const Listener& listener = *listeners_.at(KeyOf(wanted_[i]));
        const ForwardCounters& counters = listener.counters();
        state.bound = listener.accepting();
        state.open_connections = counters.open_connections;
        state.bytes_in = counters.bytes_in;
        state.bytes_out = counters.bytes_out;
        state.last_error = counters.last_error;
        state.health = counters.health;
      }
      states.push_back(std::move(state));
    }
    return states;
  }

  const GuestRoute route_;
  const ListenerSetOptions options_;
  std::mutex apply_mutex_;
  // io thread only:
  std::vector<Forward> wanted_;
  std::vector<absl::Status> failures_;  // for each of them
  Listeners listeners_;                 // a key is in one of these two
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
