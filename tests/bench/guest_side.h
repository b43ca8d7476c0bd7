#ifndef RUM_TESTS_BENCH_GUEST_SIDE_H_
#define RUM_TESTS_BENCH_GUEST_SIDE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/bench/table.h"
#include "tests/e2e/world.h"

namespace rum::bench {

// Puts the program RUM_IN_GUEST (in_guest.cc) into the world's guest, where the others use it.
absl::Status PutInGuest(const e2e::World& world);
// Starts the traffic server on `port`, to run until the guest ends.
absl::Status StartTrafficServer(const e2e::World& world, uint16_t port);
// traffic.h's Echo between two processes in the guest.
absl::StatusOr<Series> EchoInGuest(const e2e::World& world, uint16_t port, size_t connections,
                                   size_t samples);
// From the start of `program` by a process in the guest to its end, in ms.
absl::StatusOr<Series> StartsInGuest(const e2e::World& world, const std::string& program,
                                     int times);

}  // namespace rum::bench

#endif  // RUM_TESTS_BENCH_GUEST_SIDE_H_
