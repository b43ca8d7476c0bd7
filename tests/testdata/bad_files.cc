#include "tests/testdata/bad_files.h"

#include <fstream>

namespace rum {

std::vector<BadFile> ReadBadFiles(const std::string& path, const std::string& folder) {
  std::vector<BadFile> files;
  std::ifstream stream(path);
  bool errors = false;
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind("#### ", 0) == 0) {
      files.push_back({line.substr(5), "", ""});
      errors = false;
    } else if (line == "----") {
      errors = true;
    } else if (!files.empty()) {
      for (size_t at = line.find("FOLDER"); errors && at != std::string::npos;
           at = line.find("FOLDER")) {
        line.replace(at, 6, folder);
      }
      (errors ? files.back().errors : files.back().toml) += line + "\n";
    }
  }
  return files;
}

}  // namespace rum
