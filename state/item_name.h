#ifndef RUM_STATE_ITEM_NAME_H_
#define RUM_STATE_ITEM_NAME_H_

#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rum {

// Names one element of a table for all who speak of it, the diff of two files, the report, the
// history and the messages: "ports[127.0.0.1:8080]", "ports[[::1]:8080]", "fs.ext4[/data]",
// "user.groups[docker]". Of several parts of a key, one with colons stands in brackets.
std::string ItemName(const std::string& table, const std::vector<std::string>& key);
// The same of an element of a repeated field whose fields `key_fields` (see config.proto) are its
// key; what is absent counts as its default.
std::string ItemName(const std::string& table, const google::protobuf::Message& element,
                     const std::string& key_fields);

// "127.0.0.1:8080", "[::1]:8080", "unix:/p/app.sock".
std::string HostPort(const std::string& address, uint32_t port);

// Whether `field` is `item` or a field of it: "ports[…].guest" of "ports[…]".
bool IsWithin(const std::string& field, const std::string& item);

}  // namespace rum

#endif  // RUM_STATE_ITEM_NAME_H_
