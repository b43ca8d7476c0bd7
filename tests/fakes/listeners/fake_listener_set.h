#ifndef RUM_TESTS_FAKES_LISTENERS_FAKE_LISTENER_SET_H_
#define RUM_TESTS_FAKES_LISTENERS_FAKE_LISTENER_SET_H_

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/listeners/listener_set.h"

namespace rum {

// A host's ports in memory.
struct FakeHost {
  std::mutex mutex;
  std::set<uint16_t> taken;                // by other programs
  std::map<uint16_t, Forward> open;        // by rum
  std::map<std::string, Forward> sockets;  // unix sockets of rum's, by bind
  int opened = 0;  // sockets bound so far: an untouched forward is bound once
};

// Listeners on a FakeHost; they close when the set goes, as sockets do with their process.
class FakeListenerSet : public ListenerSet {
 public:
  explicit FakeListenerSet(std::shared_ptr<FakeHost> host) : host_(std::move(host)) {}
  ~FakeListenerSet() override;

  std::vector<ForwardState> Apply(const std::vector<Forward>& wanted) override;
  std::vector<ForwardState> Observe() override;

 private:
  std::vector<ForwardState> States();  // needs the lock

  const std::shared_ptr<FakeHost> host_;
  std::vector<Forward> wanted_;
};

}  // namespace rum

#endif  // RUM_TESTS_FAKES_LISTENERS_FAKE_LISTENER_SET_H_
