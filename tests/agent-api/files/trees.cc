#include "tests/agent-api/files/trees.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace rum {

namespace fs = std::filesystem;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct stat Info(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
  return info;
}

std::map<std::string, std::string> Describe(const std::string& path) {
  std::map<std::string, std::string> all;
  const auto describe = [&](const std::string& one, const std::string& as) {
    const struct stat info = Info(one);
    std::string text = std::to_string(info.st_mtim.tv_sec) + "." +
                       std::to_string(info.st_mtim.tv_nsec) + " " + std::to_string(info.st_mode);
    if (S_ISREG(info.st_mode)) text += " " + Read(one);
    if (S_ISLNK(info.st_mode)) text += " -> " + fs::read_symlink(one).string();
    all[as] = text;
  };
  describe(path, "");
  if (!fs::is_directory(path)) return all;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    describe(entry.path(), entry.path().lexically_relative(path));
  return all;
}

agent::CopyMessage Item(agent::CopyItem::Kind kind, const std::string& name) {
  agent::CopyMessage message;
  message.mutable_item()->set_kind(kind);
  message.mutable_item()->set_name(name);
  message.mutable_item()->set_mode(0755);
  return message;
}

agent::CopyMessage Data(const std::string& bytes) {
  agent::CopyMessage message;
  message.set_data(bytes);
  return message;
}

agent::CopyMessage End(bool whole) {
  agent::CopyMessage message;
  message.set_item_end(whole);
  return message;
}

void MakeAnyTree(const std::string& path) {
  const auto names = *rc::gen::container<std::vector<std::string>>(
      rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::suchThat<char>(
          rc::gen::arbitrary<char>(), [](char c) { return c != '/' && c != '\0'; }))));
  fs::create_directory(path);
  std::string in = path;
  for (const std::string& name : names) {
    const std::string entry = in + "/" + name.substr(0, 200);
    if (name == "." || name == ".." || fs::exists(fs::symlink_status(entry))) continue;
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        fs::create_directory(entry);
        break;
      case 1:
        fs::create_directory(entry);
        in = entry;
        break;
      case 2:
        fs::create_symlink(name, entry);
        break;
      default:
        Write(entry, *rc::gen::arbitrary<std::string>());
        chmod(entry.c_str(), *rc::gen::inRange<mode_t>(0, 01000));
    }
  }
}

void NoProblem(const std::string& path, const std::string& text) { RC_FAIL(path + ": " + text); }

}  // namespace rum
