#ifndef RUM_TESTS_CONTROLLER_SERVICE_SERVICE_WORLD_H_
#define RUM_TESTS_CONTROLLER_SERVICE_SERVICE_WORLD_H_

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/service/control.grpc.pb.h"
#include "controller/service/server.h"
#include "tests/controller/fake_world.h"
#include "tests/controller/service/scripted_agent.h"

namespace rum {

// All events of a call that streams them.
struct Heard {
  std::vector<std::string> progress;
  std::vector<ActionResult> results;
  std::string output;
  std::vector<control::Outcome> outcomes;
  bool outcome_last = false;
  grpc::Status status;
};
Heard HearAll(grpc::ClientReader<control::ApplyEvent>* reader);

// A server over a unix socket, with a controller of fakes behind it and a client before it.
class ServiceTest : public testing::Test {
 protected:
  ServiceTest();
  ~ServiceTest() override;

  std::unique_ptr<control::Control::Stub> NewClient() const;
  control::ApplyRequest UpRequest() const;
  control::MachineRequest ThisMachine() const;
  Heard Apply(const control::ApplyRequest& request);
  void StopServer();

  FakeWorld world_;
  std::shared_ptr<GuestScript> script_ = std::make_shared<GuestScript>();
  std::atomic<int> stops_ = 0;  // asked for by clients
  std::string folder_;
  std::string socket_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<control::Control::Stub> client_;
};

}  // namespace rum

#endif  // RUM_TESTS_CONTROLLER_SERVICE_SERVICE_WORLD_H_
