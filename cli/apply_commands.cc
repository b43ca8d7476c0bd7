#include <cstdio>
#include <memory>
#include <optional>

#include "cli/apply_stream.h"
#include "cli/commands.h"
#include "cli/consent.h"
#include "cli/interrupts.h"
#include "cli/render.h"
#include "cli/terminal_text.h"
#include "cli/watch.h"

namespace rum {
namespace {

struct ApplyFlags {
  control::ApplyRequest request;
  bool detach = false;
  bool exit_code = false;
  bool restart = false;
  double timeout_s = 0;  // 0: none
  TrustWords trust;
};

// Of a machine that has just come up.
void SayNext(const control::Outcome& outcome, const Globals& globals) {
  if (globals.output != "text" || globals.quiet || outcome.already_running()) return;
  const auto command = [&](const char* words) {
    return OneLine(ToType(globals.file, globals.machine, words), StyleOf(globals).utf8);
  };
  std::printf("Next: `%s` is a shell in it; `%s` says how it follows its file\n",
              command("shell").c_str(), command("status").c_str());
}

void Up(ApplyFlags flags, Globals* globals) {
  // From here on Ctrl+C means the machine, in whatever phase.
  std::optional<Interrupts> interrupts;
  if (!flags.detach) interrupts.emplace();
  MachineClient client;
  if (!Connect(globals, &client)) return;
  flags.request.set_config_path(client.identity.config_path);
  flags.request.set_up(true);
  Interrupts* const heard = interrupts ? &*interrupts : nullptr;
  if (!AskForTrust(flags.trust, client, globals, heard, &flags.request)) return;
  control::ApplyReport report;
  const absl::Duration timeout =
      flags.timeout_s > 0 ? absl::Seconds(flags.timeout_s) : absl::InfiniteDuration();
  globals->json_lines = !flags.detach;  // events follow
  const bool up = RunApply(flags.request, client, globals, &report, heard, timeout);
  if (flags.detach && up) SayNext(report.outcome(), *globals);
  if (flags.detach || (!up && !interrupts->any())) return;
  const char* name = client.identity.name.c_str();
  if (!globals->quiet && !interrupts->any())
    std::fprintf(stderr, "%s is up; Ctrl+C stops it\n", name);
  std::fflush(stdout);  // now it is waited for
  if (up) {
    FollowEvents(&client, &*interrupts, *globals);
  } else {
    interrupts->Wait();
  }
  if (!globals->quiet)
    std::fprintf(stderr, "\nstopping %s; another Ctrl+C leaves that to the controller\n", name);
  if (RunDown(client, {}, globals) && !up) globals->exit_status = 130;
}

void Apply(ApplyFlags flags, Globals* globals) {
  MachineClient client;
  if (!Connect(globals, &client)) return;
  flags.request.set_config_path(client.identity.config_path);
  const bool only_look = flags.request.dry_run() && flags.trust.empty();
  globals->json_lines = flags.restart;
  if (!only_look && !AskForTrust(flags.trust, client, globals, nullptr, &flags.request)) return;
  control::ApplyReport report;
  const bool applied = RunApply(flags.request, client, globals, &report);
  const int code = ExitCode(report.outcome().plan());
  // That it is not up says more than that it could not be reached.
  if (flags.exit_code && !applied && code == 6) globals->exit_status = code;
  if (!applied) return;
  if (flags.restart && !flags.request.dry_run() && code == 5) {
    flags.request.set_up(true);
    if (RunDown(client, {}, globals)) RunApply(flags.request, client, globals, &report);
  }
  if (flags.exit_code && globals->exit_status == 0)
    globals->exit_status = ExitCode(report.outcome().plan());
}

}  // namespace

void AddApplyCommands(CLI::App* app, Globals* globals) {
  const auto up_flags = std::make_shared<ApplyFlags>();
  CLI::App* up = app->add_subcommand(
      "up", "create what is missing, start, provision, open ports; apply what changed");
  up->add_flag("-d,--detach", up_flags->detach,
               "leave the machine to the controller (else Ctrl+C stops it)");
  CLI::Option* reset = up->add_flag_function(
      "--reset", [up_flags](int64_t) { up_flags->request.set_reset(true); },
      "with a fresh root disk; drives stay");
  up->add_flag_function(
        "--drives", [up_flags](int64_t) { up_flags->request.set_reset_drives(true); },
        "with --reset: fresh drives too")
      ->needs(reset);
  up->add_flag_function(
      "--force", [up_flags](int64_t) { up_flags->request.set_take_over(true); },
      "also when the machine is another user's in the same libvirt");
  up->add_flag_function(
      "--new", [up_flags](int64_t) { up_flags->request.set_new_machine(true); },
      "a machine of its own, also where one whose file is gone looks like this one");
  up->add_option(
        "--timeout", up_flags->timeout_s,
        "give up waiting after so many seconds, with exit status 1; the controller goes on")
      ->check(CLI::PositiveNumber);
  AddTrustOption(up, &up_flags->trust);
  up->callback([up_flags, globals] { Up(*up_flags, globals); });

  const auto flags = std::make_shared<ApplyFlags>();
  CLI::App* apply = app->add_subcommand("apply", "make the running machine match its file, once")
                        ->alias("reload");
  apply->add_flag_function(
      "--dry-run", [flags](int64_t) { flags->request.set_dry_run(true); },
      "print the plan and touch nothing");
  apply->add_flag_function(
      "--force",
      [flags](int64_t) {
        flags->request.set_force(true);
        flags->request.set_take_over(true);
      },
      "re-run a changed system script too; also when the machine is another user's");
  apply->add_flag_function(
      "--no-live", [flags](int64_t) { flags->request.set_no_live(true); },
      "what the machine has room for waits for a restart too (for good: reconcile.live = false)");
  apply->add_flag("--restart", flags->restart, "restart the machine if a change needs it");
  apply->add_flag(
      "--exit-code", flags->exit_code,
      "4: live changes or your word pending; 5: restart or recreate needed; 6: not running");
  AddTrustOption(apply, &flags->trust);
  apply->callback([flags, globals] { Apply(*flags, globals); });
}

}  // namespace rum
