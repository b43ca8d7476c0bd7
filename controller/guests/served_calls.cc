#include "controller/guests/served_calls.h"

#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "agent-api/threads.h"

namespace rum {
namespace {

// Makes a call that has a request and a reply.
template <typename Request, typename Call>
absl::Status CallWith(const std::string& bytes, Call call) {
  Request request;
  if (!request.ParseFromString(bytes)) {
    return absl::InternalError("the controller's request cannot be read");
  }
  return call(request);
}

template <typename Reply>
absl::Status Serialize(const absl::StatusOr<Reply>& made, std::string* reply) {
  if (made.ok()) made->SerializeToString(reply);
  return made.status();
}

}  // namespace

std::shared_ptr<CallStream> ServedCalls::Find(uint64_t number) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto found = streams_.find(number);
  return found == streams_.end() ? nullptr : found->second;
}

void ServedCalls::Begin(const guests::ToProcess::Call& call) {
  const auto stream = std::make_shared<CallStream>();
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    streams_[call.number()] = stream;
  }
  absl::StatusOr<std::thread> thread =
      StartThread([this, call, stream] { Serve(call, stream.get()); });
  if (thread.ok()) return thread->detach();
  End(call.number(), thread.status(), "");
}

void ServedCalls::Take(const guests::Piece& piece) {
  const auto stream = Find(piece.number());
  if (stream == nullptr) return;
  if (piece.end()) return stream->ComesToEnd();
  stream->Came(piece.message());
}

void ServedCalls::Grow(const guests::Taken& taken) {
  if (const auto stream = Find(taken.number())) stream->Grow(taken.bytes());
}

void ServedCalls::Cancel(uint64_t number) {
  if (const auto stream = Find(number)) stream->Break();
}

void ServedCalls::EndAll() {
  std::unique_lock<std::mutex> guard(mutex_);
  for (const auto& [number, stream] : streams_) stream->Break();
  changed_.wait(guard, [this] { return streams_.empty(); });
}

void ServedCalls::End(uint64_t number, const absl::Status& status, const std::string& reply) {
  guests::FromProcess message;
  guests::FromProcess::Answer& answer = *message.mutable_answer();
  answer.set_number(number);
  answer.set_code(static_cast<int>(status.code()));
  answer.set_text(std::string(status.message()));
  answer.set_reply(reply);
  outlet_.Say(message);
  const std::lock_guard<std::mutex> guard(mutex_);
  streams_.erase(number);
  changed_.notify_all();
}

void ServedCalls::Serve(const guests::ToProcess::Call& call, CallStream* stream) {
  std::string reply;
  const absl::Status status = Make(call, stream, &reply);
  End(call.number(), status, reply);
}

absl::Status ServedCalls::Make(const guests::ToProcess::Call& call, CallStream* stream,
                               std::string* reply) {
  const std::string& bytes = call.request();
  switch (call.method()) {
    case guests::OBSERVE:
      return CallWith<agent::ObserveRequest>(
          bytes, [&](const auto& request) { return Serialize(agent_.Observe(request), reply); });
    case guests::SET:
      return CallWith<agent::SetRequest>(
          bytes, [&](const auto& request) { return agent_.Set(request.settings()); });
    case guests::SET_RESOURCES:
      return CallWith<agent::SetResourcesRequest>(
          bytes, [&](const auto& request) { return agent_.SetResources(request); });
    case guests::SET_CARDS:
      return CallWith<agent::SetCardsRequest>(
          bytes, [&](const auto& request) { return agent_.SetCards(request); });
    case guests::SET_HOSTNAME:
      return CallWith<agent::SetHostnameRequest>(
          bytes, [&](const auto& request) { return agent_.SetHostname(request.hostname()); });
    case guests::SET_GROUPS:
      return CallWith<agent::SetGroupsRequest>(
          bytes, [&](const auto& request) { return agent_.SetGroups(request); });
    case guests::SET_AUTHORIZED_KEYS:
      return CallWith<agent::SetAuthorizedKeysRequest>(
          bytes, [&](const auto& request) { return agent_.SetAuthorizedKeys(request); });
    case guests::SET_STORAGE:
      return CallWith<agent::SetStorageRequest>(
          bytes, [&](const auto& request) { return Serialize(agent_.SetStorage(request), reply); });
    case guests::RUN_SCRIPT:
      return CallWith<agent::RunScriptRequest>(bytes, [&](const auto& request) {
        return Serialize(agent_.RunScript(request,
                                          [&](const agent::RunScriptEvent& event) {
                                            Tell(call.number(), stream, event);
                                          }),
                         reply);
      });
    case guests::FOLLOW_RUN:
      return CallWith<agent::FollowRunRequest>(bytes, [&](const auto& request) {
        return Serialize(agent_.FollowRun(request,
                                          [&](const agent::RunScriptEvent& event) {
                                            return Tell(call.number(), stream, event);
                                          }),
                         reply);
      });
    case guests::CANCEL_RUN:
      return CallWith<agent::CancelRunRequest>(
          bytes, [&](const auto& request) { return agent_.CancelRun(request.run_id()); });
    case guests::SET_BOOT_SCRIPT:
      return CallWith<agent::SetBootScriptRequest>(
          bytes, [&](const auto& request) { return agent_.SetBootScript(request); });
    case guests::EXEC:
      return Exec(call.number(), stream);
    case guests::COPY:
      return Copy(call.number(), stream);
    case guests::READ_HOST_KEYS: {
      const absl::StatusOr<std::vector<std::string>> keys = agent_.ReadHostKeys();
      if (!keys.ok()) return keys.status();
      agent::ReadHostKeysReply all;
      for (const std::string& key : *keys) all.add_keys(key);
      all.SerializeToString(reply);
      return absl::OkStatus();
    }
    default:
      return absl::UnimplementedError("the controller asks for what this process does not know");
  }
}

// After its last output nobody is asked for more input.
absl::Status ServedCalls::Exec(uint64_t number, CallStream* stream) {
  return agent_.Exec([&](agent::ExecInput* input) { return Next(number, stream, input); },
                     [&](const agent::ExecOutput& output) {
                       Tell(number, stream, output);
                       if (output.has_exit_status() || output.has_signal()) stream->ComesToEnd();
                     });
}

absl::Status ServedCalls::Copy(uint64_t number, CallStream* stream) {
  return agent_.Copy([&](agent::CopyMessage* input) { return Next(number, stream, input); },
                     [&](const agent::CopyMessage& output) {
                       Tell(number, stream, output);
                       if (output.has_end()) stream->ComesToEnd();
                     });
}

bool ServedCalls::Tell(uint64_t number, CallStream* stream,
                       const google::protobuf::MessageLite& message) {
  guests::FromProcess said;
  guests::Piece& piece = *said.mutable_piece();
  piece.set_number(number);
  message.SerializeToString(piece.mutable_message());
  if (!stream->MaySend(piece.message().size())) return false;
  outlet_.Say(said);
  return true;
}

bool ServedCalls::Next(uint64_t number, CallStream* stream,
                       google::protobuf::MessageLite* message) {
  std::string bytes;
  uint64_t taken = 0;
  if (!stream->Take(&bytes, &taken)) return false;
  if (taken > 0) {
    guests::FromProcess said;
    said.mutable_taken()->set_number(number);
    said.mutable_taken()->set_bytes(taken);
    outlet_.Say(said);
  }
  return message->ParseFromString(bytes);
}

}  // namespace rum
