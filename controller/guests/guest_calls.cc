// The calls of GuestProcess.
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent-api/budget.h"
#include "agent-api/client/checked_reply.h"
#include "agent-api/threads.h"
#include "controller/guests/guest_process.h"

namespace rum {
namespace {

constexpr char kLost[] = "the connection to the agent in the guest was lost";

// The process gives a call up when the guest does not answer in these; one that does not even say
// that much later is ended.
constexpr absl::Duration kUnaryPatience = absl::Seconds(10);
constexpr absl::Duration kStoragePatience = absl::Minutes(30);
// Beyond what a guest waits for a card, and a tool of its own for an address.
constexpr absl::Duration kCardsPatience = absl::Minutes(5);
constexpr absl::Duration kLater = absl::Seconds(30);

}  // namespace

absl::StatusOr<std::shared_ptr<PendingCall>> GuestProcess::Call(guests::Method method,
                                                                const Message& request) {
  if (absl::Status begun = Begin(); !begun.ok()) {
    return absl::UnavailableError(
        absl::StrCat("the agent is not connected: ", std::string(begun.message())));
  }
  if (const absl::StatusOr<uint32_t> protocol = Protocol(); !protocol.ok())
    return protocol.status();
  std::shared_ptr<PendingCall> call = calls_.Add();
  guests::ToProcess words;
  words.mutable_call()->set_number(call->number());
  words.mutable_call()->set_method(method);
  request.SerializeToString(words.mutable_call()->mutable_request());
  if (link_.sender()->Send(words)) return call;
  calls_.Forget(*call);
  return None();
}

// Nobody waits for it any more.
void GuestProcess::Cancel(const PendingCall& call) {
  calls_.Forget(call);
  guests::ToProcess words;
  words.set_cancel(call.number());
  link_.sender()->Send(words);
}

// What a process that checks what the guest says does not pass on: it is the guest's own by now.
absl::Status GuestProcess::Refuse(const absl::Status& said) {
  link_.sender()->Refuse(std::string(said.message()));
  return said;
}

absl::Status GuestProcess::Unary(guests::Method method, const Message& request, Message* reply,
                                 absl::Duration patience) {
  absl::StatusOr<std::shared_ptr<PendingCall>> call = Call(method, request);
  return call.ok() ? Await(call->get(), reply, patience) : call.status();
}

absl::Status GuestProcess::Await(PendingCall* call, Message* reply, absl::Duration patience) {
  absl::Status status;
  std::string bytes;
  const bool answered = call->Await(patience + kLater, &status, &bytes);
  calls_.Forget(*call);
  if (!answered) {
    link_.sender()->Refuse("the process that listens to the guest does not answer");
    return absl::DeadlineExceededError("the agent in the guest did not answer in time");
  }
  if (!status.ok()) return status;
  if (!reply->ParseFromString(bytes)) {
    return Refuse(absl::DataLossError(absl::StrCat(kNoAgent, "an answer that cannot be read")));
  }
  reply->DiscardUnknownFields();  // a newer agent's, which nobody here looks at
  if (absl::Status said = CheckAnswer(*reply); !said.ok()) return Refuse(said);
  return absl::OkStatus();
}

absl::StatusOr<agent::Observation> GuestProcess::Observe(const agent::ObserveRequest& request) {
  return BeginObserve(request)();
}

std::function<absl::StatusOr<agent::Observation>()> GuestProcess::BeginObserve(
    const agent::ObserveRequest& request) {
  absl::StatusOr<std::shared_ptr<PendingCall>> call = Call(guests::OBSERVE, request);
  if (!call.ok()) return [status = call.status()] { return status; };
  struct Asked {
    ~Asked() {
      if (call != nullptr) process->Cancel(*call);
    }
    GuestProcess* const process;
    std::shared_ptr<PendingCall> call;  // null: it was waited for
  };
  const std::shared_ptr<Asked> asked(new Asked{this, *std::move(call)});
  return [this, request, asked] {
    const std::shared_ptr<PendingCall> call = std::exchange(asked->call, nullptr);
    return TakeObservation(request, call.get());
  };
}

absl::StatusOr<agent::Observation> GuestProcess::TakeObservation(
    const agent::ObserveRequest& request, PendingCall* call) {
  agent::Observation reply;
  const absl::Status status = Await(call, &reply, kUnaryPatience);
  if (!status.ok()) return status;
  if (absl::Status said = CheckReply(request, reply); !said.ok()) return Refuse(said);
  if (reply.not_replaced().size() > 2 * kMostReasonBytes) {
    return Refuse(absl::DataLossError(absl::StrCat(kNoAgent, "a reason that is too long")));
  }
  return reply;
}

absl::Status GuestProcess::Set(const agent::Settings& settings) {
  agent::SetRequest request;
  *request.mutable_settings() = settings;
  agent::SetReply reply;
  return Unary(guests::SET, request, &reply, kUnaryPatience);
}

absl::Status GuestProcess::SetResources(const agent::SetResourcesRequest& request) {
  agent::SetResourcesReply reply;
  return Unary(guests::SET_RESOURCES, request, &reply, kUnaryPatience);
}

absl::Status GuestProcess::SetHostname(const std::string& hostname) {
  agent::SetHostnameRequest request;
  request.set_hostname(hostname);
  agent::SetHostnameReply reply;
  return Unary(guests::SET_HOSTNAME, request, &reply, kUnaryPatience);
}

absl::Status GuestProcess::SetGroups(const agent::SetGroupsRequest& request) {
  agent::SetGroupsReply reply;
  return Unary(guests::SET_GROUPS, request, &reply, kUnaryPatience);
}

absl::Status GuestProcess::SetAuthorizedKeys(const agent::SetAuthorizedKeysRequest& request) {
  agent::SetAuthorizedKeysReply reply;
  return Unary(guests::SET_AUTHORIZED_KEYS, request, &reply, kUnaryPatience);
}

absl::StatusOr<agent::SetStorageReply> GuestProcess::SetStorage(
    const agent::SetStorageRequest& request) {
  agent::SetStorageReply reply;
  const absl::Status status = Unary(guests::SET_STORAGE, request, &reply, kStoragePatience);
  if (!status.ok()) return status;
  if (absl::Status said = CheckReply(request, reply); !said.ok()) return Refuse(said);
  return reply;
}

absl::Status GuestProcess::SetCards(const agent::SetCardsRequest& request) {
  agent::SetCardsReply reply;
  return Unary(guests::SET_CARDS, request, &reply, kCardsPatience);
}

absl::Status GuestProcess::CancelRun(const std::string& run_id) {
  agent::CancelRunRequest request;
  request.set_run_id(run_id);
  agent::CancelRunReply reply;
  return Unary(guests::CANCEL_RUN, request, &reply, kUnaryPatience);
}

absl::Status GuestProcess::SetBootScript(const agent::SetBootScriptRequest& request) {
  agent::SetBootScriptReply reply;
  return Unary(guests::SET_BOOT_SCRIPT, request, &reply, kUnaryPatience);
}

absl::StatusOr<std::vector<std::string>> GuestProcess::ReadHostKeys() {
  const agent::ReadHostKeysRequest request;
  agent::ReadHostKeysReply reply;
  const absl::Status status = Unary(guests::READ_HOST_KEYS, request, &reply, kUnaryPatience);
  if (!status.ok()) return status;
  if (absl::Status said = CheckReply(request, reply); !said.ok()) return Refuse(said);
  return std::vector<std::string>(reply.keys().begin(), reply.keys().end());
}

absl::StatusOr<agent::ScriptRun> GuestProcess::RunScript(
    const agent::RunScriptRequest& request,
    const std::function<void(const agent::RunScriptEvent&)>& output) {
  return Follow(guests::RUN_SCRIPT, request, request.run_id(),
                [&](const agent::RunScriptEvent& event) {
                  if (output) output(event);
                  return true;
                });
}

absl::StatusOr<agent::ScriptRun> GuestProcess::FollowRun(
    const agent::FollowRunRequest& request,
    const std::function<bool(const agent::RunScriptEvent&)>& output) {
  return Follow(guests::FOLLOW_RUN, request, request.run_id(), output);
}

// The next message of the guest's; false: there is none any more.
bool GuestProcess::Next(PendingCall* call, std::string* message) {
  uint64_t taken = 0;
  if (!call->stream().Take(message, &taken)) return false;
  if (taken > 0) {
    guests::ToProcess words;
    words.mutable_taken()->set_number(call->number());
    words.mutable_taken()->set_bytes(taken);
    link_.sender()->Send(words);
  }
  return true;
}

absl::StatusOr<agent::ScriptRun> GuestProcess::Follow(
    guests::Method method, const Message& request, const std::string& run_id,
    const std::function<bool(const agent::RunScriptEvent&)>& output) {
  absl::StatusOr<std::shared_ptr<PendingCall>> call = Call(method, request);
  if (!call.ok()) return call.status();
  RunEvents events(run_id);
  absl::Status said;
  bool given_up = false;
  for (std::string bytes; said.ok() && !given_up && Next(call->get(), &bytes);) {
    agent::RunScriptEvent event;
    if (!event.ParseFromString(bytes)) {
      said = absl::DataLossError(absl::StrCat(kNoAgent, "an event that cannot be read"));
    } else {
      said = events.Check(event);
    }
    event.DiscardUnknownFields();
    // Its end is the answer.
    if (said.ok() && !event.has_ended()) given_up = !output(event);
  }
  std::string bytes;
  absl::Status status;
  if (said.ok() && !given_up) (*call)->Await(absl::InfiniteDuration(), &status, &bytes);
  calls_.Forget(**call);
  if (given_up) {
    Cancel(**call);
    return absl::CancelledError("the call to the agent in the guest was given up");
  }
  if (!said.ok()) return Refuse(said);
  if (!status.ok()) return status;
  agent::ScriptRun run;
  agent::RunScriptEvent end;
  if (!run.ParseFromString(bytes)) {
    return Refuse(absl::DataLossError(absl::StrCat(kNoAgent, "a run that cannot be read")));
  }
  run.DiscardUnknownFields();
  *end.mutable_ended() = run;
  if (said = events.Check(end); !said.ok()) return Refuse(said);
  return run;
}

template <typename Input>
void GuestProcess::SendAll(PendingCall* call, const std::function<bool(Input*)>& next_input) {
  guests::ToProcess words;
  words.mutable_piece()->set_number(call->number());
  for (Input input; next_input(&input); input.Clear()) {
    input.SerializeToString(words.mutable_piece()->mutable_message());
    if (!call->stream().MaySend(words.piece().message().size())) break;
    if (!link_.sender()->Send(words)) break;
  }
  words.mutable_piece()->clear_message();
  words.mutable_piece()->set_end(true);
  link_.sender()->Send(words);
}

template <typename Input, typename Output>
absl::Status GuestProcess::Stream(guests::Method method,
                                  const std::function<bool(Input*)>& next_input,
                                  const std::function<void(const Output&)>& output,
                                  const std::function<bool(const Output&)>& is_end) {
  absl::StatusOr<std::shared_ptr<PendingCall>> made = Call(method, Input());
  if (!made.ok()) return made.status();
  PendingCall* const call = made->get();
  absl::StatusOr<std::thread> sender = StartThread([&] { SendAll<Input>(call, next_input); });
  if (!sender.ok()) {
    Cancel(*call);
    return sender.status();
  }
  bool ended = false;
  absl::Status said;
  for (std::string bytes; said.ok() && Next(call, &bytes);) {
    Output message;
    if (!message.ParseFromString(bytes)) {
      said = Refuse(absl::DataLossError(absl::StrCat(kNoAgent, "a message that cannot be read")));
      break;
    }
    ended = ended || is_end(message);
    output(message);
  }
  if (!ended) TellLost(output);
  call->stream().Break();  // whoever waits to send
  sender->join();
  absl::Status status = said;
  std::string reply;
  if (said.ok()) call->Await(absl::InfiniteDuration(), &status, &reply);
  calls_.Forget(*call);
  // The process tells the last words of a command whose session broke as well.
  return ended || !status.ok() ? status : absl::UnavailableError(kLost);
}

absl::Status GuestProcess::Exec(const std::function<bool(agent::ExecInput*)>& next_input,
                                const std::function<void(const agent::ExecOutput&)>& output) {
  return Stream<agent::ExecInput, agent::ExecOutput>(
      guests::EXEC, next_input, output,
      [](const agent::ExecOutput& told) { return told.has_exit_status() || told.has_signal(); });
}

absl::Status GuestProcess::Copy(const std::function<bool(agent::CopyMessage*)>& next_input,
                                const std::function<void(const agent::CopyMessage&)>& output) {
  const absl::StatusOr<uint32_t> protocol = Protocol();
  if (!protocol.ok()) return protocol.status();
  agent::CopyMessage start;
  if (!next_input(&start)) return absl::CancelledError("nothing to copy");
  if (absl::Status may = MayCopy(start.start(), *protocol); !may.ok()) return may;
  bool started = false;
  return Stream<agent::CopyMessage, agent::CopyMessage>(
      guests::COPY,
      [&](agent::CopyMessage* message) {
        if (std::exchange(started, true)) return next_input(message);
        *message = std::move(start);
        return true;
      },
      output, [](const agent::CopyMessage& told) { return told.has_end(); });
}

}  // namespace rum
