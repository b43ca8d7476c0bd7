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
  agent::CopyMessage place;
  place.set_place(destination->path);
  write(place);
  const auto on_problem = [&write](const std::string& path, const std::string& text) {
    agent::CopyMessage message;
    message.mutable_problem()->set_path(path);
    message.mutable_problem()->set_text(text);
    write(message);
  };
  TreeWriter writer(*std::move(destination), {.give_away = true, .resume = start.resume()},
                    on_problem);
  agent::CopyMessage message;
  while (read(&message) && !message.has_end()) {
    if (message.has_offer()) {
      agent::CopyMessage answer;
      *answer.mutable_have() = writer.Answer(message.offer());
      write(answer);
      continue;
    }
    if (const absl::Status taken = writer.Take(message); !taken.ok()) return taken;
  }
  if (message.has_end() && writer.whole()) return absl::OkStatus();
  return absl::AbortedError("the copy broke off");
}

absl::Status Tell(const agent::CopyStart& start, const Reader& read, const CopySink& write) {
  if (!start.resume()) return TellTree(FullPath(start), write);
  return TellTree(FullPath(start), write,
                  [&](const agent::CopyOffer& offer, agent::CopyHave* have) {
                    agent::CopyMessage message;
                    *message.mutable_offer() = offer;
                    if (!write(message) || !read(&message) || !message.has_have()) return false;
                    *have = message.have();
                    return true;
                  });
}

}  // namespace

void Copy(const Reader& read, const CopySink& write) {
  agent::CopyMessage message;
  absl::Status status = absl::InvalidArgumentError("the first message must start a copy");
  if (read(&message) && message.has_start()) {
    const agent::CopyStart& start = message.start();
    status = start.to_guest() ? Receive(start, read, write) : Tell(start, read, write);
  }
  agent::CopyMessage last;
  last.mutable_end()->set_error(std::string(status.message()));
  write(last);
}

}  // namespace rum::guest
