#ifndef RUM_STATE_TOML_READER_H_
#define RUM_STATE_TOML_READER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "state/config.pb.h"

namespace rum {

// Where a value stands in a file. Lines and columns count from 1, columns in characters; 0:
// unknown.
struct SourceRange {
  uint32_t line = 0;
  uint32_t column = 0;
  uint32_t end_column = 0;
};

// One thing that is wrong with a file: what, where, and what to do.
struct Problem {
  std::string field;    // "resources.memory_mb", "ports[1].host"; empty for the whole file
  std::string message;  // "resources.memory_mb must be at least 256 (got 128)"
  SourceRange where;
};

// Dotted path of a field ("ports[1].host", "drives.data.size") to where its value stands.
using SourceMap = std::map<std::string, SourceRange>;

// A rum.toml as read: defaults filled in, relative paths and `~` resolved against the file's
// folder. Not valid unless `problems` is empty: the fields that could be read are set all the same,
// so that validation can find more.
struct ParsedConfig {
  Config config;
  SourceMap sources;
  std::vector<Problem> problems;
  std::string text;  // the file as it was read
};

// Reads `text`. `path` is the canonical path of the file; it gives names and relative paths their
// meaning and is not opened. Problems of reading and of Validate() (validate.h) are all in the
// result, in the order of the file.
ParsedConfig ReadToml(std::string_view text, const std::string& path);

// Opens and reads a file. A file that cannot be read gives one problem with the reason; pipes,
// devices and what is larger than 1 MiB are none that can.
ParsedConfig ReadTomlFile(const std::string& path);

}  // namespace rum

#endif  // RUM_STATE_TOML_READER_H_
