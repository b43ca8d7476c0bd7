#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
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
#include "agent-api/steady_now.h"
#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/copy_progress.h"
#include "cli/interrupts.h"
#include "cli/render.h"
#include "cli/ssh_words.h"
#include "cli/terminal_text.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

using Stream = grpc::ClientReaderWriter<control::ExecMessage, control::ExecMessage>;

constexpr char kStandard[] = "-";
constexpr int kInterrupted = 130;
// Else the same words would mean another place once the copy's own folder is there.
constexpr char kFolderToResume[] =
    ": with --resume a folder goes into one that is there (or end the source with \"/.\" and say "
    "how the copy itself is called)";

bool IsInGuest(const std::string& word) { return !word.empty() && word[0] == ':'; }

// ":" alone is the folder where relative paths start.
std::string GuestPath(const std::string& word) { return word == ":" ? "." : word.substr(1); }

// The name that a source has in a folder; "": what it holds goes there.
std::string NameOf(const std::string& path) { return LastName(path); }

bool IsFolder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

agent::CopyMessage StartOf(const std::string& source, const std::string& target, bool many,
                           bool resume) {
  agent::CopyMessage message;
  agent::CopyStart* start = message.mutable_start();
  start->set_to_guest(IsInGuest(target));
  start->set_path(GuestPath(start->to_guest() ? target : source));
  if (start->to_guest() && source != kStandard) start->set_name(NameOf(source));
  const bool named_folder = resume && !start->name().empty() && IsFolder(source);
  start->set_must_be_folder(start->to_guest() && (many || named_folder));
  start->set_resume(resume);
  return message;
}

// One copy: a call, and what is said of it.
class CopyCall {
 public:
  CopyCall(const MachineClient& client, Globals* globals)
      : utf8_(StyleOf(*globals).utf8),
        progress_(utf8_),
        shows_progress_(!globals->quiet && isatty(STDERR_FILENO) != 0),
        config_path_(client.identity.config_path),
        stream_(client.stub->Copy(&context_)) {}

  // False: something could not be copied, and it was said what.
  bool Upload(const agent::CopyMessage& start, const std::string& source);
  bool Download(const agent::CopyMessage& start, const std::string& target, bool many);
  void Cancel() {
    cancelled_ = true;
    context_.TryCancel();
  }
  bool lost() const { return lost_; }  // nobody is there who could copy more
  // After one that broke off: what to type to copy the rest. Empty: nothing did.
  std::string HowToResume(const std::string& source) const;

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
    std::fputs(progress_.Next(message, SteadyNow()).c_str(), stderr);
  }

  void StopWriting() {  // gRPC takes it once
    if (!std::exchange(writes_done_, true)) stream_->WritesDone();
  }

  void NoteFirst(const agent::CopyItem& item) {
    if (!std::exchange(begun_, true)) is_folder_ = item.kind() == agent::CopyItem::FOLDER;
  }
  bool PassOn(const agent::CopyMessage& message);  // of the upload's source
  absl::Status SendStandardInput();
  bool Ask(const agent::CopyOffer& offer, agent::CopyHave* have);
  void HearGuest();
  absl::Status Receive(const agent::CopyMessage& message);
  absl::Status Answer(const agent::CopyOffer& offer, const std::string& target);
  absl::Status ToStandardOutput(const agent::CopyMessage& message);
  bool End(bool ended, const std::string& error);

  const bool utf8_;
  std::mutex mutex_;  // of what is written to the terminal
  CopyProgress progress_;
  const bool shows_progress_;
  std::atomic<bool> failed_ = false;
  std::atomic<bool> guest_ended_ = false;
  std::atomic<bool> cancelled_ = false;
  std::string guest_error_;
  std::mutex answer_mutex_;
  std::condition_variable answered_;
  std::optional<agent::CopyHave> answer_;
  bool no_answer_ = false;     // will come any more
  bool needs_folder_ = false;  // the target must be one, if the source is
  std::string place_;          // of the first item; empty: not known
  bool begun_ = false;
  bool is_folder_ = false;  // the first item
  bool broke_ = false;
  bool lost_ = false;
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
  if (message.has_item()) NoteFirst(message.item());
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

bool CopyCall::Ask(const agent::CopyOffer& offer, agent::CopyHave* have) {
  agent::CopyMessage message;
  *message.mutable_offer() = offer;
  if (!Send(message)) return false;
  std::unique_lock<std::mutex> lock(answer_mutex_);
  answered_.wait(lock, [this] { return answer_.has_value() || no_answer_; });
  if (!answer_.has_value()) return false;
  *have = *std::exchange(answer_, std::nullopt);
  return true;
}

void CopyCall::HearGuest() {
  agent::CopyMessage message;
  while (!guest_ended_ && Read(&message)) {
    if (message.has_have()) {
      const std::lock_guard<std::mutex> guard(answer_mutex_);
      answer_ = message.have();
      answered_.notify_one();
    } else if (message.message_case() == agent::CopyMessage::kPlace) {
      place_ = absl::StrCat(":", message.place());
    } else if (message.has_problem()) {
      Say(absl::StrCat(":", message.problem().path(), ": ", message.problem().text()));
    } else if (message.has_end()) {
      guest_error_ = message.end().error();
      guest_ended_ = true;
    }
  }
  const std::lock_guard<std::mutex> guard(answer_mutex_);
  no_answer_ = true;
  answered_.notify_one();
}

std::string CopyCall::HowToResume(const std::string& source) const {
  if (!broke_ || !begun_ || place_.empty() || source == kStandard) return "";
  const std::string all_of = source.back() == '/' ? "." : "/.";
  return absl::StrCat("rum cp --resume ", ShellWord(is_folder_ ? source + all_of : source), " ",
                      ShellWord(place_));
}

