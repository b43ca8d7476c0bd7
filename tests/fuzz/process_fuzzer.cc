// Any bytes as all that a guest's process says to the controller while it has calls to make and
// connections to carry: each of them ends, once, in words of a size that people can read, and what
// no process says costs only the process.
//
// What it says stands one after the other between bytes 0xff: a message of FromProcess, as JSON or
// as bytes, or after a '!' what is no frame. Numbers 1 to 6 are those of what it was asked.
#include <google/protobuf/util/json_util.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "agent-api/protocol.h"
#include "controller/guests/frames.h"
#include "controller/guests/guest_process.h"
#include "controller/guests/guests.pb.h"
#include "controller/listeners/io_thread.h"

namespace {

using rum::guests::FromProcess;
using rum::guests::ToProcess;

constexpr char kBetween = '\xff';
constexpr size_t kMostWords = 4096;
enum Asked { kObserve, kExec, kRunScript, kDial, kCarry, kProbe, kAll };

void Break(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

void CheckWords(const std::string& words) {
  if (words.size() > kMostWords) Break("too many words: " + std::to_string(words.size()));
}

// The process's end of the socket.
class Peer {
 public:
  rum::ProcessMaker Maker() {
    return [this](const std::string&, rum::Fd socket) -> absl::StatusOr<rum::Leashed> {
      if (std::exchange(made_, true)) return absl::UnavailableError("one is enough");
      socket_.set_value(std::move(socket));
      return rum::Leashed(rum::Fd(), 1);
    };
  }
  void Begin() {
    end_ = socket_.get_future().get();
    FromProcess message;
    message.mutable_state()->set_connected(true);
    message.mutable_state()->set_protocol(rum::kProtocol);
    Say(message.SerializeAsString());
  }
  // Until all of it was asked for.
  void HearAll() {
    int heard = 0;
    while (heard < kAll) {
      const auto outcome = reader_.Read(end_.get(), [&](const std::string& bytes, const rum::Fd&) {
        ToProcess message;
        if (!message.ParseFromString(bytes)) Break("the controller says nothing");
        heard += Note(message) ? 1 : 0;
        return true;
      });
      if (outcome != rum::FrameReader::Outcome::kMore) Break("the controller went away");
    }
  }
  void SayAll(const std::string& all) {
    for (size_t at = 0; at < all.size();) {
      const size_t end = std::min(all.find(kBetween, at), all.size());
      const std::string piece = all.substr(at, end - at);
      at = end + 1;
      if (absl::StartsWith(piece, "!")) {
        Send(piece.substr(1));
        continue;
      }
      FromProcess message;
      const bool is_one = absl::StartsWith(piece, "{")
                              ? google::protobuf::util::JsonStringToMessage(piece, &message).ok()
                              : message.ParseFromString(piece);
      if (is_one) Renumber(&message);
      Say(is_one ? message.SerializeAsString() : piece);
    }
  }
  void End() { end_ = rum::Fd(); }

 private:
  bool Note(const ToProcess& message) {
    const auto note = [this](Asked what, uint64_t number) {
      numbers_.at(what) = number;
      return true;
    };
    if (message.has_call()) {
      switch (message.call().method()) {
        case rum::guests::OBSERVE:
          return note(kObserve, message.call().number());
        case rum::guests::EXEC:
          return note(kExec, message.call().number());
        default:
          return note(kRunScript, message.call().number());
      }
    }
    if (message.has_carry()) {
      return note(message.carry().dial() ? kDial : kCarry, message.carry().number());
    }
    return message.has_probe() && note(kProbe, message.probe().number());
  }
  uint64_t Real(uint64_t number) const {
    return number >= 1 && number <= kAll ? numbers_.at(number - 1) : number;
  }
  void Renumber(FromProcess* message) const {
    const auto each = [this](auto* part) { part->set_number(Real(part->number())); };
    if (message->has_answer()) each(message->mutable_answer());
    if (message->has_piece()) each(message->mutable_piece());
    if (message->has_taken()) each(message->mutable_taken());
    if (message->has_over()) each(message->mutable_over());
    if (message->has_probed()) each(message->mutable_probed());
    if (message->has_counts()) {
      for (auto& one : *message->mutable_counts()->mutable_ones()) each(&one);
    }
    if (message->message_case() == FromProcess::kConnected) {
      message->set_connected(Real(message->connected()));
    }
  }
  void Say(const std::string& message) {
    std::string head(5, '\0');
    for (size_t i = 0; i < 4; ++i) head[i] = static_cast<char>(message.size() >> (8 * i) & 0xff);
    Send(head + message);
  }
  void Send(const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t sent = send(end_.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) return;  // it is ended already
      at += static_cast<size_t>(sent);
    }
  }

  bool made_ = false;
  std::promise<rum::Fd> socket_;
  rum::Fd end_;
  rum::FrameReader reader_{rum::kMostFrameBytesToProcess, true};
  std::array<uint64_t, kAll> numbers_{};
};

// What is asked of the process, and how often each was over.
class Questions {
 public:
  explicit Questions(rum::GuestProcess* process)
      : process_(*process),
        carrier_(process->Forwards(
            []() -> absl::StatusOr<int> { return absl::UnavailableError("no channel"); },
            [] { return errno = ECONNREFUSED, -1; })) {}

