#include "controller/guests/guest_side.h"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "agent-api/client/guest_agent.h"
#include "agent-api/quiet_grpc.h"
#include "controller/guests/channel_desk.h"
#include "controller/guests/confine.h"
#include "controller/guests/frames.h"
#include "controller/guests/outlet.h"
#include "controller/guests/served_calls.h"
#include "controller/guests/served_forwards.h"

namespace rum {
namespace {

// For whoever is in the middle of something when the controller lets go.
constexpr unsigned kEndSeconds = 2;
// For gRPC to begin.
constexpr unsigned kBeginSeconds = 60;

// The agent that the guest is to have, as the controller told it last.
class ToldProgram {
 public:
  void Become(const guests::ToProcess::Program& program, Fd file) {
    const std::lock_guard<std::mutex> guard(mutex_);
    build_id_ = program.build_id();
    file_ = std::make_shared<Fd>(std::move(file));
  }
  AgentProgram Told() const {
    const std::lock_guard<std::mutex> guard(mutex_);
    return {build_id_, [file = file_] { return ReadAll(file->get()); }};
  }

 private:
  static std::string ReadAll(int file) {
    std::string bytes;
    std::string part(64 << 10, '\0');
    for (ssize_t got;
         (got = pread(file, part.data(), part.size(), static_cast<off_t>(bytes.size()))) > 0;) {
      bytes.append(part, 0, static_cast<size_t>(got));
    }
    return bytes;
  }

  mutable std::mutex mutex_;
  std::string build_id_;
  std::shared_ptr<Fd> file_ = std::make_shared<Fd>();
};

class GuestSide {
 public:
  explicit GuestSide(int socket)
      : socket_(socket),
        outlet_(socket),
        desk_(&outlet_),
        agent_(ConnectGuestAgent({[this] { return desk_.Want(guests::AGENT); },
                                  [this] { TellChanged(); }, [this] { return program_.Told(); },
                                  [this](const AgentState& state) { TellState(state); }})),
        calls_(agent_.get(), &outlet_),
        forwards_(std::make_unique<ServedForwards>(agent_.get(), &desk_, &outlet_)) {}

  void Run() {
    FrameReader reader(kMostFrameBytesToProcess, true);
    while (reader.Read(socket_, [this](const std::string& bytes, Fd fd) {
      guests::ToProcess message;
      if (!message.ParseFromString(bytes)) return false;
      Take(message, std::move(fd));
      return true;
    }) == FrameReader::Outcome::kMore) {
    }
  }

  // Says goodbye to the guest.
  void End() {
    alarm(kEndSeconds);
    desk_.Shut(guests::AGENT, true);
    forwards_.reset();
    calls_.EndAll();
    agent_.reset();
  }

 private:
  void Take(const guests::ToProcess& message, Fd fd) {
    switch (message.message_case()) {
      case guests::ToProcess::kProgram:
        return program_.Become(message.program(), std::move(fd));
      case guests::ToProcess::kOpened:
        return desk_.Opened(message.opened(), std::move(fd));
      case guests::ToProcess::kCall:
        return calls_.Begin(message.call());
      case guests::ToProcess::kPiece:
        return calls_.Take(message.piece());
      case guests::ToProcess::kTaken:
        return calls_.Grow(message.taken());
      case guests::ToProcess::kCancel:
        return calls_.Cancel(message.cancel());
      case guests::ToProcess::kForwards:
        return forwards_->Become(message.forwards());
      case guests::ToProcess::kCarry:
        return forwards_->Carry(message.carry(), std::move(fd));
      case guests::ToProcess::kAbort:
        return forwards_->Abort(message.abort());
      case guests::ToProcess::kProbe:
        return forwards_->Probe(message.probe());
      case guests::ToProcess::kStream:
        return forwards_->TakeStream(message.stream(), std::move(fd));
      case guests::ToProcess::MESSAGE_NOT_SET:
        return;
    }
  }

  void TellChanged() {
    guests::FromProcess message;
    message.set_changed(true);
    outlet_.Say(message);
  }

  void TellState(const AgentState& state) {
    guests::FromProcess message;
    guests::FromProcess::State& told = *message.mutable_state();
    told.set_connected(state.connected);
    told.set_pushes(state.pushes);
    told.set_greeted(state.greeted);
    told.set_replacing_ms(static_cast<uint32_t>(state.replacing.count()));
    told.set_why(state.why);
    told.set_stream_secret(state.stream_secret);
    told.set_protocol(state.protocol);
    outlet_.Say(message);
  }

  const int socket_;
  Outlet outlet_;
  ChannelDesk desk_;
  ToldProgram program_;
  std::unique_ptr<GuestAgent> agent_;
  ServedCalls calls_;
  std::unique_ptr<ServedForwards> forwards_;
};

}  // namespace

void BeGuestProcess(int socket) {
  // Few threads, and most of them wait: an arena for each would cost more than the lock.
  mallopt(M_ARENA_MAX, 1);
  if (const std::string why = Confine(); !why.empty()) {
    guests::FromProcess message;
    message.set_unfit("it cannot be confined: " + why);
    Outlet(socket).Say(message);
    return;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGALRM, [](int) { _exit(0); });
  // Where it lacks a thread gRPC waits for it in vain: another process may have more luck.
  alarm(kBeginSeconds);
  QuietGrpc();
  alarm(0);
  GuestSide side(socket);
  side.Run();
  side.End();
  _exit(0);  // whatever threads are left
}

}  // namespace rum
