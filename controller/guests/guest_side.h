#ifndef RUM_CONTROLLER_GUESTS_GUEST_SIDE_H_
#define RUM_CONTROLLER_GUESTS_GUEST_SIDE_H_

namespace rum {

// Is the process of one guest (zygote.h): parses what the guest says, on both of its channels, and
// tells the controller behind `socket` (guests.proto) what it came to. Returns when that end is
// closed.
void BeGuestProcess(int socket);

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_GUEST_SIDE_H_
