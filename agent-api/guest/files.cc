#include "agent-api/guest/files.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "agent-api/files/destination.h"
#include "agent-api/files/tree_reader.h"
#include "agent-api/files/tree_writer.h"

namespace rum::guest {
namespace {

using Reader = std::function<bool(agent::CopyMessage*)>;

std::string FullPath(const agent::CopyStart& start) {
  if (start.path().empty() || start.path()[0] == '/') return start.path();
  const std::string folder = start.folder().empty() ? "/" : start.folder();
  return absl::StrCat(folder, folder.back() == '/' ? "" : "/", start.path());
}

absl::Status Receive(const agent::CopyStart& start, const Reader& read, const CopySink& write) {
  absl::StatusOr<Destination> destination =
      FindDestination(FullPath(start), start.name(), start.must_be_folder());
  if (!destination.ok()) return destination.status();
  const auto on_problem = [&write](const std::string& path, const std::string& text) {
    agent::CopyMessage message;
    message.mutable_problem()->set_path(path);
    message.mutable_problem()->set_text(text);
    write(message);
  };
  TreeWriter writer(*std::move(destination), true, on_problem);
  agent::CopyMessage message;
  while (read(&message) && !message.has_end()) {
    if (const absl::Status taken = writer.Take(message); !taken.ok()) return taken;
  }
  if (message.has_end() && writer.whole()) return absl::OkStatus();
  return absl::AbortedError("the copy broke off");
}

}  // namespace

void Copy(const Reader& read, const CopySink& write) {
  agent::CopyMessage message;
  absl::Status status = absl::InvalidArgumentError("the first message must start a copy");
  if (read(&message) && message.has_start()) {
    const agent::CopyStart& start = message.start();
    status = start.to_guest() ? Receive(start, read, write) : TellTree(FullPath(start), write);
  }
  agent::CopyMessage last;
  last.mutable_end()->set_error(std::string(status.message()));
  write(last);
}

}  // namespace rum::guest
