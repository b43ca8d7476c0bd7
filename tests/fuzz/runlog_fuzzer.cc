// Any bytes as the files of a run's output: a reader ends, gives bytes in their order and none
// twice, and a writer goes on after them so that what it adds is read.
#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "agent-api/run_log/run_log.h"

namespace {

namespace fs = std::filesystem;

fs::path NewFolder() {
  std::string name = (fs::temp_directory_path() / "runlog-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) std::abort();
  return name;
}

// Where the last piece ends.
uint64_t Read(const fs::path& folder, uint64_t from, std::string* last) {
  rum::RunLogReader reader(folder, from);
  uint64_t end = from;
  for (rum::OutputPiece piece; reader.Next(&piece);) {
    if (piece.offset < end || piece.bytes.empty()) std::abort();
    end = piece.offset + piece.bytes.size();
    if (end != reader.offset()) std::abort();
    *last = piece.bytes;
  }
  return end;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const folder = new fs::path(NewFolder());
  for (const auto& entry : fs::directory_iterator(*folder)) fs::remove(entry.path());
  // Two files, and where the second one begins.
  const size_t cut = size < 2 ? size : 2 + data[0] % (size - 1);
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  std::ofstream(*folder / "output-00000000000000000000")
      << bytes.substr(std::min<size_t>(2, size), cut - std::min<size_t>(2, cut));
  if (cut < size) {
    const std::string place = std::to_string(data[1] * (data[0] % 7 == 0 ? uint64_t{1} << 54 : 1));
    std::ofstream(*folder / ("output-" + std::string(20 - place.size(), '0') + place))
        << bytes.substr(cut);
  }
  std::string last;
  const uint64_t end = Read(*folder, 0, &last);
  (void)Read(*folder, end / 2, &last);
  auto writer = rum::RunLogWriter::Open(*folder);
  if (!writer.ok()) return 0;
  const uint64_t begin = (*writer)->end();
  if (!(*writer)->Append({begin, 5, false, "more"}).ok()) return 0;
  if (Read(*folder, begin, &last) != begin + 4 || last != "more") std::abort();
  return 0;
}
