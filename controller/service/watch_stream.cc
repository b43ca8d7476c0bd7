#include "controller/service/watch_stream.h"

#include <variant>

#include "controller/base/utf8.h"

namespace rum {

absl::Status ServeWatch(Controller* controller, const control::WatchRequest& request,
                        grpc::ServerContext* context,
                        grpc::ServerWriter<control::WatchEvent>* writer) {
  Machine::WatchOptions options;
  options.status = request.status();
  options.events = request.events();
  options.history = request.history();
  options.follow = request.follow();
  const auto tell = [writer](const StatusFeed::News& news) {
    control::WatchEvent event;
    if (const auto* status = std::get_if<MachineStatus>(&news)) {
      *event.mutable_status() = *status;
    } else {
      *event.mutable_happened() = std::get<Event>(news);
    }
    MakeUtf8(&event);
    return writer->Write(event);
  };
  return controller->Watch(request.config_path(), options, tell,
                           [context] { return context->IsCancelled(); });
}

}  // namespace rum
