#include "agent-api/client/change_stream.h"

#include <utility>

namespace rum {

ChangeStream::ChangeStream(agent::Agent::Stub* stub,
                           std::function<void(const agent::Changed&)> on_change)
    : thread_([this, stub, on_change = std::move(on_change)] {
        const auto reader = stub->Watch(&context_, agent::WatchRequest());
        for (agent::Changed change; reader->Read(&change);) {
          open_ = true;
          on_change(change);
        }
        open_ = false;
        reader->Finish();
      }) {}

ChangeStream::~ChangeStream() {
  context_.TryCancel();
  thread_.join();
}

}  // namespace rum
