#ifndef RUM_TESTS_AGENT_API_GUEST_PRIVATE_ETC_H_
#define RUM_TESTS_AGENT_API_GUEST_PRIVATE_ETC_H_

#include <string>

namespace rum {

// Gives this process, and all that it starts, a hostname, an /etc and a /home of its own that
// vanish with it: the test is then free to be what a guest is. Before any thread; at most once.
// Ends the process with a message where the kernel refuses. The real /etc is out of reach
// afterwards.
void EnterPrivateEtc();

// The files of a small guest: users root, dev (1000) and nobody; hostname "old".
void FillEtc();

// After EnterPrivateEtc(): what else there is of this machine's root can only be read from now on,
// but for the files of the test itself.
void ProtectRoot();

std::string KernelHostname();

}  // namespace rum

#endif  // RUM_TESTS_AGENT_API_GUEST_PRIVATE_ETC_H_
