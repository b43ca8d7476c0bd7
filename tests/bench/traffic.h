#ifndef RUM_TESTS_BENCH_TRAFFIC_H_
#define RUM_TESTS_BENCH_TRAFFIC_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "tests/bench/table.h"

namespace rum::bench {

// What is measured over 127.0.0.1:`port`, behind which tests/bench/traffic_server.h is, however
// its connections get there.

// Megabytes (10^6) a second of one connection, to the server and from it, from the first byte to
// the last one's arrival.
absl::StatusOr<double> Upload(uint16_t port, size_t bytes);
absl::StatusOr<double> Download(uint16_t port, size_t bytes);

// Round trips of 64 bytes, in ms, on so many connections that each have one under way all the time:
// `samples` in all, begun when each connection has had one that does not count.
absl::StatusOr<Series> Echo(uint16_t port, size_t connections, size_t samples);

// From connect() to the first byte of an answer, in ms, one connection after the other.
absl::StatusOr<Series> FirstByte(uint16_t port, size_t samples);

}  // namespace rum::bench

#endif  // RUM_TESTS_BENCH_TRAFFIC_H_
