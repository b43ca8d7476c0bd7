#ifndef RUM_AGENT_API_GUEST_CARDS_H_
#define RUM_AGENT_API_GUEST_CARDS_H_

#include <mutex>
#include <vector>

#include "agent-api/agent.pb.h"

namespace rum::guest {

// The guest's network cards but for loopback, by name, with the addresses by which others reach
// them. They are listed again only after the kernel has told of a change (rtnetlink(7)): listing
// takes an emulated guest 2 ms. Thread-safe.
class Cards {
 public:
  Cards();
  ~Cards();
  Cards(const Cards&) = delete;
  Cards& operator=(const Cards&) = delete;

  std::vector<agent::Card> Now();

 private:
  bool Changed();  // since the last call

  const int netlink_;  // -1: nobody tells, so that every call lists
  std::mutex mutex_;
  bool listed_ = false;
  std::vector<agent::Card> cards_;
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_CARDS_H_
