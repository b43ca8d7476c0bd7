#ifndef RUM_TESTS_TESTDATA_BAD_FILES_H_
#define RUM_TESTS_TESTDATA_BAD_FILES_H_

#include <string>
#include <vector>

namespace rum {

// A rum.toml that is wrong, and what rum says of it when it lies in `folder` as rum.toml.
struct BadFile {
  std::string name;
  std::string toml;
  std::string errors;
};

// Reads bad_files.txt: for each file "#### NAME", its text, "----", the errors, in which FOLDER
// stands for `folder`.
std::vector<BadFile> ReadBadFiles(const std::string& path, const std::string& folder);

}  // namespace rum

#endif  // RUM_TESTS_TESTDATA_BAD_FILES_H_
