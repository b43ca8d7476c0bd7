#ifndef RUM_STATE_SIZE_H_
#define RUM_STATE_SIZE_H_

#include <cstdint>
#include <optional>
#include <string>

namespace rum {

// Returns the bytes of "20G", "20GB", "20GiB" or "20 GiB": an integer and K, M, G or T (binary,
// whichever of these spellings), any case; a bare number is bytes. nullopt: not a size, or more
// than 64 bits hold.
std::optional<uint64_t> ParseSize(const std::string& text);

// What to say of a text that ParseSize does not take, after "resources.disk ".
std::string SizeProblem(const std::string& text);

// The shortest text that ParseSize reads back: "20G", "1536M", "17".
std::string FormatSize(uint64_t bytes);

// The size of the disk that is made for a wish of so many bytes: libvirt and qcow2 count in whole
// KiB. Wishes with the same disk are the same wish.
uint64_t DiskSize(uint64_t bytes);

}  // namespace rum

#endif  // RUM_STATE_SIZE_H_
