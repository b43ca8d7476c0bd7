#ifndef RUM_AGENT_API_GUEST_CARD_KEEPER_H_
#define RUM_AGENT_API_GUEST_CARD_KEEPER_H_

#include <functional>
#include <string>

#include "agent-api/guest/cards.h"

namespace rum::guest {

// The guest as the setting up of cards sees it; tests have others.
struct NetworkWorld {
  std::string root;  // before each path; empty: the guest's own
  std::function<bool(const std::string& tool)> has;
};

// Who sees to it that a card has an address, by what the guest's network managers write down.
struct CardKeeper {
  // Their numbers are kept on disk.
  enum Manager { kNobody, kNetworkd, kNetworkManager, kIfupdown };
  enum What {
    kTakes,      // `manager` does, or the card needs none
    kUndecided,  // `manager` has not said yet what it makes of it
    kLeaves,     // nobody does, and `manager` can be told to
    kRefuses,    // nobody does, and there is no one to tell
  };
  What what = kRefuses;
  Manager manager = kNobody;
  std::string why;  // nobody does, or nothing is said yet
};

CardKeeper KeeperOf(const NetworkWorld& world, const Link& link);

// The files that are rum's own, for one card.
inline constexpr char kOwnFile[] = "# Made by rum for its network card ";
std::string NetworkdFileOf(const std::string& mac);
std::string IfupdownFileOf(const std::string& mac);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_CARD_KEEPER_H_
