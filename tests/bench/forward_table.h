#ifndef RUM_TESTS_BENCH_FORWARD_TABLE_H_
#define RUM_TESTS_BENCH_FORWARD_TABLE_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "tests/bench/table.h"

namespace rum::bench {

// kGuest: two processes in the guest, between which nothing is carried. Whatever ends at the
// guest's loopback has that to do as well.
enum class Contender { kRum, kSsh, kSocat, kGrpc, kGuest };
std::string NameOf(Contender contender);

inline constexpr size_t kConnections[] = {1, 10, 100, 1000};

// What was measured of one contender.
struct Figures {
  std::vector<double> up;  // MB/s
  std::vector<double> down;
  std::map<size_t, Series> echo;  // ms, by the number of connections
  Series first_byte;
};

struct Table {
  std::string machine;
  bool optimized = false;
  int rounds = 0;
  size_t megabytes = 0;
  std::string cipher;
  std::map<Contender, Figures> figures;
};

// Medians, and rum's by ssh's.
std::string Text(const Table& table);
// {"machine", "optimized", "rounds", "megabytes", "ssh_cipher", "contenders": {NAME: {"up_mb_s",
// "down_mb_s", "echo_ms": {"1": {"p50", "p99"}, …}, "first_byte_ms": {"p50", "p99"}}}}
std::string Json(const Table& table);

}  // namespace rum::bench

#endif  // RUM_TESTS_BENCH_FORWARD_TABLE_H_
