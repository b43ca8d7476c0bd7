#include "cli/watch.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "agent-api/call_deadline.h"
#include "cli/client.h"
#include "cli/full_screen.h"
#include "cli/json_text.h"
#include "cli/render.h"
#include "cli/reports.pb.h"
#include "cli/terminal_text.h"
#include "controller/service/call_status.h"

namespace rum {
namespace {

constexpr size_t kEventsOnScreen = 5;
constexpr int kAllOfHistory = 1 << 20;
constexpr std::chrono::milliseconds kBetweenControllers{200};

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool ControllerWent(const grpc::Status& status) { return status.ok() || IsLost(status); }

void Print(const Event& event, const Globals& globals) {
  const std::string text =
      globals.output == "json" ? ToJsonLine(event) : RenderEvent(event, StyleOf(globals));
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

std::string WhatIsMissing(const std::string& type, const MachineStatus& status) {
  for (const Condition& condition : status.conditions()) {
    if (condition.type() != type) continue;
    std::string text = condition.reason();
    if (!condition.message().empty()) text += ": " + condition.message();
    return text;
  }
  return "the controller has not told yet";
}

bool Holds(const std::string& type, const MachineStatus& status) {
  for (const Condition& condition : status.conditions()) {
    if (condition.type() == type) {
      return condition.status() == Condition::TRUE &&
             condition.observed_generation() == status.generation();
    }
  }
  return false;
}

}  // namespace

grpc::Status Hear(const control::WatchRequest& request, MachineClient* client,
                  gpr_timespec deadline, Interrupts* interrupts,
                  const std::function<bool(const control::WatchEvent&)>& hear) {
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    const auto reader = client->stub->Watch(&context, request);
    if (interrupts != nullptr) interrupts->SetAtWork([&context] { context.TryCancel(); });
    control::WatchEvent event;
    bool enough = false;
    while (!enough && reader->Read(&event)) enough = !hear(event);
    if (enough) context.TryCancel();
    const grpc::Status status = reader->Finish();
    if (interrupts != nullptr) interrupts->SetAtWork(nullptr);
    if (enough || (interrupts != nullptr && interrupts->any())) return grpc::Status::OK;
    if (!ControllerWent(status) || (!request.follow() && status.ok())) return status;
    std::this_thread::sleep_for(kBetweenControllers);
    auto stub = ConnectController(true);
    if (!stub.ok()) return ToGrpc(stub.status());
    client->stub = *std::move(stub);
  }
}

void WatchStatus(MachineClient* client, Globals* globals) {
  const bool screen = globals->output == "text" && CanRedraw(*globals);
  control::WatchRequest request;
  request.set_config_path(client->identity.config_path);
  request.set_status(true);
  request.set_events(screen);
  request.set_history(kEventsOnScreen);
  request.set_follow(true);
  std::mutex mutex;
  MachineStatus last;
  std::deque<Event> events;
  const auto show = [&] {
    if (globals->output == "json") {
      std::fputs(ToJsonLine(last).c_str(), stdout);
    } else {
      const Style style = StyleOf(*globals);  // each time: a window changes
      std::string text = RenderStatus(last, NowMs(), style) + "\n";
      for (const Event& event : events) text += RenderEvent(event, style);
      if (screen) {
        DrawScreen(text, *globals);
      } else {
        std::fputs(text.c_str(), stdout);
      }
    }
    std::fflush(stdout);
    return std::ferror(stdout) == 0;
  };
  std::optional<WindowWatch> window;
  if (screen) {
    window.emplace([&] {
      const std::lock_guard<std::mutex> guard(mutex);
      if (!last.id().empty()) show();
    });
  }
  const grpc::Status status =
      Hear(request, client, Never(), nullptr, [&](const control::WatchEvent& event) {
        const std::lock_guard<std::mutex> guard(mutex);
        if (event.has_status()) last = event.status();
        if (event.has_happened()) events.push_back(event.happened());
        if (events.size() > kEventsOnScreen) events.pop_front();
        return last.id().empty() || show();
      });
  window.reset();
  if (!status.ok()) Fail(globals, WhyItFailed(status));
}

namespace {

struct Waited {
  MachineStatus last;
  grpc::Status status;
  bool holds = false;
};

Waited WaitForOne(const std::string& condition, gpr_timespec deadline, MachineClient* client) {
  control::WatchRequest request;
  request.set_config_path(client->identity.config_path);
  request.set_status(true);
  request.set_follow(true);
  Waited waited;
  waited.status = Hear(request, client, deadline, nullptr, [&](const control::WatchEvent& event) {
    waited.last = event.status();
    waited.holds = Holds(condition, waited.last);
    return !waited.holds;
  });
  // Its turn came after the deadline.
  if (waited.last.id().empty() && AskStatus(client, &waited.last).ok())
    waited.holds = Holds(condition, waited.last);
  return waited;
}

// One after the other, and again where one that held does not any more when the last one does.
std::vector<Waited> WaitForAll(const std::string& condition, gpr_timespec deadline,
                               std::vector<std::unique_ptr<MachineClient>>* clients) {
  std::vector<Waited> all(clients->size());
  for (bool together = false; !together;) {
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = WaitForOne(condition, deadline, (*clients)[i].get());
    together = true;
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].holds) return all;
      MachineStatus now;
      const bool same = all.size() == 1 || !AskStatus((*clients)[i].get(), &now).ok();
      together = together && (same || Holds(condition, now));
    }
  }
  return all;
}

}  // namespace

