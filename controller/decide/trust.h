#ifndef RUM_CONTROLLER_DECIDE_TRUST_H_
#define RUM_CONTROLLER_DECIDE_TRUST_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "controller/aspects/plan.pb.h"
#include "state/consent.h"

namespace rum {

// What a record knows of the user's consent (state/consent.h). Pure.

// Returns it as Withhold() wants it; points into the record.
Consent ConsentOf(const MachineRecord& record);

// Those of `config` that may be open.
google::protobuf::RepeatedPtrField<Port> ConsentedPorts(const Config& config,
                                                        const MachineRecord& record,
                                                        const Surroundings& around);

// What is asked, as an item of a report; its `wanted` is the value that consent is given to.
Item AskItem(const Ask& ask);
// Why nothing can be done: "waits for your word: image.base: …".
std::string WaitsForWord(const std::vector<Ask>& asks, const std::vector<std::string>& fields);

void Give(const std::vector<ConsentedValue>& values, int64_t now_ms, MachineRecord* record);
// Takes back what Means() finds; true: something was.
bool Revoke(const std::vector<std::string>& words, bool all, MachineRecord* record);

// A machine of a build that asked nobody goes on: what it was made by counts as consented, and its
// history says so. Of a record that knows of consent nothing is taken.
void TakeConsentOver(const Surroundings& around, int64_t now_ms, MachineRecord* record);
// The same of networks, which libvirt alone knows: those that the machine has `joined`.
void TakeNetworksOver(const std::set<std::string>& joined, int64_t now_ms, MachineRecord* record);
// What TakeConsentOver() looks at: the configuration that the machine has. Null: it has none.
const Config* ConfigOf(const MachineRecord& record);

}  // namespace rum

#endif  // RUM_CONTROLLER_DECIDE_TRUST_H_