  void Ask() {
    calls_.emplace_back([this] {
      rum::agent::ObserveRequest request;
      request.set_user("dev");
      CheckWords(std::string(process_.Observe(request).status().message()));
    });
    calls_.emplace_back([this] {
      int inputs = 3;
      const absl::Status status = process_.Exec(
          [&](rum::agent::ExecInput* input) {
            input->set_standard_input("x");
            return inputs-- > 0;
          },
          [](const rum::agent::ExecOutput&) {});
      CheckWords(std::string(status.message()));
    });
    calls_.emplace_back([this] {
      rum::agent::RunScriptRequest request;
      request.set_run_id("run");
      CheckWords(std::string(process_.RunScript(request, nullptr).status().message()));
    });
    process_.Dial(80, [this](const absl::StatusOr<int>& dialed) {
      CheckWords(std::string(dialed.status().message()));
      if (dialed.ok()) close(*dialed);
      ++dialed_;
    });
    rum::OnIoThread([this] { return Carry(); });
  }
  // After the process's end.
  void Judge() {
    for (std::thread& call : calls_) call.join();
    // Calls are the first that a process's end gives up. One that never ends is libFuzzer's to say.
    while (dialed_ == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
    carrier_->Close();
    if (dialed_ != 1 || over_ != 1 || probed_ != 1) Break("something did not end, or twice");
    if (to_guest_ < 0 || to_client_ < 0) Break("fewer bytes than none");
  }

 private:
  int Carry() {
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    client_ = rum::Fd(ends[0]);
    rum::Fd accepted(ends[1]);
    rum::CarryEvents events;
    events.to_guest = &to_guest_;
    events.to_client = &to_client_;
    events.on_over = [this](const std::string& why) {
      CheckWords(why);
      ++over_;
    };
    if (carrier_->Carry(&accepted, 80, std::chrono::seconds(60), std::move(events)) == 0 ||
        !carrier_->Probe(80, [this](int) { ++probed_; })) {
      Break("a process that is there carries nothing");
    }
    return 0;
  }

  rum::GuestProcess& process_;
  const std::shared_ptr<rum::ProcessCarrier> carrier_;
  rum::Fd client_;
  std::vector<std::thread> calls_;
  std::atomic<int> dialed_ = 0;
  int over_ = 0;
  int probed_ = 0;
  int64_t to_guest_ = 0;
  int64_t to_client_ = 0;
};

// A sanitizer marks the whole stack of each thread, and there are many.
void MakeStacksSmall() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 << 10);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool begun = (MakeStacksSmall(), signal(SIGPIPE, SIG_IGN) != SIG_ERR);
  if (!begun) std::abort();
  Peer peer;
  rum::GuestProcess process(
      "fuzzed", []() -> absl::StatusOr<int> { return absl::UnavailableError("no channel"); },
      nullptr, "", peer.Maker());
  peer.Begin();
  if (!process.WaitConnected(absl::Seconds(60)).ok()) Break("a process that is there is not");
  Questions questions(&process);
  questions.Ask();
  peer.HearAll();
  peer.SayAll({reinterpret_cast<const char*>(data), size});
  peer.End();
  questions.Judge();
  return 0;
}
