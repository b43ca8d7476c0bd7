// Any bytes, and any frames, as what the other end of the forwards' session says, in between what
// this end does: streams are told of nothing after their end, and none holds more than its window.
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <string>
#include <utility>

#include "agent-api/forward/mux.h"
#include "tests/fuzz/http2_frames.h"

namespace {

using rum::Mux;

constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Asserts what the streams of real connections rely on.
struct End : Mux::Stream {
  Mux* mux = nullptr;
  int32_t id = 0;
  bool probe = false;
  bool over = false;
  bool heard_end = false;
  size_t held = 0;

  void Check(bool holds) const {
    if (over || !holds) std::abort();
  }
  void OnAnswer(int) override {
    Check(true);
    if (!probe) return;
    mux->Reset(id);
    over = true;
  }
  int64_t Take(char* buffer, size_t size) override {
    Check(size > 0);
    if (id % 3 == 0 || sent > 3) return kNothingNow;
    ++sent;
    buffer[0] = 'x';
    return 1;
  }
  void OnData(const char*, size_t size) override {
    held += size;
    Check(!heard_end && held <= Mux::kMostWindow);
  }
  void OnEnd() override {
    Check(!heard_end);
    heard_end = true;
  }
  void OnClose(bool) override {
    Check(true);
    over = true;
  }
  int sent = 0;
};

class Session {
 public:
  explicit Session(Mux::Side side)
      : mux_(side, [this](int32_t id, uint16_t port,
                          bool) { return port == 7 ? nullptr : Add(id, false); }),
        host_(side == Mux::Side::kHost) {
    if (!host_) said_ = kPreface;
    said_ += rum::Http2Frame(4, 0, 0, "");
    for (int i = 0; i < 3; ++i) Open(i == 1);
    (void)Flush();
  }

  void Say(const std::string& bytes) { said_ += bytes; }
  // What was said arrives in one piece. False: the session is over.
  bool Arrive() {
    const std::string said = std::exchange(said_, "");
    return said.empty() || mux_.Feed(said.data(), said.size());
  }
  bool Flush() {
    return mux_.Produce([](const char*, size_t) { return true; });
  }

  void Do(int what, size_t which) {
    End* end = ends_.empty() ? nullptr : &ends_[which % ends_.size()];
    if (what == 0) return Open(which % 2 == 1);
    if (end == nullptr || end->over) return;
    if (what == 1) mux_.Resume(end->id);
    if (what == 2) mux_.Consumed(end->id, std::exchange(end->held, 0));
    if (what == 3) mux_.Reset(end->id), end->over = true;
    if (what == 4 && !host_) mux_.Answer(end->id, static_cast<int>(which % 2));
  }

 private:
  void Open(bool probe) {
    if (!host_ || ends_.size() > 50) return;
    End* end = Add(0, probe);
    end->id = mux_.Open(80, end, probe);
    if (end->id < 0) end->over = true;
  }
  End* Add(int32_t id, bool probe) {
    End& end = ends_.emplace_back();
    end.mux = &mux_;
    end.id = id;
    end.probe = probe;
    return &end;
  }

  std::deque<End> ends_;  // outlive the mux
  Mux mux_;
  const bool host_;
  std::string said_;
};

void Play(Session* session, const std::string& bytes) {
  rum::FuzzOperation next;
  for (size_t at = 0; rum::NextOperation(bytes, &at, &next);) {
    session->Say(rum::Said(next));
    if (next.what < 14) continue;
    if (!session->Arrive()) return;
    session->Do(next.flags % 5, static_cast<size_t>(next.stream));
    if (next.what == 15 && !session->Flush()) return;
  }
  if (session->Arrive()) (void)session->Flush();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Session session(data[0] % 2 == 0 ? Mux::Side::kHost : Mux::Side::kGuest);
  Play(&session, std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
