#ifndef RUM_STATE_NAMES_H_
#define RUM_STATE_NAMES_H_

#include <string>

namespace rum {

// What text may be a name of what. Linear in its length: the text comes from a file that anybody
// may have written (std::regex recurses once for each character).

bool IsHostname(const std::string& text);  // RFC 1123 section 2.1
bool IsUserName(const std::string& text);  // as useradd(8) takes it; groups follow the same rule
bool IsMachineName(const std::string& text);
bool IsPoolName(const std::string& text);    // as zpool-create(8) takes it
bool IsSha256(const std::string& text);      // 64 hex digits
bool IsOpenSshKey(const std::string& text);  // a line of authorized_keys without options
// "TYPE DATA" of such a line: what makes two lines the same key.
std::string KeyWithoutComment(const std::string& line);
// The comment of such a line, else its type and its last characters: for people.
std::string KeyName(const std::string& line);
// The one spelling of an IPv6 address (RFC 5952: "0:0::1" is "::1"); any other text as it is.
std::string PlainAddress(const std::string& address);
std::string Quoted(const std::string& text);  // for messages: in quotes, escaped, not too long

}  // namespace rum

#endif  // RUM_STATE_NAMES_H_
