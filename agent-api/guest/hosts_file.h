#ifndef RUM_AGENT_API_GUEST_HOSTS_FILE_H_
#define RUM_AGENT_API_GUEST_HOSTS_FILE_H_

#include <string>
#include <vector>

namespace rum::guest {

// Edits of an /etc/hosts (hosts(5)) that change the machine's own names and nothing else: comments,
// white space, ends of lines and the user's names stay byte for byte.
//
// `hosts` with `hostname`, and its first label, in the place of the names in `before` on the lines
// of 127.0.1.1. A name `before` has no dot of may stand beside its full name as the first two of a
// line, as Debian's installer writes them; then both change. Where no such line has an old name a
// new one follows that of 127.0.0.1. Where another address has `hostname` that is left to it: old
// names go, and nothing is added.
std::string WithOwnName(const std::string& hosts, const std::string& hostname,
                        const std::vector<std::string>& before);

// Whether a line of `hosts` gives this name an address.
bool NamesHost(const std::string& hosts, const std::string& hostname);

}  // namespace rum::guest

#endif  // RUM_AGENT_API_GUEST_HOSTS_FILE_H_
