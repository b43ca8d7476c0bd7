#include "cli/proxy_command.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>

#include "controller/service/call_status.h"

namespace rum {
namespace {

using DialStream = grpc::ClientReaderWriter<control::DialMessage, control::DialMessage>;

void PassBytes(DialStream* stream) {
  std::string buffer(64 * 1024, '\0');
  control::DialMessage message;
  for (;;) {
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    message.set_data(buffer.data(), static_cast<size_t>(n));
    if (!stream->Write(message)) return;
  }
  message.clear_data();
  message.set_end(true);
  stream->Write(message);
}

bool WriteAll(const std::string& data) {
  for (size_t done = 0; done < data.size();) {
    const ssize_t n = write(STDOUT_FILENO, data.data() + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

void Proxy(const MachineClient& client, uint16_t port, Globals* globals) {
  grpc::ClientContext context;
  const auto stream = client.stub->Dial(&context);
  control::DialMessage message;
  message.set_config_path(client.identity.config_path);
  message.set_port(port);
  stream->Write(message);
  std::thread input([&] { PassBytes(stream.get()); });
  while (stream->Read(&message)) {
    // Its end is ours: the thread may be in a read that nothing ends, so that it goes with the
    // process.
    if (message.end()) _exit(0);
    if (WriteAll(message.data())) continue;
    if (errno != EPIPE) Fail(globals, std::string("standard output: ") + std::strerror(errno));
    _exit(1);
  }
  const grpc::Status status = stream->Finish();
  Fail(globals, status.ok() ? "the connection was lost" : WhyItFailed(status));
  _exit(globals->exit_status);
}

}  // namespace rum
