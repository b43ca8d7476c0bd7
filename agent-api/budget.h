#ifndef RUM_AGENT_API_BUDGET_H_
#define RUM_AGENT_API_BUDGET_H_

#include <cstddef>
#include <cstdint>
#include <string>

// What one guest may say at a time. The agent keeps to it (guest/told.h) and names what it had to
// leave out; a host believes nothing that is larger (client/checked_reply.h). Only grows: an older
// host would refuse what a newer agent says.
namespace rum {

inline constexpr size_t kMostMessageBytes = 1 << 20;    // of anything, also in a stream
inline constexpr size_t kMostAnswerBytes = 256 * 1024;  // of the answer to one call
inline constexpr size_t kMostMetadataBytes = 16 * 1024;

inline constexpr size_t kMostNameBytes = 256;  // a name, a version, a build id
inline constexpr size_t kMostHostnameBytes = 300;
inline constexpr size_t kMostPathBytes = 4096;
inline constexpr size_t kMostKeyBytes = 16 * 1024;
inline constexpr size_t kMostReasonBytes = 4096;      // why something failed
inline constexpr size_t kMostEventBytes = 64 * 1024;  // of output, at once

// Agents keep the last 70 runs of each of three kinds, and the last success of each.
inline constexpr int kMostRunsTold = 256;
inline constexpr int kMostCards = 64;
inline constexpr int kMostAddresses = 64;  // of a card
inline constexpr int kMostStaleTargets = 64;
inline constexpr int kMostDrives = 64;  // a machine has at most 24 and a root disk
inline constexpr int kMostShares = 64;  // of which a host asks who uses them
inline constexpr int kMostHostKeys = 16;

// Of an observation's lists, so that all of them are one answer. The agent's alone.
inline constexpr size_t kToldOfGroups = 96 * 1024;
inline constexpr size_t kToldOfKeys = 48 * 1024;
inline constexpr size_t kToldOfCards = 16 * 1024;
inline constexpr size_t kToldOfTargets = 8 * 1024;
inline constexpr size_t kToldOfAProblem = 1024;
inline constexpr size_t kToldOfADrive = 256;

// What a run may be called: [a-zA-Z0-9-]{1,64}.
bool IsRunId(const std::string& run_id);
// "system", "boot" or "drives".
inline constexpr size_t kRunKinds = 3;
bool IsRunKind(const std::string& kind);

}  // namespace rum

#endif  // RUM_AGENT_API_BUDGET_H_
