#include "tests/bench/guest_side.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"

namespace rum::bench {
namespace {

constexpr char kProgram[] = "/tmp/in_guest";

absl::Status Shell(const e2e::World& world, const std::string& line, const std::string& input) {
  const e2e::Result result = world.Rum({"exec", "--", "sh", "-c", line}, input);
  if (result.exit_status == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("in the guest: ", line, ": ", result.out, result.err));
}

absl::StatusOr<Series> Samples(const e2e::World& world, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"exec", "--", kProgram});
  const e2e::Result result = world.Rum(arguments);
  if (result.exit_status != 0) {
    return absl::InternalError(absl::StrCat("in the guest: ", result.out, result.err));
  }
  Series series;
  std::istringstream lines(result.out);
  for (double ms = 0; lines >> ms;) series.ms.push_back(ms);
  return series;
}

}  // namespace

absl::Status PutInGuest(const e2e::World& world) {
  const char* path = std::getenv("RUM_IN_GUEST");
  std::ostringstream program;
  if (path != nullptr) program << std::ifstream(path, std::ios::binary).rdbuf();
  if (program.str().empty()) return absl::NotFoundError("RUM_IN_GUEST names no program");
  return Shell(world, absl::StrCat("cat >", kProgram, " && chmod +x ", kProgram), program.str());
}

absl::Status StartTrafficServer(const e2e::World& world, uint16_t port) {
  return Shell(world,
               absl::StrCat("setsid ", kProgram, " serve ", port, " </dev/null >/dev/null 2>&1 &"),
               "");
}

absl::StatusOr<Series> EchoInGuest(const e2e::World& world, uint16_t port, size_t connections,
                                   size_t samples) {
  return Samples(world,
                 {"echo", absl::StrCat(port), absl::StrCat(connections), absl::StrCat(samples)});
}

absl::StatusOr<Series> StartsInGuest(const e2e::World& world, const std::string& program,
                                     int times) {
  return Samples(world, {"start", program, absl::StrCat(times)});
}

}  // namespace rum::bench