void WaitForCondition(const std::string& condition, std::chrono::milliseconds timeout,
                      std::vector<std::unique_ptr<MachineClient>>* clients, Globals* globals) {
  const std::vector<Waited> all = WaitForAll(condition, After(timeout), clients);
  reports::StatusReport report;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool late = all[i].status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
    if (!all[i].holds && !late)
      return Fail(globals, (*clients)[i]->identity.name + ": " + WhyItFailed(all[i].status));
    *report.add_machines() = all[i].last;
  }
  if (globals->output == "json") {
    const bool one = report.machines_size() == 1;
    std::fputs((one ? ToJson(report.machines(0)) : ToJson(report)).c_str(), stdout);
  } else if (!globals->quiet) {
    for (const MachineStatus& status : report.machines())
      std::fputs(RenderStatus(status, NowMs(), StyleOf(*globals)).c_str(), stdout);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].holds) continue;
    Fail(globals, (*clients)[i]->identity.name + " is not " + condition + " after " +
                      std::to_string(timeout.count() / 1000) +
                      " s: " + WhatIsMissing(condition, all[i].last));
  }
}

void ShowEvents(bool follow, Globals* globals) {
  MachineClient client;
  if (!ConnectToKnown(globals, &client)) return;
  control::WatchRequest request;
  request.set_config_path(client.identity.config_path);
  request.set_events(true);
  request.set_history(kAllOfHistory);
  request.set_follow(follow);
  const grpc::Status status =
      Hear(request, &client, Never(), nullptr, [&](const control::WatchEvent& event) {
        request.set_history(0);  // a next controller has told it
        Print(event.happened(), *globals);
        return std::ferror(stdout) == 0;
      });
  if (!status.ok()) Fail(globals, WhyItFailed(status));
}

void FollowEvents(MachineClient* client, Interrupts* interrupts, const Globals& globals) {
  control::WatchRequest request;
  request.set_config_path(client->identity.config_path);
  request.set_events(true);
  request.set_follow(true);
  while (!interrupts->any()) {
    const grpc::Status status =
        Hear(request, client, Never(), interrupts, [&](const control::WatchEvent& event) {
          if (!globals.quiet) Print(event.happened(), globals);
          return true;
        });
    if (status.ok()) continue;
    if (!globals.quiet)
      std::fprintf(stderr, "rum: %s; Ctrl+C still stops the machine\n",
                   OneLine(WhyItFailed(status), StyleOf(globals).utf8).c_str());
    interrupts->Wait();
  }
}

}  // namespace rum
