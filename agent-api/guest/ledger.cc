#include "agent-api/guest/ledger.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent-api/guest/text_file.h"

namespace rum::guest {
namespace {

constexpr size_t kMostRuns = 70;  // of each kind
// Lines of which later ones have more to say, beyond one for each run.
constexpr size_t kMostOld = 64;

bool Succeeded(const agent::ScriptRun& run) {
  return run.ended_ms() != 0 && run.exit_status() == 0 && run.signal() == 0 &&
         run.ending() == agent::ScriptRun::BY_ITSELF;
}

// The last ones of each kind, and each kind's last success, however old: a hundred boots later the
// system script has still run.
std::vector<agent::ScriptRun> Newest(const std::vector<agent::ScriptRun>& runs) {
  std::map<std::string, size_t> of_kind;
  std::set<std::string> succeeded;
  std::vector<agent::ScriptRun> kept;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    const bool last_success = Succeeded(*run) && succeeded.insert(run->kind()).second;
    if (++of_kind[run->kind()] <= kMostRuns || last_success) kept.push_back(*run);
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

absl::StatusOr<std::string> LineOf(const agent::ScriptRun& run) {
  std::string line;
  if (!google::protobuf::util::MessageToJsonString(run, &line).ok()) {
    return absl::InternalError("a run of the ledger is not valid UTF-8");
  }
  return line + "\n";
}

}  // namespace

Ledger::Ledger(std::string path) : path_(std::move(path)) {
  const absl::StatusOr<std::string> text = ReadFileToEdit(path_);
  if (!text.ok()) {
    if (!absl::IsNotFound(text.status())) readable_ = text.status();
    return;
  }
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // a newer agent's
  std::istringstream lines(*text);
  std::map<std::string, size_t> places;
  bool damaged = false;
  for (std::string line; std::getline(lines, line);) {
    agent::ScriptRun run;
    const bool understood = google::protobuf::util::JsonStringToMessage(line, &run, options).ok();
    ++lines_;
    if (!understood || run.run_id().empty()) {
      damaged = true;
    } else if (const auto [place, added] = places.emplace(run.run_id(), runs_.size()); added) {
      runs_.push_back(run);
    } else {
      runs_[place->second] = run;
    }
  }
  runs_ = Newest(runs_);
  whole_ = !damaged && !text->empty() && text->back() == '\n';
  if (damaged) readable_ = WriteFileAtomically(path_ + ".damaged", *text, 0600);
}

std::optional<agent::ScriptRun> Ledger::Find(const std::string& run_id) const {
  for (const agent::ScriptRun& run : runs_) {
    if (run.run_id() == run_id) return run;
  }
  return std::nullopt;
}

std::vector<agent::ScriptRun> Ledger::With(const agent::ScriptRun& run) const {
  std::vector<agent::ScriptRun> runs = runs_;
  const auto old = std::find_if(runs.begin(), runs.end(),
                                [&](const auto& r) { return r.run_id() == run.run_id(); });
  if (old != runs.end()) {
    *old = run;
  } else {
    runs.push_back(run);
  }
  return Newest(runs);
}

// One flush of the disk in place of the two that a file and its folder need.
absl::Status Ledger::Append(const agent::ScriptRun& run) {
  const absl::StatusOr<std::string> line = LineOf(run);
  if (!line.ok()) return line.status();
  const int fd = open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return Write(With(run));  // somebody took it away
  const off_t size = lseek(fd, 0, SEEK_END);
  const ssize_t written = write(fd, line->data(), line->size());
  const bool cut = written >= 0 && written != static_cast<ssize_t>(line->size());
  absl::Status status = absl::OkStatus();
  if (written < 0 || cut || fdatasync(fd) != 0) {
    const int error = cut ? ENOSPC : errno;
    status = absl::InternalError(absl::StrCat("write ", path_, ": ", std::strerror(error)));
    whole_ = ftruncate(fd, size) == 0;
  }
  close(fd);
  ++lines_;
  return status;
}

absl::Status Ledger::Write(const std::vector<agent::ScriptRun>& runs) {
  std::string text;
  for (const agent::ScriptRun& each : runs) {
    const absl::StatusOr<std::string> line = LineOf(each);
    if (!line.ok()) return line.status();
    text += *line;
  }
  absl::Status status = WriteFileAtomically(path_, text, 0600);
  if (status.ok()) status = SyncFolder(path_.substr(0, path_.rfind('/') + 1));
  whole_ = status.ok();
  lines_ = runs.size();
  return status;
}

bool Ledger::Appendable() const { return whole_ && lines_ < 2 * runs_.size() + kMostOld; }

absl::Status Ledger::Put(const agent::ScriptRun& run) {
  if (!readable_.ok()) return readable_;
  std::vector<agent::ScriptRun> runs = With(run);
  const absl::Status status = Appendable() ? Append(run) : Write(runs);
  if (status.ok()) runs_ = std::move(runs);
  return status;
}

absl::Status Ledger::PutEnd(const agent::ScriptRun& run) {
  runs_ = With(run);
  if (!readable_.ok()) return readable_;
  const absl::Status status = Appendable() ? Append(run) : Write(runs_);
  if (!status.ok()) whole_ = false;  // the next one brings it along
  return status;
}

std::string BootId() {
  // No process sees two.
  static const auto* const boot = [] {
    std::string id = FirstLine(ReadFile("/proc/sys/kernel/random/boot_id"));
    // A part of names and of messages: whatever else is mounted there is made to fit.
    std::replace_if(
        id.begin(), id.end(), [](unsigned char c) { return !absl::ascii_isalnum(c) && c != '-'; },
        '-');
    return new std::string(id.substr(0, 64));
  }();
  return *boot;
}

}  // namespace rum::guest
