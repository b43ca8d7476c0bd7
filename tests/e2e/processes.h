#ifndef RUM_TESTS_E2E_PROCESSES_H_
#define RUM_TESTS_E2E_PROCESSES_H_

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

namespace rum::e2e {

// The processes of this user that run one of `binaries`. The tests have a process table of their
// own.
std::vector<pid_t> ProcessesOf(const std::set<std::string>& binaries);

// Those of rum-controller that are controllers: not the zygote and the guests' processes, which a
// controller has forked.
std::vector<pid_t> Controllers();

// kill -9 of those that are there now, and waits until they are gone.
void KillAll(const std::set<std::string>& binaries);

// The most memory that a process of `binary` has had, in KiB: of those that live.
long PeakKbOf(const std::string& binary);

}  // namespace rum::e2e

#endif  // RUM_TESTS_E2E_PROCESSES_H_
