// The guest's side of the benchmarks, static: the server, and what is measured in the guest itself.
// Prints milliseconds, one sample a line.
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "tests/bench/traffic.h"
#include "tests/bench/traffic_server.h"

namespace rum::bench {
namespace {

int Print(const absl::StatusOr<Series>& series) {
  if (!series.ok()) {
    std::fprintf(stderr, "%s\n", series.status().ToString().c_str());
    return 1;
  }
  for (const double ms : series->ms) std::printf("%.4f\n", ms);
  return 0;
}

// Starts `program` and waits for its end, so often.
absl::StatusOr<Series> Starts(const std::string& program, int times) {
  Series series;
  for (int i = 0; i < times; ++i) {
    std::string name = program;
    char* argv[] = {name.data(), nullptr};
    pid_t pid = 0;
    int status = 0;
    const auto begin = std::chrono::steady_clock::now();
    if (posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0) {
      return absl::InternalError("cannot run " + program);
    }
    const auto end = std::chrono::steady_clock::now();
    series.ms.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
  }
  return series;
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  CLI::App app("The guest's side of rum's benchmarks.", "in_guest");
  app.require_subcommand(1);
  uint16_t port = 0;
  size_t connections = 0;
  size_t samples = 0;
  std::string program;
  int times = 0;
  CLI::App* serve = app.add_subcommand("serve", "serve a port for ever");
  serve->add_option("port", port)->required();
  CLI::App* echo = app.add_subcommand("echo", "echoes of 64 bytes by the server on a port");
  echo->add_option("port", port)->required();
  echo->add_option("connections", connections)->required();
  echo->add_option("samples", samples)->required();
  CLI::App* start = app.add_subcommand("start", "start a program and wait for its end");
  start->add_option("program", program)->required();
  start->add_option("times", times)->required();
  CLI11_PARSE(app, argc, argv);
  if (serve->parsed()) return ServeTraffic(port);
  if (echo->parsed()) return Print(Echo(port, connections, samples));
  return Print(Starts(program, times));
}

}  // namespace
}  // namespace rum::bench

int main(int argc, char** argv) { return rum::bench::Main(argc, argv); }
