#ifndef RUM_CONTROLLER_GUESTS_GUEST_LINK_H_
#define RUM_CONTROLLER_GUESTS_GUEST_LINK_H_

#include <functional>
#include <string>

#include "controller/reconcile/links.h"

namespace rum {

// Reaches a machine's guest by a process of its own (guest_process.h); forwards by vsock where the
// domain has it and as long as the guest serves it, else by the forward channel.
GuestLink LinkGuest(const std::string& machine, ChannelOpener open, std::function<void()> on_change,
                    const std::string& agent_binary);

}  // namespace rum

#endif  // RUM_CONTROLLER_GUESTS_GUEST_LINK_H_
