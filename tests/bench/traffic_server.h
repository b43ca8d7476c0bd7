#ifndef RUM_TESTS_BENCH_TRAFFIC_SERVER_H_
#define RUM_TESTS_BENCH_TRAFFIC_SERVER_H_

#include <cstdint>

namespace rum::bench {

// Serves 0.0.0.0:`port` for ever. A connection says by its first byte what it wants. E: everything
// back. S: nothing back until the end, then one byte. D and 8 hex digits: so many bytes, then the
// end. Returns only when it cannot listen, what the process is to exit with.
int ServeTraffic(uint16_t port);

}  // namespace rum::bench

#endif  // RUM_TESTS_BENCH_TRAFFIC_SERVER_H_
