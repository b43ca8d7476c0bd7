#ifndef RUM_TESTS_CLI_FAKE_CONTROLLER_H_
#define RUM_TESTS_CLI_FAKE_CONTROLLER_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "agent-api/agent.pb.h"
#include "controller/service/control.grpc.pb.h"
#include "controller/service/launch.h"

namespace rum {

// Answers the real rum on the socket of its controller, for a machine that there is not. Every
// command in it succeeds: it says its input again.
class FakeController : public control::Control::Service {
 public:
  explicit FakeController(const std::string& socket) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  // What a call of a class below this one needs goes before this does.
  void EndCalls() { server_->Shutdown(); }

  control::SshReply ssh;  // the answer

  std::vector<agent::ExecStart> Commands() {
    std::lock_guard<std::mutex> lock(mutex_);
    return commands_;
  }

  grpc::Status Info(grpc::ServerContext*, const control::InfoRequest*,
                    control::InfoReply* reply) override {
    reply->set_pid(getpid());
    reply->set_version(kVersion);
    return grpc::Status::OK;
  }

  grpc::Status ListMachines(grpc::ServerContext*, const control::ListMachinesRequest* request,
                            control::ListMachinesReply* reply) override {
    control::ListedMachine* machine = reply->add_machines();
    machine->set_id("0123456789ab");
    machine->set_name("dev");
    machine->set_config_path(request->config_path());
    return grpc::Status::OK;
  }

  grpc::Status Ssh(grpc::ServerContext*, const control::MachineRequest*,
                   control::SshReply* reply) override {
    *reply = ssh;
    return grpc::Status::OK;
  }

  // Of a script that writes until nobody listens.
  grpc::Status Log(grpc::ServerContext* context, const control::LogRequest*,
                   grpc::ServerWriter<control::LogEvent>* writer) override {
    control::LogEvent event;
    event.set_standard_output("on and on\n");
    while (!context->IsCancelled() && writer->Write(event)) {
    }
    return grpc::Status::OK;
  }

  grpc::Status Exec(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<control::ExecMessage, control::ExecMessage>* stream) override {
    control::ExecMessage message;
    agent::ExecInput input;
    if (!stream->Read(&message) || !input.ParseFromString(message.agent_message()))
      return {grpc::StatusCode::INVALID_ARGUMENT, "nothing to run"};
    const agent::ExecStart start = input.start();
    agent::ExecOutput output;
    while (!start.no_input() && stream->Read(&message) &&
           input.ParseFromString(message.agent_message()) && !input.has_close_input()) {
      output.set_standard_output(input.standard_input());
      output.SerializeToString(message.mutable_agent_message());
      stream->Write(message);
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      commands_.push_back(start);
    }
    output.set_exit_status(0);
    output.SerializeToString(message.mutable_agent_message());
    stream->Write(message);
    return grpc::Status::OK;
  }

 private:
  std::mutex mutex_;
  std::vector<agent::ExecStart> commands_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace rum

#endif  // RUM_TESTS_CLI_FAKE_CONTROLLER_H_
