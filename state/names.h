#ifndef RUM_STATE_NAMES_H_
#define RUM_STATE_NAMES_H_

#include <set>
#include <string>

namespace rum {

// What text may be a name of what. Linear in its length: the text comes from a file that anybody
// may have written (std::regex recurses once for each character).

// What keeps text from being a machine's hostname, for a message after "network.hostname "; empty:
// nothing. RFC 1123 section 2.1 within Linux's length, and nothing that means the machine itself or
// reads as an address.
std::string HostnameProblem(const std::string& text);
bool IsHostname(const std::string& text);
bool IsUserName(const std::string& text);  // as useradd(8) of every distribution takes it
// An account that guests have for a service, and which nobody can log in to: one of these, or
// systemd's.
bool IsSystemAccount(const std::string& name);
const std::set<std::string>& SystemAccounts();
// Returns true for what /etc/group may have and groupadd of some distribution takes it
// ("Debian-exim"), but no word that usermod(8) reads as a number, and nothing that separates names
// somewhere.
bool IsGroupName(const std::string& text);
// Returns true for a name of any account, for ssh's "User": no option, no white space, nothing that
// a shell obeys.
bool IsLoginName(const std::string& text);
bool IsMachineName(const std::string& text);
bool IsPoolName(const std::string& text);    // as zpool-create(8) takes it
bool IsSha256(const std::string& text);      // 64 hex digits
bool IsOpenSshKey(const std::string& text);  // see KeyLineProblem (authorized_key.h)
// "TYPE DATA" of such a line, with options or without: what makes two lines the same key.
std::string KeyWithoutComment(const std::string& line);
// The comment of such a line, else its type and its last characters: for people and terminals.
std::string KeyName(const std::string& line);
// The one spelling of an IPv6 address (RFC 5952: "0:0::1" is "::1"); any other text as it is.
std::string PlainAddress(const std::string& address);
std::string Quoted(const std::string& text);  // for messages: in quotes, escaped, not too long

}  // namespace rum

#endif  // RUM_STATE_NAMES_H_
