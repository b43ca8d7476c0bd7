#ifndef RUM_AGENT_API_GUEST_CARDS_H_
#define RUM_AGENT_API_GUEST_CARDS_H_

#include <cstddef>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent-api/agent.pb.h"

namespace rum::guest {

// A network card as the kernel has it.
struct Link {
  std::string name;
  unsigned index = 0;
  bool up = false;
  std::string mac;                  // lower case, with colons; empty: it has none
  std::set<std::string> addresses;  // by which others reach it
};

// All but loopback, by name. nullopt: the kernel does not tell.
std::optional<std::vector<Link>> LinksNow();

// A socket to which the kernel tells what becomes of cards and their addresses; -1: it does not.
int ListenToLinks();

// Takes what was told there. True: something of it is of a card with one of these MAC addresses, or
// was lost.
bool DrainLinks(int socket, const std::set<std::string>& macs);

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
