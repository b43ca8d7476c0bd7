#include "tests/controller/service/service_world.h"

#include <grpc/grpc.h>

#include <cstdlib>
#include <filesystem>

#include "absl/time/clock.h"

namespace rum {

Heard HearAll(grpc::ClientReader<control::ApplyEvent>* reader) {
  Heard heard;
  control::ApplyEvent event;
  while (reader->Read(&event)) {
    heard.outcome_last = event.has_outcome();
    if (event.has_outcome()) heard.outcomes.push_back(event.outcome());
    if (event.has_result()) heard.results.push_back(event.result());
    if (event.has_progress()) heard.progress.push_back(event.progress());
    heard.output += event.script_output();
  }
  heard.status = reader->Finish();
  return heard;
}

ServiceTest::ServiceTest() {
  grpc_init();  // for good, as in rum: the end of the last user waits up to 10 s
  std::string folder = "/tmp/rum-service.XXXXXX";  // short: a socket's path has at most 107 bytes
  folder_ = mkdtemp(folder.data());
  socket_ = folder_ + "/controller.sock";
  ControllerParts parts = world_.Parts();
  parts.guest = [this](const std::string&, ChannelOpener, std::function<void()>) {
    return GuestLink{std::make_unique<ScriptedAgent>(world_.guest, script_)};
  };
  parts.run_folder = folder_ + "/runs";
  controller_ = std::make_unique<Controller>(std::move(parts));
  EXPECT_TRUE(controller_->Start().ok());
  auto server = ControlServer::Listen(socket_, controller_.get(), [this] { ++stops_; });
  EXPECT_TRUE(server.ok()) << server.status();
  if (server.ok()) server_ = *std::move(server);
  client_ = NewClient();
}

ServiceTest::~ServiceTest() {
  StopServer();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void ServiceTest::StopServer() {
  script_->Release();
  if (controller_ != nullptr) controller_->Stop();
  server_.reset();
  controller_.reset();
}

std::unique_ptr<control::Control::Stub> ServiceTest::NewClient() const {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return control::Control::NewStub(
      grpc::CreateCustomChannel("unix:" + socket_, grpc::InsecureChannelCredentials(), own));
}

control::ApplyRequest ServiceTest::UpRequest() const {
  control::ApplyRequest request;
  request.set_config_path(world_.identity.config_path);
  request.set_up(true);
  return request;
}

control::MachineRequest ServiceTest::ThisMachine() const {
  control::MachineRequest request;
  request.set_config_path(world_.identity.config_path);
  return request;
}

Heard ServiceTest::Apply(const control::ApplyRequest& request) {
  grpc::ClientContext context;
  return HearAll(client_->Apply(&context, request).get());
}

}  // namespace rum
