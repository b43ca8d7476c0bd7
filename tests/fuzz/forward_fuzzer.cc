// A guest that says anything on the port of the forwards, while clients connect, write and go: each
// connection is over once, and nothing is open after the end.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "agent-api/channel/frame.h"
#include "agent-api/forward/host_end.h"
#include "tests/fuzz/http2_frames.h"

namespace {

using rum::FrameKind;

std::array<int, 2> Pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    std::abort();
  }
  return ends;
}

int OpenDescriptors() {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

class World {
 public:
  World()
      : decoder_([](const char*, size_t) {},
                 [this](FrameKind kind, const std::string& nonce) {
                   if (kind == FrameKind::kHello) nonce_ = nonce;
                 }) {
    Open();
  }
  ~World() {
    end_.Close("closed");
    for (const int fd : clients_) close(fd);
    if (guest_ >= 0) close(guest_);
    for (const auto& [number, over] : over_) {
      if (over != 1) std::abort();
    }
  }

  // As a guest that means it: takes up the session, and says what HTTP/2 begins with.
  void Begin() {
    Hear();
    Write(rum::EncodeControl(FrameKind::kAck, nonce_));
    Say(rum::Http2Frame(4, 0, 0, ""));
  }
  void Control(int kind) {
    Hear();
    Write(rum::EncodeControl(static_cast<FrameKind>(kind % 6), nonce_));
  }
  void Say(const std::string& payload) {
    std::string bytes;
    rum::EncodePayload(payload.data(), payload.size(), &bytes);
    Write(bytes);
  }
  void Write(const std::string& bytes) {
    if (guest_ >= 0 && !bytes.empty())
      (void)!send(guest_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

  void Do(int what, int which) {
    const int client =
        clients_.empty() ? -1 : clients_[static_cast<size_t>(which) % clients_.size()];
    if (what == 0) Connect();
    if (what == 1) end_.Probe(80, [](int) {});
    if (client >= 0 && what == 2) (void)!send(client, "hello", 5, MSG_NOSIGNAL);
    if (client >= 0 && what == 3) shutdown(client, SHUT_WR);
    if (client >= 0 && what == 4) shutdown(client, SHUT_RDWR);
    if (what == 5 && !numbers_.empty()) {
      end_.Abort(numbers_[static_cast<size_t>(which) % numbers_.size()], "aborted");
    }
    if (what == 6 && guest_ >= 0) close(std::exchange(guest_, -1));
    if (what == 7 && lost_) Open();
  }
  void Run() {
    for (int i = 0; i < 8 && end_.Run(0); ++i) {
    }
  }

 private:
  void Open() {
    if (guest_ >= 0) close(guest_);
    const auto [host, guest] = Pair();
    guest_ = guest;
    lost_ = false;
    nonce_ = std::string(rum::kNonceSize, '0');
    end_.Open(host);
  }
  void Connect() {
    if (clients_.size() > 20) return;
    const auto [mine, theirs] = Pair();
    clients_.push_back(theirs);
    const size_t place = numbers_.size();
    rum::CarryEvents events;
    events.on_over = [this, place](const std::string&) { ++over_[place]; };
    over_[place] = 0;
    numbers_.push_back(end_.Carry(mine, 80, std::chrono::seconds(60), std::move(events)));
  }
  void Hear() {
    char buffer[4096];
    for (ssize_t n = 0; guest_ >= 0 && (n = read(guest_, buffer, sizeof buffer)) > 0;) {
      decoder_.Feed(buffer, static_cast<size_t>(n));
    }
  }

  rum::FrameDecoder decoder_;
  std::string nonce_;
  int guest_ = -1;
  bool lost_ = false;
  std::vector<int> clients_;
  std::vector<uint64_t> numbers_;
  std::map<size_t, int> over_;  // how often each connection was
  rum::HostEnd end_{[this] { lost_ = true; }, [] {}};
};

void Play(World* world, const std::string& bytes) {
  world->Begin();
  world->Run();
  rum::FuzzOperation next;
  for (size_t at = 0; rum::NextOperation(bytes, &at, &next);) {
    if (next.what == 9) {
      world->Control(next.flags);
    } else if (next.what == 8 && next.flags % 2 == 1) {
      world->Write(next.payload);
    } else {
      world->Say(rum::Said(next));
    }
    if (next.what < 14) continue;
    world->Run();
    world->Do(next.flags % 8, next.stream);
    if (next.what == 15) world->Run();
  }
  world->Run();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  [[maybe_unused]] static const auto ignored = signal(SIGPIPE, SIG_IGN);  // as in rum
  const int before = OpenDescriptors();
  {
    World world;
    Play(&world, std::string(reinterpret_cast<const char*>(data), size));
  }
  if (OpenDescriptors() != before) std::abort();
  return 0;
}
