#include "agent-api/quiet_grpc.h"

#include <grpc/event_engine/event_engine.h>
#include <grpc/grpc.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "agent-api/call_deadline.h"
#include "agent-api/due_work.h"

// Two functions of gRPC's timer_manager.h, which is not installed: whether it has a thread that
// looks at its timers, and one look by whoever calls.
void grpc_timer_manager_set_threading(bool threaded);
void grpc_timer_manager_tick();

namespace rum {
namespace {

using grpc_event_engine::experimental::EventEngine;

// Does what gRPC has to do behind its calls. Where it is given its sockets it connects to nothing,
// listens to nothing and resolves no names: only work and its times are needed.
class SleepingEngine : public EventEngine {
 public:
  explicit SleepingEngine(DueWork* work) : work_(*work) {}

  void Run(Closure* closure) override { RunAfter(Duration(0), closure); }
  void Run(absl::AnyInvocable<void()> closure) override {
    RunAfter(Duration(0), std::move(closure));
  }
  TaskHandle RunAfter(Duration when, Closure* closure) override {
    return RunAfter(when, [closure] { closure->Run(); });
  }
  TaskHandle RunAfter(Duration when, absl::AnyInvocable<void()> closure) override {
    // What is due never, as gRPC says it, is more than a clock can say.
    const auto due = DueWork::Clock::now() + std::min<Duration>(when, std::chrono::hours(24 * 365));
    return {static_cast<intptr_t>(work_.At(due, std::move(closure))), 0};
  }
  bool Cancel(TaskHandle handle) override {
    return work_.Cancel(static_cast<uint64_t>(handle.keys[0]));
  }
  bool IsWorkerThread() override { return work_.IsWorking(); }
  absl::StatusOr<std::unique_ptr<Listener>> CreateListener(
      Listener::AcceptCallback, absl::AnyInvocable<void(absl::Status)>,
      const grpc_event_engine::experimental::EndpointConfig&,
      std::unique_ptr<grpc_event_engine::experimental::MemoryAllocatorFactory>) override {
    return absl::UnimplementedError("this process does not listen");
  }
  ConnectionHandle Connect(OnConnectCallback on_connect, const ResolvedAddress&,
                           const grpc_event_engine::experimental::EndpointConfig&,
                           grpc_event_engine::experimental::MemoryAllocator, Duration) override {
    Run([on_connect = std::move(on_connect)]() mutable {
      on_connect(absl::UnimplementedError("this process does not connect"));
    });
    return {};
  }
  bool CancelConnect(ConnectionHandle) override { return false; }
  std::unique_ptr<DNSResolver> GetDNSResolver(const DNSResolver::ResolverOptions&) override {
    return nullptr;
  }

 private:
  DueWork& work_;
};

DueWork* at_work = nullptr;  // null: gRPC looks at its timers itself

}  // namespace

void QuietGrpc() {
  // For as long as the process: gRPC may have something for it until then.
  auto work = std::make_unique<DueWork>(grpc_timer_manager_tick);
  if (!work->Begin().ok()) return;
  at_work = work.release();
  grpc_event_engine::experimental::SetEventEngineFactory(
      [] { return std::make_unique<SleepingEngine>(at_work); });
  grpc_init();  // never undone: each first one gives it that thread
  grpc_timer_manager_set_threading(false);
}

CallDeadline::CallDeadline(grpc::ClientContext* context, std::chrono::milliseconds patience) {
  context->set_deadline(After(patience));
  if (at_work != nullptr) due_ = at_work->Add(DueWork::Clock::now() + patience);
}

CallDeadline::~CallDeadline() {
  if (at_work != nullptr) at_work->TakeBack(due_);
}

}  // namespace rum
