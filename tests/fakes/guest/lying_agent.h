#ifndef RUM_TESTS_FAKES_GUEST_LYING_AGENT_H_
#define RUM_TESTS_FAKES_GUEST_LYING_AGENT_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent-api/agent.grpc.pb.h"
#include "agent-api/client/guest_agent.h"

namespace rum {

// How an agent differs from an honest one.
struct Lies {
  std::function<void(agent::Observation*)> greeting;     // to a host that does not know it yet
  std::function<void(agent::Observation*)> observation;  // and to one that does
  std::function<grpc::Status()> error;                   // in place of an observation
  bool breaks = false;                                   // each session, as soon as it began
  bool notices = false;                                  // without end
  bool silent = false;                                   // answers no question but the greeting
};

// An agent that has a hostname and nothing else, and lies.
class LyingService final : public agent::Agent::Service {
 public:
  explicit LyingService(const Lies& lies) : lies_(lies) {}

  grpc::Status Observe(grpc::ServerContext* context, const agent::ObserveRequest* request,
                       agent::Observation* reply) override;
  grpc::Status Watch(grpc::ServerContext* context, const agent::WatchRequest* request,
                     grpc::ServerWriter<agent::Changed>* writer) override;
  // As much output as goes in a second, each piece far from the one before.
  grpc::Status RunScript(grpc::ServerContext* context, const agent::RunScriptRequest* request,
                         grpc::ServerWriter<agent::RunScriptEvent>* writer) override;
  grpc::Status SetHostname(grpc::ServerContext* context, const agent::SetHostnameRequest* request,
                           agent::SetHostnameReply* reply) override;

  std::atomic<int> notices = 0;
  std::atomic<int> questions = 0;  // but for greetings
  std::atomic<int> given_up = 0;   // questions whose answer nobody waits for any more

 private:
  const Lies lies_;
  std::mutex mutex_;
  std::string hostname_ = "localhost";
};

// Such an agent behind one end of a channel.
class LyingAgent {
 public:
  // `port`: the guest's end, in place of one that is made.
  explicit LyingAgent(const Lies& lies, int port = -1);
  ~LyingAgent();
  LyingAgent(const LyingAgent&) = delete;
  LyingAgent& operator=(const LyingAgent&) = delete;

  void Serve();
  // In place of that: sends `bytes` as fast as they are taken, and reads nothing.
  void Flood(const std::string& bytes);
  // Or: says `begin` in each session, and then `more` without end.
  void ServeBytes(const std::string& begin, const std::string& more);

  ChannelOpener opener();
  LyingService& service() { return service_; }

  std::atomic<int> sessions = 0;
  std::atomic<int> floods = 0;

 private:
  const Lies lies_;
  LyingService service_;
  const int wake_;
  int port_ = -1;
  int channel_ = -1;
  std::unique_ptr<grpc::Server> server_;
  std::thread link_;
};

// A frame of HTTP/2 (RFC 9113, 4.1).
std::string Http2Frame(unsigned type, unsigned flags, unsigned stream, const std::string& payload);
// `frame` as often as fits into about 16 kB.
std::string ManyOf(const std::string& frame);

}  // namespace rum

#endif  // RUM_TESTS_FAKES_GUEST_LYING_AGENT_H_
