#ifndef RUM_AGENT_API_GUEST_CARD_SETUP_H_
#define RUM_AGENT_API_GUEST_CARD_SETUP_H_

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"
#include "agent-api/guest/card_keeper.h"

namespace rum::guest {

// Sets up cards of the machine's for which nobody else in the guest does: a file of rum's own tells
// the guest's network manager to ask for an address. A list in /var/lib/rum says which files these
// are; they go with their card, and no other file is touched. Thread-safe.
class CardSetup {
 public:
  using Tool = std::function<absl::Status(const std::vector<std::string>& argv)>;
  struct Patience {
    std::chrono::milliseconds appears{30'000};  // a card, and its manager's word, on a busy host
    std::chrono::milliseconds address{5'000};   // a network may have none to give
  };

  CardSetup();  // of this guest
  CardSetup(NetworkWorld world, Tool run, Patience patience);

  // Of those of `macs` that the kernel has. `cards`: what it tells of all of them, so that it is
  // asked again only about those without an address.
  std::vector<agent::CardState> Look(const std::vector<std::string>& macs,
                                     const std::vector<agent::Card>& cards) const;
  // MAC addresses for which there is something of rum's, but for `macs`.
  std::vector<std::string> Stale(const std::vector<std::string>& macs) const;
  // NotFound: a card has not come. Where it stands otherwise, says Look().
  absl::Status Set(const std::vector<std::string>& macs, const std::vector<std::string>& awaited);

 private:
  struct Own {
    std::string mac;
    std::string path;
  };
  void LookCloser(agent::CardState* state) const;
  static bool Has(const std::vector<Own>& all, const Own& own);
  std::optional<Link> LinkOf(const std::string& mac) const;
  std::vector<Own> ReadOwn() const;
  absl::Status Note(const Own& own) const;
  absl::Status WriteOwn(const std::vector<Own>& all) const;
  absl::Status Remove(const Own& own);
  absl::Status SetUp(const std::string& mac);
  absl::Status Await(const std::string& mac, Link* link, CardKeeper* keeper) const;
  bool AwaitTaken(const std::string& mac) const;
  absl::Status TakeBack(const std::string& mac);
  void AwaitAddress(const std::string& mac) const;
  absl::Status Write(const std::string& mac, const std::string& path, const std::string& text);
  absl::Status Tell(const CardKeeper& keeper, const Link& link);

  const NetworkWorld world_;
  const Tool run_;
  const Patience patience_;
  std::mutex mutex_;  // one call of Set() at a time
};

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_CARD_SETUP_H_
