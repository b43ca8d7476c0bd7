// A guest that lies in one way, until it is killed: lying_guest LIE AGENT-FD FORWARD-FD
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent-api/channel/frame.h"
#include "tests/fakes/guest/lying_agent.h"

namespace rum {
namespace {

constexpr size_t kMegabyte = 1 << 20;

// What a guest says on its two channels.
struct Guest {
  Lies lies;
  std::string flood;          // of the agent's channel, instead of an agent
  std::string begin, more;    // of each session of the agent's channel, instead of an agent
  std::string forward_begin;  // of each session of the forward channel
  std::string forward_more;   // and then, without end
  std::string forward_flood;  // instead of sessions
};

std::string ResetFlood() {
  std::string resets;
  for (int i = 0; i < 1000; ++i) resets += EncodeControl(FrameKind::kReset, NewNonce());
  return resets;
}

std::string Settings() { return Http2Frame(4, 0, 0, ""); }

std::map<std::string, std::function<void(Guest*)>> AllLies() {
  const auto observation = [](std::function<void(agent::Observation*)> lie) {
    return [lie](Guest* guest) { guest->lies.observation = lie; };
  };
  return {
      {"none", [](Guest*) {}},
      {"runs that there are not", observation([](agent::Observation* seen) {
         for (int i = 0; i < 200; ++i) {
           seen->add_runs()->set_kind("kind-" + std::to_string(i));
           seen->mutable_runs(i)->set_run_id("run-" + std::to_string(i));
         }
       })},
      {"a hostname of 300 kB", observation([](agent::Observation* seen) {
         seen->set_hostname(std::string(300'000, 'h'));
       })},
      {"another hostname each time", observation([](agent::Observation* seen) {
         static int number = 0;
         seen->set_hostname("host-" + std::to_string(++number));
       })},
      {"an answer of 3 MB", observation([](agent::Observation* seen) {
         seen->set_hostname(std::string(3 * kMegabyte, 'h'));
       })},
      {"a reason of 40 kB",
       [](Guest* guest) {
         guest->lies.error = [] {
           return grpc::Status(grpc::StatusCode::INTERNAL, std::string(40'000, 'e'));
         };
       }},
      {"a build id of 4 MB",
       [](Guest* guest) {
         guest->lies.greeting = [](agent::Observation* seen) {
           seen->set_build_id(std::string(4 * kMegabyte, 'f'));
         };
       }},
      {"no answer", [](Guest* guest) { guest->lies.silent = true; }},
      {"notices without end", [](Guest* guest) { guest->lies.notices = true; }},
      {"sessions that break at once", [](Guest* guest) { guest->lies.breaks = true; }},
      {"resets without end", [](Guest* guest) { guest->flood = ResetFlood(); }},
      {"headers without end",
       [](Guest* guest) {
         // A literal of 100 MB that is never whole.
         guest->begin =
             Settings() + Http2Frame(1, 0, 1, std::string("\0\1a\x7f\x81\xc1\xd7\x2f", 8));
         guest->more = Http2Frame(9, 0, 1, std::string(16 * 1024, 'x'));
       }},
      {"pings without end",
       [](Guest* guest) {
         guest->begin = Settings();
         guest->more = ManyOf(Http2Frame(6, 0, 0, "12345678"));
       }},
      {"forwards: resets without end", [](Guest* guest) { guest->forward_flood = ResetFlood(); }},
      {"forwards: window updates without end",
       [](Guest* guest) {
         guest->forward_begin = Settings();
         guest->forward_more = ManyOf(Http2Frame(8, 0, 0, std::string("\0\0\0\1", 4)));
       }},
      {"forwards: pushes and streams",
       [](Guest* guest) {
         guest->forward_begin = Settings();
         guest->forward_more =
             Http2Frame(5, 4, 1, std::string("\0\0\0\2\x88", 5)) + Http2Frame(1, 4, 2, "\x88");
       }},
  };
}

int Lie(const std::string& name, int agent_port, int forward_port) {
  const auto all = AllLies();
  const auto lie = all.find(name);
  if (lie == all.end()) {
    std::fprintf(stderr, "lying_guest: no lie \"%s\"\n", name.c_str());
    return 2;
  }
  // What it costs its own machine is not what is measured: on this one it does without.
  if (name != "none") (void)!nice(19);
  Guest guest;
  lie->second(&guest);
  LyingAgent agent(guest.lies, agent_port);
  LyingAgent forwards({}, forward_port);
  if (!guest.flood.empty()) {
    agent.Flood(guest.flood);
  } else if (!guest.begin.empty()) {
    agent.ServeBytes(guest.begin, guest.more);
  } else {
    agent.Serve();
  }
  if (!guest.forward_flood.empty()) forwards.Flood(guest.forward_flood);
  if (!guest.forward_begin.empty()) {
    forwards.ServeBytes(guest.forward_begin, guest.forward_more);
  }
  for (;;) pause();
}

}  // namespace
}  // namespace rum

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("lying_guest LIE AGENT-FD FORWARD-FD\n", stderr);
    return 2;
  }
  return rum::Lie(argv[1], std::atoi(argv[2]), std::atoi(argv[3]));
}
