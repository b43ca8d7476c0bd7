#include <string>

#include "absl/strings/str_cat.h"
#include "controller/aspects/aspects.h"
#include "controller/aspects/worlds.h"
#include "controller/base/utf8.h"

namespace rum {
namespace {

constexpr char kHostname[] = "network.hostname";

Verdict JudgeHostname(const Scene& scene) {
  Verdict verdict;
  if (!scene.observed.guest.has_value()) return verdict;
  const agent::Observation& guest = *scene.observed.guest;
  const std::string& wanted = scene.desired.network().hostname();
  if (guest.hostname() == guest.static_hostname()) {
    verdict.seen.mutable_applied()->mutable_network()->set_hostname(ToUtf8(guest.hostname()));
    verdict.Know("applied.network.hostname");
  }
  const bool named = guest.hostname() == wanted && guest.static_hostname() == wanted;
  if (wanted.empty() || (named && !guest.hosts_lack_name())) {
    verdict.AddHolding(kHostname, wanted.empty() ? ToUtf8(guest.hostname()) : wanted);
    return verdict;
  }
  const std::string before =
      ToUtf8(guest.hostname() == wanted ? guest.static_hostname() : guest.hostname());
  Action::SetHostname* set = verdict.AddAction(kHostname)->mutable_set_hostname();
  set->set_before(before);
  set->set_after(wanted);
  verdict.AddCurable(kHostname, kHostname, MovedBy(scene, kHostname, wanted, Item::GUEST),
                     named ? "absent from /etc/hosts" : before, wanted,
                     named ? absl::StrCat("/etc/hosts in the guest lacks ", wanted)
                           : absl::StrCat(before, " in the guest, ", wanted, " wanted"),
                     Outlook(scene, named ? "added" : "set"));
  return verdict;
}

absl::Status ActOnHostname(const Action& action, const Worlds& worlds, Deed* deed) {
  if (worlds.agent == nullptr) return absl::UnavailableError("hostname: no agent");
  const Action::SetHostname& set = action.set_hostname();
  deed->message = set.before() == set.after()
                      ? absl::StrCat("Put hostname ", set.after(), " into /etc/hosts")
                      : absl::StrCat("Set hostname ", set.before(), " → ", set.after());
  return WithContext("hostname", worlds.agent->SetHostname(set.after()));
}

}  // namespace

Aspect HostnameAspect() {
  return {.name = kHostname,
          .fields = {kHostname},
          .known_by = Item::GUEST,
          .judge = JudgeHostname,
          .act = ActOnHostname};
}

}  // namespace rum
