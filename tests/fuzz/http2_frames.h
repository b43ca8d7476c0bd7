#ifndef RUM_TESTS_FUZZ_HTTP2_FRAMES_H_
#define RUM_TESTS_FUZZ_HTTP2_FRAMES_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace rum {

// What fuzzers make frames of: pieces of four bytes and what belongs to them, so that an input that
// is cut or changed anywhere is still one.
struct FuzzOperation {
  int what = 0;    // 0..15; up to 9 a type of RFC 9113's frames
  int flags = 0;   // 0..255
  int stream = 0;  // 0..15
  std::string payload;
};

// The operation at `*at`, which is moved behind it. False: there is none.
inline bool NextOperation(const std::string& bytes, size_t* at, FuzzOperation* operation) {
  if (*at + 4 > bytes.size()) return false;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[*at + i]); };
  *operation = {byte(0) % 16, byte(1), byte(2) % 16, bytes.substr(*at + 4, byte(3))};
  *at += 4 + operation->payload.size();
  return true;
}

// A frame of HTTP/2, well-formed by its head alone.
inline std::string Http2Frame(int type, int flags, int stream, const std::string& payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame += static_cast<char>(payload.size() >> shift);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) frame += static_cast<char>(stream >> shift);
  return frame + payload;
}

// What an operation says; empty: it says nothing. 10 to 12 are frames that random bytes seldom
// make.
inline std::string Said(const FuzzOperation& operation) {
  const auto& [what, flags, stream, payload] = operation;
  if (what <= 9) return Http2Frame(what, flags, stream, payload);
  if (what == 10) return Http2Frame(1, flags | 4, stream, "\x88");  // :status 200
  if (what == 11) {
    return Http2Frame(1, flags | 4, stream, std::string("\x02\x07") + "CONNECT\x01\x02" + "80");
  }
  if (what == 12) return Http2Frame(5, 4, stream, std::string("\0\0\0\2\x82", 5) + payload);
  return what == 13 ? payload : "";
}

}  // namespace rum

#endif  // RUM_TESTS_FUZZ_HTTP2_FRAMES_H_
