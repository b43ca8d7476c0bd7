#include "agent-api/guest/groups.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/password_lock.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

// For who edits the groups himself: the other items of a machine do not wait longer for him.
constexpr auto kPatience = std::chrono::milliseconds(500);
// For calls of our own, which take a moment each.
constexpr auto kOwnPatience = std::chrono::seconds(5);
// Of passwd, group and gshadow: fifty thousand users have a table of so much.
constexpr size_t kMostOfATable = 4 << 20;

using Fields = std::vector<std::string>;

std::vector<Fields> ReadTable(const std::string& text, size_t columns) {
  std::vector<Fields> rows;
  for (const auto& line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    Fields fields = absl::StrSplit(line, ':');
    if (fields.size() == columns) rows.push_back(std::move(fields));
  }
  return rows;
}

// What other programs read as something else is refused: separators, and the '+' and '-' of NIS.
bool IsGroupName(const std::string& name) {
  const auto plain = [](unsigned char c) {
    return c > ' ' && c != 0x7f && std::strchr(":,#", c) == nullptr;
  };
  return !name.empty() && name[0] != '-' && name[0] != '+' &&
         std::all_of(name.begin(), name.end(), plain);
}

std::vector<std::string> Members(const std::string& field) {
  return absl::StrSplit(field, ',', absl::SkipEmpty());
}

// As libc reads it: a row without such a number is no row.
std::optional<uint32_t> IdIn(const std::string& field) {
  uint32_t id = 0;
  const char* end = field.data() + field.size();
  const auto [after, error] = std::from_chars(field.data(), end, id);
  if (error != std::errc() || after != end) return std::nullopt;
  return id;
}

std::optional<Account> AccountIn(const Fields& row) {
  const std::optional<uint32_t> uid = IdIn(row[2]), gid = IdIn(row[3]);
  if (!uid.has_value() || !gid.has_value()) return std::nullopt;
  return Account{row[0], *uid, *gid, row[5], row[6]};
}

int FreeSystemId(const std::string& text) {
  std::set<int> used;
  for (const Fields& row : ReadTable(text, 4)) used.insert(std::atoi(row[2].c_str()));
  for (int id = 999; id >= 100; --id) {
    if (used.count(id) == 0) return id;
  }
  return -1;
}

// Puts `user` into the members of a row, or takes the name out; false: it is so already.
bool EditMembers(const std::string& user, const std::vector<std::string>& add,
                 const std::vector<std::string>& remove, Fields* row) {
  std::vector<std::string> members = Members((*row)[3]);
  const bool in = absl::c_linear_search(members, user);
  const std::string& group = (*row)[0];
  if (in == absl::c_linear_search(add, group) || (in && !absl::c_linear_search(remove, group)))
    return false;
  if (in) {
    members.erase(std::remove(members.begin(), members.end(), user), members.end());
  } else {
    members.push_back(user);
  }
  (*row)[3] = absl::StrJoin(members, ",");
  return true;
}

absl::Status EditFile(const std::string& path, bool with_ids, const std::string& user,
                      const std::vector<std::string>& add, const std::vector<std::string>& remove) {
  const absl::StatusOr<std::string> text = ReadFileToEdit(path, kMostOfATable);
  if (absl::IsNotFound(text.status()) && !with_ids) return absl::OkStatus();  // no gshadow is fine
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::string> edited = EditGroups(*text, with_ids, user, add, remove);
  if (!edited.ok()) return edited.status();
  if (*edited == *text) return absl::OkStatus();
  return WriteFileAtomically(path, *edited, with_ids ? 0644 : 0640);
}

}  // namespace

std::vector<Account> Accounts() {
  std::vector<Account> accounts;
  for (const Fields& row : ReadTable(ReadFile("/etc/passwd", kMostOfATable), 7)) {
    if (std::optional<Account> account = AccountIn(row)) accounts.push_back(*std::move(account));
  }
  return accounts;
}

std::optional<Account> FindAccount(const std::string& name) {
  for (Account& account : Accounts()) {
    if (account.name == name) return std::move(account);
  }
  return std::nullopt;
}

absl::Status NoAccount(const std::string& name) {
  const absl::StatusOr<std::string> table = ReadFileToEdit("/etc/passwd", kMostOfATable);
  if (!table.ok()) return table.status();
  return absl::FailedPreconditionError(absl::StrCat("the guest has no user ", name));
}

std::vector<std::string> GroupsOf(const std::string& user) {
  std::set<std::string> names;
  for (const Fields& row : ReadTable(ReadFile("/etc/group", kMostOfATable), 4)) {
    if (absl::c_linear_search(Members(row[3]), user)) names.insert(row[0]);
  }
  return {names.begin(), names.end()};
}

std::vector<gid_t> GroupIdsOf(const std::string& user) {
  std::vector<gid_t> ids;
  for (const Fields& row : ReadTable(ReadFile("/etc/group", kMostOfATable), 4)) {
    const std::optional<uint32_t> id = IdIn(row[2]);
    if (id.has_value() && absl::c_linear_search(Members(row[3]), user)) ids.push_back(*id);
  }
  return ids;
}

absl::StatusOr<std::string> EditGroups(const std::string& text, bool with_ids,
                                       const std::string& user, const std::vector<std::string>& add,
                                       const std::vector<std::string>& remove) {
  std::string out;
  std::set<std::string> there;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    Fields fields = absl::StrSplit(line, ':');
    if (fields.size() == 4) there.insert(fields[0]);
    const bool edited = fields.size() == 4 && EditMembers(user, add, remove, &fields);
    absl::StrAppend(&out, edited ? absl::StrJoin(fields, ":") : line,
                    end < text.size() ? "\n" : "");
    begin = end + 1;
  }
  for (const std::string& name : add) {
    if (!there.insert(name).second) continue;
    if (!out.empty() && out.back() != '\n') out += '\n';
    if (!with_ids) {
      absl::StrAppend(&out, name, ":!::", user, "\n");
      continue;
    }
    const int id = FreeSystemId(out);
    if (id < 0) return absl::ResourceExhaustedError("no group id from 100 to 999 is free");
    absl::StrAppend(&out, name, ":x:", id, ":", user, "\n");
  }
  return out;
}

absl::Status SetGroups(const std::string& user, const std::vector<std::string>& add,
                       const std::vector<std::string>& remove) {
  for (const auto* names : {&add, &remove}) {
    for (const std::string& name : *names) {
      if (!IsGroupName(name)) {
        return absl::InvalidArgumentError(absl::StrCat("not a group name: \"", name, "\""));
      }
    }
  }
  if (!FindAccount(user)) return NoAccount(user);
  static std::timed_mutex mutex;  // the file's lock is the process's, not the thread's
  const std::unique_lock<std::timed_mutex> guard(mutex, kOwnPatience);
  if (!guard.owns_lock()) {
    return absl::UnavailableError("the groups are being edited in the guest: by another call");
  }
  const PasswordLock lock(kPatience);
  if (!lock.status().ok()) return lock.status();
  const absl::Status status = EditFile("/etc/group", true, user, add, remove);
  if (!status.ok()) return status;
  return EditFile("/etc/gshadow", false, user, add, remove);
}

}  // namespace rum::guest
