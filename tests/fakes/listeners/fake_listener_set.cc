#include "tests/fakes/listeners/fake_listener_set.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cerrno>

#include "absl/strings/match.h"
#include "controller/listeners/listener.h"
#include "state/bind_address.h"

namespace rum {
namespace {

using Lock = std::unique_lock<std::mutex>;
using Place = FakeHost::Place;

constexpr char kOwner[] = "postgres (pid 812)";

// An errno: the forward has no place.
int FindPlace(const Forward& forward, Place* place) {
  if (IsUnixBind(forward.bind)) {
    *place = {forward.bind, 0};
    return BindProblem(forward.bind).empty() && forward.host == 0 ? 0 : EINVAL;
  }
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(forward.bind, error);
  *place = {address.to_string(), forward.host};
  if (error || forward.host == 0) return EINVAL;
  return absl::StartsWith(place->first, "198.51.100.") ? EADDRNOTAVAIL : 0;
}

// Whether two of one machine's, or of several, cannot be there at once.
bool Collide(const Place& one, const Place& other) {
  return one == other ||
         (one.second != 0 && one.second == other.second && BindsCollide(one.first, other.first));
}

}  // namespace

void FakeHost::Show() {
  open.clear();
  sockets.clear();
  for (const auto& [place, socket] : bound_) {
    if (place.second == 0) {
      sockets[socket.forward.bind] = socket.forward;
    } else {
      open[place.second] = socket.forward;
    }
  }
}

void FakeHost::RetryAll() {
  std::vector<std::function<void()>> told;
  {
    const Lock lock(mutex);
    for (FakeListenerSet* set : sets_) {
      if (set->Retry() && set->route_.on_change) told.push_back(set->route_.on_change);
    }
  }
  for (const auto& tell : told) tell();
}

void FakeHost::Free(uint16_t port) {
  {
    const Lock lock(mutex);
    taken.erase(port);
  }
  RetryAll();
}

int FakeHost::Reach(const Forward& forward) {
  const Lock lock(mutex);
  Place place;
  FindPlace(forward, &place);
  for (const auto& [at, socket] : bound_) {
    if (Collide(at, place)) return socket.number;
  }
  return 0;
}

FakeListenerSet::FakeListenerSet(std::shared_ptr<FakeHost> host, GuestRoute route)
    : host_(std::move(host)), route_(std::move(route)) {
  const Lock lock(host_->mutex);
  host_->sets_.insert(this);
}

FakeListenerSet::~FakeListenerSet() {
  {
    const Lock lock(host_->mutex);
    host_->sets_.erase(this);
    std::erase_if(host_->bound_, [this](const auto& one) { return one.second.set == this; });
    host_->Show();
  }
  host_->RetryAll();
}

std::vector<ForwardState> FakeListenerSet::Apply(const std::vector<Forward>& wanted) {
  std::vector<ForwardState> states;
  {
    const Lock lock(host_->mutex);
    std::vector<Place> kept;
    for (const Forward& forward : wanted) FindPlace(forward, &kept.emplace_back());
    std::erase_if(host_->bound_, [&](const auto& one) {
      return one.second.set == this && std::count(kept.begin(), kept.end(), one.first) == 0;
    });
    wanted_ = wanted;
    bound_.clear();
    for (size_t i = 0; i < wanted.size(); ++i) {
      bound_.push_back(Bind(wanted[i], {kept.begin(), kept.begin() + static_cast<long>(i)}));
    }
    host_->Show();
    states = States();
  }
  host_->RetryAll();  // whoever wants what was let go
  return states;
}

absl::Status FakeListenerSet::Bind(const Forward& forward, const std::vector<Place>& listed) {
  Place place;
  if (const int error = FindPlace(forward, &place); error != 0)
    return BindError(forward, error, "");
  if (std::count(listed.begin(), listed.end(), place) > 0) return BindError(forward, EEXIST, "");
  if (const auto own = host_->bound_.find(place);
      own != host_->bound_.end() && own->second.set == this) {
    own->second.forward = forward;
    return absl::OkStatus();
  }
  if (host_->taken.count(forward.host) > 0) return BindError(forward, EADDRINUSE, kOwner);
  for (const auto& [at, socket] : host_->bound_) {
    if (Collide(at, place)) return BindError(forward, EADDRINUSE, socket.set->route_.machine);
  }
  host_->bound_[place] = {forward, this, ++host_->opened};
  return absl::OkStatus();
}

bool FakeListenerSet::Retry() {
  bool got = false;
  for (size_t i = 0; i < bound_.size(); ++i) {
    if (!absl::IsUnavailable(bound_[i])) continue;
    bound_[i] = Bind(wanted_[i], {});
    got = got || bound_[i].ok();
  }
  host_->Show();
  return got;
}

std::vector<ForwardState> FakeListenerSet::Observe() {
  const Lock lock(host_->mutex);
  return States();
}

std::vector<ForwardState> FakeListenerSet::States() const {
  std::vector<ForwardState> states;
  for (size_t i = 0; i < wanted_.size(); ++i) {
    ForwardState state;
    state.forward = wanted_[i];
    state.bound = bound_[i];
    if (state.bound.ok()) state.health = host_->health;
    if (!state.bound.ok()) state.last_error = std::string(state.bound.message());
    states.push_back(std::move(state));
  }
  return states;
}

}  // namespace rum
