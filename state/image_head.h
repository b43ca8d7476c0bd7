#ifndef RUM_STATE_IMAGE_HEAD_H_
#define RUM_STATE_IMAGE_HEAD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace rum {

// What the beginning of a qcow2 image says (QEMU, docs/interop/qcow2.txt).
struct Qcow2Head {
  uint64_t version = 0;
  uint64_t below_at = 0;      // where the name of the file below stands; 0: there is none
  uint64_t below_bytes = 0;   // the length of that name
  uint64_t virtual_size = 0;  // bytes
  bool data_apart = false;    // its data is in another file
};

constexpr size_t kQcow2HeadBytes = 104;  // of version 3; version 2 has 72

// Nullopt: these are not the first bytes of a qcow2 image. What they lack counts as zero.
std::optional<Qcow2Head> ReadQcow2Head(const std::string& bytes);

// Whether every user of this host may read the file, by its mode and those of the folders above it.
bool EverybodyReads(const std::string& path);

}  // namespace rum

#endif  // RUM_STATE_IMAGE_HEAD_H_
