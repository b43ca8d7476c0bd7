#include "tests/fakes/listeners/fake_listener_set.h"

namespace rum {

using Lock = std::unique_lock<std::mutex>;

FakeListenerSet::~FakeListenerSet() {
  Lock lock(host_->mutex);
  for (const Forward& forward : wanted_) {
    host_->open.erase(forward.host);
    host_->sockets.erase(forward.bind);
  }
}

std::vector<ForwardState> FakeListenerSet::Apply(const std::vector<Forward>& wanted) {
  Lock lock(host_->mutex);
  for (const Forward& old : wanted_) {
    bool kept = false;
    for (const Forward& forward : wanted) {
      kept = kept || (forward.host == old.host && (old.host != 0 || forward.bind == old.bind));
    }
    if (!kept) host_->open.erase(old.host);
    if (!kept) host_->sockets.erase(old.bind);
  }
  wanted_ = wanted;
  for (const Forward& forward : wanted_) {
    if (forward.host == 0) {
      host_->sockets[forward.bind] = forward;
      continue;
    }
    if (host_->taken.count(forward.host) > 0) continue;
    if (host_->open.count(forward.host) == 0) ++host_->opened;
    host_->open[forward.host] = forward;
  }
  return States();
}

std::vector<ForwardState> FakeListenerSet::Observe() {
  Lock lock(host_->mutex);
  return States();
}

std::vector<ForwardState> FakeListenerSet::States() {
  std::vector<ForwardState> states;
  for (const Forward& forward : wanted_) {
    ForwardState state;
    state.forward = forward;
    if (forward.host != 0 && host_->open.count(forward.host) == 0) {
      state.bound =
          absl::UnavailableError("port " + forward.bind + ":" + std::to_string(forward.host) +
                                 ": in use by postgres (pid 812)");
    }
    states.push_back(state);
  }
  return states;
}

}  // namespace rum
