#ifndef RUM_CONTROLLER_GUESTS_NO_PROCESS_H_
#define RUM_CONTROLLER_GUESTS_NO_PROCESS_H_

namespace rum {

// What begins the words of a machine whose guest has no process, because none is to be had; its
// status is ResourceExhausted.
inline constexpr char kNoProcess[] = "there is no process to listen to the guest: ";

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_NO_PROCESS_H_
