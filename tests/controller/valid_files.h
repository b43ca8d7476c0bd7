#ifndef RUM_TESTS_CONTROLLER_VALID_FILES_H_
#define RUM_TESTS_CONTROLLER_VALID_FILES_H_

#include <random>
#include <string>
#include <utility>
#include <vector>

namespace rum {

// Writes files at the edge of what is valid, one after another: a seed's are always the same.
class ValidFiles {
 public:
  explicit ValidFiles(unsigned seed) : random_(seed) {}

  std::string Next();

 private:
  using Words = std::vector<std::string>;

  size_t Below(size_t end) { return random_() % end; }
  bool OneIn(size_t count) { return Below(count) == 0; }
  std::string Any(const Words& words) { return words[Below(words.size())]; }
  Words Some(Words words, size_t most);
  void Add(const std::string& header,
           const std::vector<std::pair<std::string, std::string>>& values);
  void AddNetwork();
  void AddPorts();
  void AddUser();
  void AddStorage();

  std::mt19937 random_;
  std::string text_;
};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_VALID_FILES_H_
