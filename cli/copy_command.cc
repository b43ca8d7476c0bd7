#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent-api/agent.pb.h"
#include "agent-api/files/destination.h"
#include "agent-api/files/tree_reader.h"
#include "agent-api/files/tree_writer.h"
#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/copy_progress.h"
#include "cli/interrupts.h"
#include "cli/render.h"
#include "cli/terminal_text.h"

namespace rum {
namespace {

using Stream = grpc::ClientReaderWriter<control::ExecMessage, control::ExecMessage>;

constexpr char kStandard[] = "-";
constexpr int kInterrupted = 130;

bool IsInGuest(const std::string& word) { return !word.empty() && word[0] == ':'; }

// ":" alone is the folder where relative paths start.
std::string GuestPath(const std::string& word) { return word == ":" ? "." : word.substr(1); }

// The name that a source has in a folder; "": what it holds goes there.
std::string NameOf(const std::string& path) { return LastName(path); }

agent::CopyMessage StartOf(const std::string& source, const std::string& target, bool many) {
  agent::CopyMessage message;
  agent::CopyStart* start = message.mutable_start();
  start->set_to_guest(IsInGuest(target));
  start->set_path(GuestPath(start->to_guest() ? target : source));
  if (start->to_guest() && source != kStandard) start->set_name(NameOf(source));
  start->set_must_be_folder(start->to_guest() && many);
  return message;
}

// One copy: a call, and what is said of it.
class CopyCall {
 public:
  CopyCall(const MachineClient& client, Globals* globals)
      : utf8_(StyleOf(globals->color).utf8),
        progress_(utf8_),
        shows_progress_(!globals->quiet && isatty(STDERR_FILENO) != 0),
        config_path_(client.identity.config_path),
        stream_(client.stub->Copy(&context_)) {}

  // False: something could not be copied, and it was said what.
  bool Upload(const agent::CopyMessage& start, const std::string& source);
  bool Download(const agent::CopyMessage& start, const std::string& target, bool many);
  void Cancel() { context_.TryCancel(); }

 private:
  bool Send(const agent::CopyMessage& message) {
    control::ExecMessage tunnelled;
    tunnelled.set_config_path(std::exchange(config_path_, ""));
    message.SerializeToString(tunnelled.mutable_agent_message());
    return stream_->Write(tunnelled);
  }
  bool Read(agent::CopyMessage* message) {
    control::ExecMessage tunnelled;
    return stream_->Read(&tunnelled) && message->ParseFromString(tunnelled.agent_message());
  }

  void Say(const std::string& text) {
    const std::lock_guard<std::mutex> guard(mutex_);
    std::fprintf(stderr, "%srum: %s\n", progress_.Clear().c_str(), OneLine(text, utf8_).c_str());
    failed_ = true;
  }
  void Show(const agent::CopyMessage& message) {
    if (!shows_progress_) return;
    const std::lock_guard<std::mutex> guard(mutex_);
    std::fputs(progress_.Next(message, absl::Now()).c_str(), stderr);
  }

  void StopWriting() {  // gRPC takes it once
    if (!std::exchange(writes_done_, true)) stream_->WritesDone();
  }

  bool PassOn(const agent::CopyMessage& message);  // of the upload's source
  absl::Status SendStandardInput();
  void HearGuest();
  absl::Status Receive(const agent::CopyMessage& message);
  absl::Status ToStandardOutput(const agent::CopyMessage& message);
  bool End(bool ended, const std::string& error);

