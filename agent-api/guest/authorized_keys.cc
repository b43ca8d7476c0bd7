#include "agent-api/guest/authorized_keys.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/file_rights.h"
#include "agent-api/guest/groups.h"
#include "agent-api/guest/home.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

// Of keys that are told: ten thousand have so much. A longer message would not reach the host.
constexpr size_t kMostOfKeys = 1 << 20;

bool IsKeyType(const std::string& word) {
  return absl::StartsWith(word, "ssh-") || absl::StartsWith(word, "ecdsa-sha2-") ||
         absl::StartsWith(word, "sk-");
}

// The next word from `*at` on; spaces inside double quotes belong to it.
std::string NextWord(const std::string& line, size_t* at) {
  while (*at < line.size() && std::strchr(" \t", line[*at]) != nullptr) ++*at;
  const size_t begin = *at;
  bool quoted = false;
  for (; *at < line.size(); ++*at) {
    if (line[*at] == '\\' && *at + 1 < line.size() && line[*at + 1] == '"') {
      ++*at;
    } else if (line[*at] == '"') {
      quoted = !quoted;
    } else if (!quoted && std::strchr(" \t\r", line[*at]) != nullptr) {
      break;
    }
  }
  return line.substr(begin, *at - begin);
}

AsUser RightsOf(const Account& account) {
  return AsUser(account.uid, account.gid, GroupIdsOf(account.name));
}

// The options of a line that has a key; empty: none.
std::string OptionsOf(const std::string& line) {
  size_t at = 0;
  const std::string word = NextWord(line, &at);
  return IsKeyType(word) ? "" : word;
}

std::string FolderOf(const Account& account) { return absl::StrCat(account.home, "/.ssh"); }
std::string FileOf(const Account& account) {
  return absl::StrCat(FolderOf(account), "/authorized_keys");
}

}  // namespace

std::string KeyOfLine(const std::string& line) {
  size_t at = 0;
  std::string type = NextWord(line, &at);
  if (type.empty() || type[0] == '#') return "";
  if (!IsKeyType(type)) type = NextWord(line, &at);  // the first word was options
  const std::string data = NextWord(line, &at);
  return IsKeyType(type) && !data.empty() ? absl::StrCat(type, " ", data) : "";
}

std::vector<std::string> KeysIn(const std::string& text) {
  std::vector<std::string> keys;
  for (const auto& line : absl::StrSplit(text, '\n')) {
    std::string key = KeyOfLine(std::string(line));
    if (!key.empty()) keys.push_back(std::move(key));
  }
  return keys;
}

std::string EditAuthorizedKeys(const std::string& text, const std::vector<std::string>& add,
                               const std::vector<std::string>& remove) {
  std::set<std::string> unwanted, there;
  std::map<std::string, std::string> wanted;  // lines by their keys
  for (const std::string& line : add) wanted.emplace(KeyOfLine(line), line);
  for (const std::string& line : remove) unwanted.insert(KeyOfLine(line));
  for (const std::string& line : add) unwanted.erase(KeyOfLine(line));
  unwanted.erase("");
  std::string out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::string key = KeyOfLine(line);
    const auto instead = wanted.find(key);
    if (instead != wanted.end() && !key.empty() && OptionsOf(line) != OptionsOf(instead->second)) {
      absl::StrAppend(&out, instead->second, "\n");  // the key may do something else from now on
    } else if (unwanted.count(key) == 0) {
      out += text.substr(begin, end + 1 - begin);
    }
    there.insert(key);
    begin = end + 1;
  }
  for (const std::string& line : add) {
    if (!there.insert(KeyOfLine(line)).second) continue;
    if (!out.empty() && out.back() != '\n') out += '\n';
    absl::StrAppend(&out, line, "\n");
  }
  return out;
}

std::vector<std::string> AuthorizedKeysOf(const Account& account) {
  const AsUser as_user = RightsOf(account);
  return KeysIn(ReadFile(FileOf(account), kMostOfKeys));
}

std::string AuthorizedKeysText(const Account& account) {
  const AsUser as_user = RightsOf(account);
  return ReadFile(FileOf(account));
}

absl::Status EditAuthorizedKeysOf(const Account& account, bool make,
                                  const std::function<std::string(const std::string&)>& edit) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> guard(mutex);
  if (make && LacksHome(account)) {
    if (absl::Status made = MakeHome(account); !made.ok()) return made;
  }
  const AsUser as_user = RightsOf(account);
  if (make) {
    // A link there may lead to what is to be made.
    const absl::StatusOr<std::string> folder = ThroughLinks(FolderOf(account));
    if (!folder.ok()) return folder.status();
    if (mkdir(folder->c_str(), 0700) != 0 && errno != EEXIST) {
      return absl::InternalError(absl::StrCat(FolderOf(account), " cannot be made in the guest (",
                                              *folder, "): ", std::strerror(errno)));
    }
  }
  const absl::StatusOr<std::string> text = ReadFileToEdit(FileOf(account), kMostOfKeys);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  const std::string before = text.ok() ? *text : "";
  const std::string after = edit(before);
  if (after == before) return absl::OkStatus();
  return WriteFileAtomically(FileOf(account), after, 0600);
}

absl::Status SetAuthorizedKeys(const std::string& user, const std::vector<std::string>& add,
                               const std::vector<std::string>& remove) {
  for (const std::string& line : add) {
    if (KeyOfLine(line).empty() || line.find('\n') != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("not a public key: \"", line, "\""));
    }
  }
  const std::optional<Account> account = FindAccount(user);
  if (!account.has_value()) return NoAccount(user);
  return EditAuthorizedKeysOf(*account, !add.empty(), [&](const std::string& text) {
    return EditAuthorizedKeys(text, add, remove);
  });
}

}  // namespace rum::guest
