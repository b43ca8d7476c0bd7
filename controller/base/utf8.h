#ifndef RUM_CONTROLLER_BASE_UTF8_H_
#define RUM_CONTROLLER_BASE_UTF8_H_

#include <google/protobuf/message.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace rum {

// One character of a UTF-8 text. `size` 0: what stands there is not UTF-8.
struct Utf8Character {
  uint32_t code = 0;
  size_t size = 0;
};
Utf8Character CharacterAt(const std::string& text, size_t at);

// Counts the bytes at the end that begin a character whose other bytes are not there.
size_t BytesOfBegunCharacter(const std::string& bytes);

bool IsUtf8(const std::string& text);

// Makes text of what may be anything, a name in a guest or what a tool said: each byte that is not
// UTF-8 becomes "\xe4".
std::string ToUtf8(const std::string& bytes);

// A `string` field that is not UTF-8 makes the whole message unreadable for whoever gets it. Does
// the same to all string fields of `message` and below.
void MakeUtf8(google::protobuf::Message* message);

}  // namespace rum

#endif  // RUM_CONTROLLER_BASE_UTF8_H_