  const bool utf8_;
  std::mutex mutex_;  // of what is written to the terminal
  CopyProgress progress_;
  const bool shows_progress_;
  std::atomic<bool> failed_ = false;
  std::atomic<bool> guest_ended_ = false;
  std::string guest_error_;
  std::optional<TreeWriter> writer_;
  std::string config_path_;
  grpc::ClientContext context_;
  const std::unique_ptr<Stream> stream_;
  bool writes_done_ = false;
};

bool CopyCall::PassOn(const agent::CopyMessage& message) {
  if (message.has_problem()) {
    Say(absl::StrCat(message.problem().path(), ": ", message.problem().text()));
    return true;
  }
  Show(message);
  return !guest_ended_ && Send(message);
}

absl::Status CopyCall::SendStandardInput() {
  agent::CopyMessage message;
  message.mutable_item()->set_any_mode(true);
  message.mutable_item()->set_mtime_s(absl::ToUnixSeconds(absl::Now()));
  bool wanted = PassOn(message);
  std::string buffer(64 * 1024, '\0');
  while (wanted) {
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::InternalError(absl::StrCat("standard input: ", std::strerror(errno)));
    if (n == 0) break;
    message.set_data(buffer.data(), static_cast<size_t>(n));
    wanted = PassOn(message);
  }
  message.set_item_end(true);
  return wanted && PassOn(message) ? absl::OkStatus() : absl::CancelledError();
}

void CopyCall::HearGuest() {
  agent::CopyMessage message;
  while (!guest_ended_ && Read(&message)) {
    if (message.has_problem()) {
      Say(absl::StrCat(":", message.problem().path(), ": ", message.problem().text()));
    } else if (message.has_end()) {
      guest_error_ = message.end().error();
      guest_ended_ = true;
    }
  }
}

// What the call came to. `error`: of our own side.
bool CopyCall::End(bool ended, const std::string& error) {
  if (!error.empty()) Cancel();
  StopWriting();
  const grpc::Status status = stream_->Finish();
  if (!error.empty()) {
    Say(error);
  } else if (status.error_code() == grpc::StatusCode::CANCELLED) {
    failed_ = true;  // by whoever sits before it
  } else if (!status.ok()) {
    Say(status.error_message());
  } else if (!ended) {
    Say("the controller went away");
  } else if (!guest_error_.empty()) {
    Say((guest_error_[0] == '/' ? ":" : "") + guest_error_);
  } else if (shows_progress_ && !failed_) {
    std::fprintf(stderr, "%s  %s\n", progress_.Clear().c_str(), progress_.Summary().c_str());
  }
  return !failed_;
}

bool CopyCall::Upload(const agent::CopyMessage& start, const std::string& source) {
  Send(start);
  std::thread ear([this] { HearGuest(); });
  absl::Status sent =
      source == kStandard
          ? SendStandardInput()
          : TellTree(source, [this](const agent::CopyMessage& message) { return PassOn(message); });
  agent::CopyMessage end;
  end.mutable_end();
  if (sent.ok()) Send(end);
  const bool ours = !sent.ok() && !absl::IsCancelled(sent);
  if (ours) Cancel();
  if (absl::IsCancelled(sent)) StopWriting();
  ear.join();
  return End(guest_ended_, ours ? std::string(sent.message()) : "");
}

absl::Status CopyCall::ToStandardOutput(const agent::CopyMessage& message) {
  if (message.has_item() && message.item().kind() != agent::CopyItem::FILE)
    return absl::FailedPreconditionError("a folder does not go to standard output");
  if (message.message_case() == agent::CopyMessage::kItemEnd && !message.item_end())
    return absl::DataLossError("the file could not be read to its end");
  for (size_t done = 0; done < message.data().size();) {
    const ssize_t n =
        write(STDOUT_FILENO, message.data().data() + done, message.data().size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::InternalError(absl::StrCat("standard output: ", std::strerror(errno)));
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status CopyCall::Receive(const agent::CopyMessage& message) {
  if (message.has_problem()) {
    Say(absl::StrCat(":", message.problem().path(), ": ", message.problem().text()));
    return absl::OkStatus();
  }
  Show(message);
  return writer_.has_value() ? writer_->Take(message) : ToStandardOutput(message);
}

bool CopyCall::Download(const agent::CopyMessage& start, const std::string& target, bool many) {
  if (target != kStandard) {
    auto destination = FindDestination(target, NameOf(start.start().path()), many);
    if (!destination.ok()) return Say(std::string(destination.status().message())), Cancel(), false;
    writer_.emplace(*std::move(destination), false,
                    [this](const std::string& path, const std::string& text) {
                      Say(absl::StrCat(path, ": ", text));
                    });
  }
  Send(start);
  StopWriting();
  agent::CopyMessage message;
  absl::Status taken;
  while (taken.ok() && !guest_ended_ && Read(&message)) {
    guest_ended_ = message.has_end();
    if (message.has_end()) {
      guest_error_ = message.end().error();
    } else {
      taken = Receive(message);
    }
  }
  return End(guest_ended_, std::string(taken.message()));
}

void Copy(const std::vector<std::string>& words, Globals* globals) {
  const std::string& target = words.back();
  const std::vector<std::string> sources(words.begin(), words.end() - 1);
  for (const std::string& source : sources) {
    if (IsInGuest(source) == IsInGuest(target)) {
      throw CLI::ValidationError(
          "one side of a copy is in the guest: a path there begins with \":\"; here with \"./:\" "
          "if "
          "it has to");
    }
  }
  Interrupts interrupts;  // before gRPC makes threads
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  for (const std::string& source : sources) {
    const bool many = sources.size() > 1;
    const agent::CopyMessage start = StartOf(source, target, many);
    CopyCall call(client, globals);
    interrupts.SetAtWork([&call] { call.Cancel(); });
    const bool copied =
        start.start().to_guest() ? call.Upload(start, source) : call.Download(start, target, many);
    interrupts.SetAtWork(nullptr);
    if (!copied) globals->exit_status = 1;
    if (interrupts.any()) {
      globals->exit_status = kInterrupted;
      return;
    }
  }
}

}  // namespace

void AddCopyCommand(CLI::App* app, Globals* globals) {
  const auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* copy = app->add_subcommand(
      "cp",
      "copy files and folders: rum cp SOURCE... TARGET; a path in the guest begins with \":\"");
  copy->add_option("path", *words, "SOURCE... TARGET; - is standard input or output")
      ->required()
      ->expected(2, 1 << 20);
  copy->callback([words, globals] { Copy(*words, globals); });
}

}  // namespace rum