// What the call came to. `error`: of our own side.
bool CopyCall::End(bool ended, const std::string& error) {
  if (!error.empty()) Cancel();
  StopWriting();
  const grpc::Status status = stream_->Finish();
  lost_ = error.empty() && (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                            IsLost(status) || (status.ok() && !ended));
  broke_ = !error.empty() || !status.ok() || !ended || !guest_error_.empty();
  if (!error.empty()) {
    Say(error);
  } else if (!status.ok() && cancelled_) {
    failed_ = true;  // by whoever sits before it
  } else if (!status.ok()) {
    Say(WhyItFailed(status));
  } else if (!ended) {
    Say("the controller went away");
  } else if (!guest_error_.empty()) {
    Say(absl::StrCat(guest_error_[0] == '/' ? ":" : "", guest_error_,
                     needs_folder_ && place_.empty() ? kFolderToResume : ""));
  } else if (shows_progress_ && !failed_) {
    std::fprintf(stderr, "%s  %s\n", progress_.Clear().c_str(), progress_.Summary().c_str());
  }
  return !failed_;
}

bool CopyCall::Upload(const agent::CopyMessage& start, const std::string& source) {
  needs_folder_ = start.start().resume() && start.start().must_be_folder() && IsFolder(source);
  Send(start);
  std::thread ear([this] { HearGuest(); });
  CopyAsk ask;
  if (start.start().resume()) {
    ask = [this](const agent::CopyOffer& offer, agent::CopyHave* have) { return Ask(offer, have); };
  }
  const absl::Status sent =
      source == kStandard
          ? SendStandardInput()
          : TellTree(
                source, [this](const agent::CopyMessage& message) { return PassOn(message); }, ask);
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
  if (message.has_item()) NoteFirst(message.item());
  return writer_.has_value() ? writer_->Take(message) : ToStandardOutput(message);
}

absl::Status CopyCall::Answer(const agent::CopyOffer& offer, const std::string& target) {
  const bool is_folder = offer.items_size() > 0 && offer.items(0).kind() == agent::CopyItem::FOLDER;
  if (needs_folder_ && !begun_ && is_folder)
    return absl::FailedPreconditionError(absl::StrCat(target, kFolderToResume));
  agent::CopyMessage answer;
  *answer.mutable_have() = writer_->Answer(offer);
  Send(answer);
  return absl::OkStatus();
}

bool CopyCall::Download(const agent::CopyMessage& start, const std::string& target, bool many) {
  needs_folder_ = start.start().resume() && !NameOf(start.start().path()).empty() &&
                  target != kStandard && !IsFolder(target);
  if (target != kStandard) {
    auto destination = FindDestination(target, NameOf(start.start().path()), many);
    if (!destination.ok()) return Say(std::string(destination.status().message())), Cancel(), false;
    place_ = destination->path;
    writer_.emplace(*std::move(destination), TreeWriter::Options{.resume = start.start().resume()},
                    [this](const std::string& path, const std::string& text) {
                      Say(absl::StrCat(path, ": ", text));
                    });
  }
  Send(start);
  if (!start.start().resume()) StopWriting();
  agent::CopyMessage message;
  absl::Status taken;
  while (taken.ok() && !guest_ended_ && Read(&message)) {
    guest_ended_ = message.has_end();
    if (message.has_end()) {
      guest_error_ = message.end().error();
    } else if (message.has_offer() && writer_.has_value()) {
      taken = Answer(message.offer(), target);
    } else {
      taken = Receive(message);
    }
  }
  return End(guest_ended_, std::string(taken.message()));
}

void Copy(const std::vector<std::string>& words, bool resume, Globals* globals) {
  const std::string& target = words.back();
  const std::vector<std::string> sources(words.begin(), words.end() - 1);
  for (const std::string& source : sources) {
    if (IsInGuest(source) == IsInGuest(target)) {
      throw CLI::ValidationError(
          "one side of a copy is in the guest: a path there begins with \":\"; here with \"./:\" "
          "if "
          "it has to");
    }
    if (resume && (source == kStandard || target == kStandard)) {
      throw CLI::ValidationError("--resume: \"-\" has no time and size to be known again by");
    }
  }
  Interrupts interrupts;  // before gRPC makes threads
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  bool lost = false;
  for (const std::string& source : sources) {
    const bool many = sources.size() > 1;
    const bool utf8 = StyleOf(*globals).utf8;
    if (lost) {
      std::fprintf(stderr, "rum: not copied: %s\n", OneLine(source, utf8).c_str());
      continue;
    }
    const agent::CopyMessage start = StartOf(source, target, many, resume);
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
    // The place is the guest's word.
    const std::string rest = OneLine(call.HowToResume(source), utf8);
    if (!rest.empty()) std::fprintf(stderr, "rum: what is missing: %s\n", rest.c_str());
    lost = call.lost();
  }
}

}  // namespace

void AddCopyCommand(CLI::App* app, Globals* globals) {
  const auto words = std::make_shared<std::vector<std::string>>();
  const auto resume = std::make_shared<bool>(false);
  CLI::App* copy = app->add_subcommand(
      "cp",
      "copy files and folders: rum cp SOURCE... TARGET; a path in the guest begins with \":\"");
  copy->add_option("path", *words, "SOURCE... TARGET; - is standard input or output")
      ->required()
      ->expected(2, 1 << 20);
  copy->add_flag("--resume", *resume,
                 "copy only what is missing: leave files that have the same size, time and mode, "
                 "and keep and go on with what arrived of a file that broke off");
  copy->callback([words, resume, globals] { Copy(*words, *resume, globals); });
}

}  // namespace rum
