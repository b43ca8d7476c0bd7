#include "agent-api/guest/groups.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

using Fields = std::vector<std::string>;

std::vector<Fields> ReadTable(const std::string& text, size_t columns) {
  std::vector<Fields> rows;
  for (const auto& line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    Fields fields = absl::StrSplit(line, ':');
    if (fields.size() == columns) rows.push_back(std::move(fields));
  }
  return rows;
}

bool Has(const std::vector<std::string>& list, const std::string& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
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

// The lock that useradd and usermod take as well: lckpwdf(3), without its alarm signal.
class PasswordLock {
 public:
  PasswordLock() : fd_(open("/etc/.pwd.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    while (fd_ >= 0 && fcntl(fd_, F_SETLKW, &lock) != 0 && errno == EINTR) {
    }
  }
  ~PasswordLock() {
    if (fd_ >= 0) close(fd_);
  }
  PasswordLock(const PasswordLock&) = delete;
  PasswordLock& operator=(const PasswordLock&) = delete;

 private:
  int fd_;
};

int FreeSystemId(const std::string& text) {
  std::set<int> used;
  for (const Fields& row : ReadTable(text, 4)) used.insert(std::atoi(row[2].c_str()));
  for (int id = 999; id >= 100; --id) {
    if (used.count(id) == 0) return id;
  }
  return -1;
}

absl::Status EditFile(const std::string& path, bool with_ids, const std::string& user,
                      const std::vector<std::string>& add, const std::vector<std::string>& remove) {
  const absl::StatusOr<std::string> text = ReadFileToEdit(path);
  if (absl::IsNotFound(text.status()) && !with_ids) return absl::OkStatus();  // no gshadow is fine
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::string> edited = EditGroups(*text, with_ids, user, add, remove);
  if (!edited.ok()) return edited.status();
  if (*edited == *text) return absl::OkStatus();
  return WriteFileAtomically(path, *edited, with_ids ? 0644 : 0640);
}

}  // namespace

std::optional<Account> FindAccount(const std::string& name) {
  for (const Fields& row : ReadTable(ReadFile("/etc/passwd"), 7)) {
    if (row[0] != name) continue;
    return Account{row[0], static_cast<uid_t>(std::strtoul(row[2].c_str(), nullptr, 10)),
                   static_cast<gid_t>(std::strtoul(row[3].c_str(), nullptr, 10)), row[5], row[6]};
  }
  return std::nullopt;
}

std::vector<std::string> GroupsOf(const std::string& user) {
  std::set<std::string> names;
  for (const Fields& row : ReadTable(ReadFile("/etc/group"), 4)) {
    if (Has(Members(row[3]), user)) names.insert(row[0]);
  }
  return {names.begin(), names.end()};
}

std::vector<gid_t> GroupIdsOf(const std::string& user) {
  std::vector<gid_t> ids;
  for (const Fields& row : ReadTable(ReadFile("/etc/group"), 4)) {
    if (Has(Members(row[3]), user))
      ids.push_back(static_cast<gid_t>(std::strtoul(row[2].c_str(), nullptr, 10)));
  }
  return ids;
}

absl::StatusOr<std::string> EditGroups(const std::string& text, bool with_ids,
                                       const std::string& user, const std::vector<std::string>& add,
                                       const std::vector<std::string>& remove) {
  std::string out;
  std::set<std::string> there;
  for (const auto& piece : absl::StrSplit(text, '\n')) {
    if (piece.data() == text.data() + text.size()) break;  // what follows the last line's end
    const std::string line(piece);
    Fields fields = absl::StrSplit(line, ':');
    if (fields.size() == 4) {
      there.insert(fields[0]);
      std::vector<std::string> members = Members(fields[3]);
      const bool in = Has(members, user);
      if (Has(add, fields[0]) && !in) {
        members.push_back(user);
        fields[3] = absl::StrJoin(members, ",");
      } else if (Has(remove, fields[0]) && in) {
        members.erase(std::remove(members.begin(), members.end(), user), members.end());
        fields[3] = absl::StrJoin(members, ",");
      }
      absl::StrAppend(&out, absl::StrJoin(fields, ":"), "\n");
    } else {
      absl::StrAppend(&out, line, "\n");
    }
  }
  for (const std::string& name : add) {
    if (!there.insert(name).second) continue;
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
  if (!FindAccount(user))
    return absl::FailedPreconditionError(absl::StrCat("the guest has no user ", user));
  static std::mutex mutex;  // the file's lock is the process's, not the thread's
  const std::lock_guard<std::mutex> guard(mutex);
  const PasswordLock lock;
  const absl::Status status = EditFile("/etc/group", true, user, add, remove);
  if (!status.ok()) return status;
  return EditFile("/etc/gshadow", false, user, add, remove);
}

}  // namespace rum::guest
