#include "agent-api/build_id.h"

#include <elf.h>

#include <cstring>
#include <fstream>

#include "absl/strings/escaping.h"

namespace rum {
namespace {

constexpr size_t kMostNotes = 64 * 1024;

// Of the notes of one segment, elf(5).
std::string IdIn(const std::string& notes) {
  const auto padded = [](size_t size) { return (size + 3) & ~size_t{3}; };
  for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr head;
    std::memcpy(&head, notes.data() + at, sizeof head);
    const size_t name = at + sizeof head;
    const size_t data = name + padded(head.n_namesz);
    if (data + head.n_descsz > notes.size()) break;
    if (head.n_type == NT_GNU_BUILD_ID && notes.compare(name, head.n_namesz, "GNU\0", 4) == 0)
      return absl::BytesToHexString(notes.substr(data, head.n_descsz));
    at = data + padded(head.n_descsz);
  }
  return "";
}

}  // namespace

std::string BuildIdOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr head{};
  if (!file.read(reinterpret_cast<char*>(&head), sizeof head) ||
      std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64)
    return "";
  for (int i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr segment{};
    file.seekg(static_cast<std::streamoff>(head.e_phoff) + i * static_cast<int>(sizeof segment));
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof segment)) return "";
    if (segment.p_type != PT_NOTE || segment.p_filesz > kMostNotes) continue;
    std::string notes(segment.p_filesz, '\0');
    file.seekg(static_cast<std::streamoff>(segment.p_offset));
    if (!file.read(notes.data(), static_cast<std::streamsize>(notes.size()))) return "";
    const std::string id = IdIn(notes);
    if (!id.empty()) return id;
  }
  return "";
}

}  // namespace rum
