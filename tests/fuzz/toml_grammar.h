#ifndef RUM_TESTS_FUZZ_TOML_GRAMMAR_H_
#define RUM_TESTS_FUZZ_TOML_GRAMMAR_H_

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace rum {

// Writes files as the schema allows them, and some that go just beyond: any tables in any order,
// any spelling of a value that TOML has, now and then a wrong type, a value out of range, a missing
// or an unknown key. The same seed, the same files.
class TomlGrammar {
 public:
  explicit TomlGrammar(uint32_t seed) : random_(seed) {}
  std::string File();

 private:
  size_t Below(size_t end) { return random_() % end; }
  bool OneIn(size_t n) { return Below(n) == 0; }
  template <typename List>
  auto Any(const List& list) {
    return list[Below(std::size(list))];
  }

  // Adds the tables of `table`, each with its header, to blocks_.
  void Write(const google::protobuf::Descriptor& table, const std::string& header);
  void WriteBelow(const google::protobuf::FieldDescriptor& field, const std::string& path);
  std::string Line(const google::protobuf::FieldDescriptor& field);
  std::string Value(const google::protobuf::FieldDescriptor& field);
  std::string Text(const std::string& content);
  std::string Wrong();

  std::mt19937 random_;
  size_t oddity_ = 1;  // one in so many values of this file is odd
  std::vector<std::string> blocks_;
};

}  // namespace rum

#endif  // RUM_TESTS_FUZZ_TOML_GRAMMAR_H_
