#ifndef RUM_TESTS_FAKES_LISTENERS_FAKE_LISTENER_SET_H_
#define RUM_TESTS_FAKES_LISTENERS_FAKE_LISTENER_SET_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/listeners/listener_set.h"

namespace rum {

class FakeListenerSet;

// A host's ports in memory. It has every address but those of 198.51.100.0/24.
struct FakeHost {
  // An address in one spelling and its port, or a unix socket's "unix:PATH" and 0.
  using Place = std::pair<std::string, uint16_t>;
  struct Socket {
    Forward forward;
    const FakeListenerSet* set = nullptr;
    int number = 0;  // no other had it
  };

  std::mutex mutex;
  std::set<uint16_t> taken;                        // by other programs; see Free()
  std::map<uint16_t, Forward> open;                // by rum
  std::map<std::string, Forward> sockets;          // unix sockets of rum's, by bind
  ForwardHealth health = ForwardHealth::kUnknown;  // of all that are open
  int opened = 0;  // sockets bound so far: an untouched forward is bound once

  // Another program lets go of a port, and who waits for it notices at once; of a `taken` that is
  // only changed nobody does before the next Apply().
  void Free(uint16_t port);
  // The number of the socket that a client of a place would reach; 0: it is refused.
  int Reach(const Forward& forward);

 private:
  friend class FakeListenerSet;
  // Those of all sets take what they want and can have now; needs no lock.
  void RetryAll();
  void Show();  // in `open` and `sockets`; needs the lock

  std::map<Place, Socket> bound_;
  std::set<FakeListenerSet*> sets_;
};

// Listeners on a FakeHost; they close when the set goes, as sockets do with their process.
class FakeListenerSet : public ListenerSet {
 public:
  // Of `route` its machine's name and on_change: nobody connects here.
  explicit FakeListenerSet(std::shared_ptr<FakeHost> host, GuestRoute route = {});
  ~FakeListenerSet() override;

  std::vector<ForwardState> Apply(const std::vector<Forward>& wanted) override;
  std::vector<ForwardState> Observe() override;

 private:
  friend struct FakeHost;
  // These need the lock.
  std::vector<ForwardState> States() const;
  absl::Status Bind(const Forward& forward, const std::vector<FakeHost::Place>& listed);
  bool Retry();  // true: it got one

  const std::shared_ptr<FakeHost> host_;
  const GuestRoute route_;
  std::vector<Forward> wanted_;
  std::vector<absl::Status> bound_;  // of each
};

}  // namespace rum

#endif  // RUM_TESTS_FAKES_LISTENERS_FAKE_LISTENER_SET_H_
