#include "cli/render.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "cli/action_text.h"
#include "cli/mark.h"
#include "cli/terminal_text.h"
#include "controller/base/bytes_text.h"
#include "state/diff.h"

namespace rum {
namespace {

std::string Text(const std::string& text, const Style& style) { return OneLine(text, style.utf8); }

std::string MarkedLine(Mark mark, const std::string& text, const Style& style) {
  const std::string first = absl::StrCat("  ", Marked(mark, style), " ");
  return Hanging(first, DisplayWidth(first), Text(text, style), style);
}

// Each line after `margin`, so that no text of others can look like a line of ours.
std::string Indented(const std::string& text, const std::string& margin, const Style& style) {
  std::istringstream lines(Lines(text, style.utf8));
  std::string out;
  for (std::string line; std::getline(lines, line);) absl::StrAppend(&out, margin, line, "\n");
  return out;
}

// What others say may have several lines (libvirt's errors have).
std::string MarkedLines(Mark mark, const std::string& text, const Style& style) {
  const size_t end = text.find('\n');
  const std::string first = MarkedLine(mark, text.substr(0, end), style);
  if (end == std::string::npos) return first;
  return absl::StrCat(first, Indented(text.substr(end + 1), "      ", style));
}

std::string Ago(int64_t ms) {
  const int64_t seconds = std::max<int64_t>(ms / 1000, 0);
  if (seconds < 120) return absl::StrCat(seconds, " s ago");
  if (seconds < 7200) return absl::StrCat(seconds / 60, " min ago");
  return absl::StrCat(seconds / 3600, " h ago");
}

std::string PhaseName(MachineStatus::Phase phase) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(MachineStatus::Phase_Name(phase)), {{"_", " "}});
}

// A forward to which nobody in the guest listens holds, and yet is of no use: not yet, or not any
// more.
Mark MarkOf(const Item& item) {
  switch (item.state()) {
    case Item::HOLDS:
      if (item.forward().health() != ForwardFacts::DOWN) return Mark::kDone;
      return item.forward().last_error().empty() ? Mark::kWillApply : Mark::kNeedsYou;
    case Item::PENDING:
    case Item::DRIFTED:
      return Mark::kWillApply;
    case Item::FAILING:
      return Mark::kFailed;
    default:
      return Mark::kNeedsYou;
  }
}

const char* AuthorName(Item::Author author) {
  switch (author) {
    case Item::LIBVIRT:
      return "libvirt";
    case Item::GUEST:
      return "the guest";
    case Item::HOST:
      return "the host";
    default:
      return "";
  }
}

absl::TimeZone ZoneOf(const Style& style) {
  return style.utc ? absl::UTCTimeZone() : absl::LocalTimeZone();
}

// Of what somebody else than the file moved: who, since when, and when rum tries again.
std::string Circumstances(const Item& item, const Style& style) {
  std::vector<std::string> parts;
  const bool asked = item.state() == Item::NEEDS_CONSENT;
  const std::string author = asked ? "the file" : AuthorName(item.moved_by());
  if (!author.empty()) parts.push_back("by " + author);
  if (!author.empty() && item.first_seen_ms() > 0) {
    parts.push_back("since " + absl::FormatTime("%H:%M:%S",
                                                absl::FromUnixMillis(item.first_seen_ms()),
                                                ZoneOf(style)));
  }
  if (item.next_try_ms() > 0) {
    parts.push_back("next try " + absl::FormatTime("%H:%M:%S",
                                                   absl::FromUnixMillis(item.next_try_ms()),
                                                   ZoneOf(style)));
  }
  return parts.empty() ? "" : absl::StrCat(" (", absl::StrJoin(parts, ", "), ")");
}

// Of one that is not up: why, since when, and what goes on with it; empty: there is nothing to say.
std::string PhaseLine(const MachineStatus& status, const Style& style) {
  if (status.phase_reason().empty() || status.phase() == MachineStatus::STARTING ||
      status.phase() == MachineStatus::UNREACHABLE) {
    return "";
  }
  const bool fell =
      status.phase() == MachineStatus::CRASHED || status.phase() == MachineStatus::PANICKED;
  std::string text = status.phase_reason();
  if (status.phase_since_ms() > 0) {
    absl::StrAppend(&text, ", since ",
                    absl::FormatTime("%Y-%m-%d %H:%M:%S",
                                     absl::FromUnixMillis(status.phase_since_ms()), ZoneOf(style)));
  }
  if (!status.phase_remedy().empty()) absl::StrAppend(&text, ": ", status.phase_remedy());
  return absl::StrCat("  ", Marked(fell ? Mark::kFailed : Mark::kNeedsYou, style), " ",
                      Text(text, style), "\n");
}

// What to type about what does not come by itself; empty: nothing, or it is said elsewhere.
std::string NextLine(const MachineStatus& status, const Style& style) {
  std::vector<std::string> parts;
  const auto any = [&](Item::State state) {
    return std::any_of(status.items().begin(), status.items().end(),
                       [&](const Item& item) { return item.state() == state; });
  };
  if (any(Item::NEEDS_CONSENT)) parts.push_back("`rum trust` is for what needs your word");
  if (any(Item::NEEDS_RESTART))
    parts.push_back("`rum apply --restart` restarts it with what waits for that");
  constexpr char kNext[] = "Next: ";
  return parts.empty() ? "" : Hanging(kNext, sizeof kNext - 1, absl::StrJoin(parts, "; "), style);
}

Mark MarkOf(Event::Kind kind) {
  switch (kind) {
    case Event::DONE:
    case Event::SETTLED:
      return Mark::kDone;
    case Event::FAILED:
      return Mark::kFailed;
    default:
      return Mark::kNeedsYou;
  }
}

}  // namespace

std::string Marked(Mark mark, const Style& style) {
  static constexpr struct {
    const char* utf8;
    const char* plain;
    const char* color;
    const char* words;
  } kMarks[] = {{"✓", "ok", "32", "done:"},
                {"~", "~", "36", "pending:"},
                {"⚠", "!", "33", "attention:"},
                {"✗", "x", "31", "failed:"}};
  const auto& entry = kMarks[static_cast<int>(mark)];
  if (style.plain) return entry.words;
  const std::string text = style.utf8 ? entry.utf8 : entry.plain;
  return style.color ? absl::StrCat("\033[", entry.color, "m", text, "\033[0m") : text;
}

std::string ConditionsText(const google::protobuf::RepeatedPtrField<Condition>& conditions) {
  std::vector<std::string> parts;
  for (const Condition& condition : conditions) {
    if (condition.status() == Condition::TRUE) {
      parts.push_back(condition.type());
    } else if (condition.status() == Condition::UNKNOWN) {
      parts.push_back(absl::StrCat(condition.type(), " unknown (", condition.reason(), ")"));
    } else if (condition.type() != "RestartRequired") {
      parts.push_back(absl::StrCat("not ", condition.type(), " (", condition.reason(), ")"));
    }
  }
  return absl::StrJoin(parts, ", ");
}

std::string PhaseText(MachineStatus::Phase phase) { return PhaseName(phase); }

Style StyleOf(const std::string& color) {
  std::setlocale(LC_CTYPE, "");
  Style style;
  style.utf8 = std::string(nl_langinfo(CODESET)) == "UTF-8";
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool able = isatty(STDOUT_FILENO) != 0 && term != nullptr && std::string(term) != "dumb";
  const bool wanted = (no_color == nullptr || *no_color == '\0') && able;
  style.color = color == "always" || (color == "auto" && wanted);
  winsize size{};
  if (able && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) style.width = size.ws_col;
  return style;
}

std::string RenderResult(const ActionResult& result, const Style& style) {
  const Mark mark = result.ok() ? Mark::kDone : Mark::kFailed;
  return absl::StrCat(MarkedLines(mark, result.message(), style),
                      result.ok() ? "" : Indented(result.output_tail(), "      ", style));
}

std::string RenderWaiting(const Change& change, const Style& style) {
  std::string text = absl::StrCat(change.field(), " changed");
  if (change.effect() == LIVE_OPT_IN) {
    absl::StrAppend(&text, " — re-run it with `rum reload --force`");
  } else {
    if (change.before().empty()) {
      absl::StrAppend(&text, " (added: ", change.after(), ")");
    } else if (change.after().empty()) {
      absl::StrAppend(&text, " (removed: ", change.before(), ")");
    } else {
      absl::StrAppend(&text, " (", change.before(), " → ", change.after(), ")");
    }
    absl::StrAppend(
        &text, change.effect() == RECREATE
                   ? absl::StrCat(" — needs a new disk (`", RecreateCommand(change.field()), "`)")
                   : " — requires restart (`rum down && rum up`)");
  }
  std::string line = MarkedLine(Mark::kNeedsYou, text, style);
  if (!change.reason().empty()) line += Hanging("      ", 6, Text(change.reason(), style), style);
  return line;
}

std::string RenderAtStart(const Change& change, const Style& style) {
  std::string text = absl::StrCat("Next start: ", change.field());
  if (change.effect() == LIVE_OPT_IN) {
    absl::StrAppend(&text, " changed — `rum reload --force` runs it again then");
  } else if (change.before().empty()) {
    absl::StrAppend(&text, " (added: ", change.after(), ")");
  } else if (change.after().empty()) {
    absl::StrAppend(&text, " (removed: ", change.before(), ")");
  } else {
    absl::StrAppend(&text, " (", change.before(), " → ", change.after(), ")");
  }
  return MarkedLine(Mark::kWillApply, text, style);
}

std::string RenderAsk(const Item& ask, const Style& style) {
  return MarkedLine(Mark::kNeedsYou, absl::StrCat(ask.field(), " ", ask.text()), style);
}

std::string RenderTrust(const control::TrustReply& trust, const Style& style) {
  std::string text;
  for (const ConsentedValue& value : trust.consented()) {
    const std::string since =
        value.given_ms() == 0
            ? "from before rum asked"
            : absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixMillis(value.given_ms()),
                               ZoneOf(style));
    absl::StrAppend(&text, "  ", Marked(Mark::kDone, style), " ",
                    Text(absl::StrCat(value.field(), " ", value.value(), " (", since, ")"), style),
                    "\n");
  }
  for (const Item& ask : trust.asks()) text += RenderAsk(ask, style);
  if (!trust.note().empty()) absl::StrAppend(&text, "  ", Text(trust.note(), style), "\n");
  return text.empty() ? "the file reaches nothing that needs your word\n" : text;
}

std::string RenderPlan(const Plan& plan, const Style& style) {
  std::string text;
  for (const Action& action : plan.actions()) {
    text += MarkedLine(Mark::kWillApply, absl::StrCat("Would ", WouldDo(action)), style);
  }
  for (const Item& ask : plan.asks()) text += RenderAsk(ask, style);
  for (const Change& change : plan.waiting()) text += RenderWaiting(change, style);
  for (const Change& change : plan.at_start()) text += RenderAtStart(change, style);
  return text;
}

std::string RenderStatus(const MachineStatus& status, int64_t now_ms, const Style& style) {
  std::string text = absl::StrCat(Text(status.name(), style), "  ", PhaseName(status.phase()));
  if (status.phase() == MachineStatus::NOT_DEFINED) {
    if (status.notes().empty() && status.error().empty()) text += "  `rum up` makes it";
  } else if (status.generation() > 0) {
    absl::StrAppend(&text, "  generation ", status.generation(), ", applied ",
                    status.applied_generation());
    if (status.applied_ms() > 0)
      absl::StrAppend(&text, " (", Ago(now_ms - status.applied_ms()), ")");
  }
  if (status.phase() == MachineStatus::RUNNING && !status.agent_connected())
    absl::StrAppend(&text, "  agent not connected");
  text += "\n";
  text += PhaseLine(status, style);
  size_t width = 0;
  for (const Item& item : status.items())
    width = std::max(width, DisplayWidth(Text(item.field(), style)));
  std::string last;
  for (const Item& item : status.items()) {
    const std::string name = item.field() == last && !style.plain ? "" : Text(item.field(), style);
    last = item.field();
    const std::string mark = Marked(MarkOf(item), style);
    const std::string gap(style.plain ? 1 : width - DisplayWidth(name) + 2, ' ');
    std::string told = absl::StrCat(Text(item.text(), style), Circumstances(item, style));
    if (!item.reason().empty())
      absl::StrAppend(&told, Text(" — ", style), Text(item.reason(), style));
    text += Hanging(absl::StrCat("  ", name, gap, mark, " "), 2 + width + 2 + 2, told, style);
  }
  if (status.conditions_size() > 0 && status.phase() != MachineStatus::NOT_DEFINED) {
    text += Hanging("  ", 2, Text(ConditionsText(status.conditions()), style), style);
  }
  for (const std::string& note : status.notes()) {
    text += MarkedLines(Mark::kNeedsYou, note, style);
  }
  if (!status.error().empty()) {
    text += MarkedLines(Mark::kFailed, status.error(), style);
  }
  if (!status.config_error().empty()) {
    absl::StrAppend(&text, "  ", Marked(Mark::kFailed, style),
                    status.generation() > 0 ? " ConfigInvalid: the last good configuration stays\n"
                                            : " ConfigInvalid: nothing can be made of this file\n",
                    Indented(status.config_error(), "    ", style));
    return text;
  }
  const bool on = status.phase() == MachineStatus::RUNNING && status.agent_connected();
  return on ? text + NextLine(status, style) : text;
}

std::string RenderEvent(const Event& event, const Style& style) {
  std::string text = event.field();
  const bool values = !event.before().empty() || !event.after().empty();
  if (values) {
    absl::StrAppend(&text, ": ", event.before().empty() ? "absent" : event.before(), " → ",
                    event.after().empty() ? "absent" : event.after());
  }
  if (!values || event.kind() != Event::DONE) absl::StrAppend(&text, ": ", event.why());
  std::vector<std::string> parts;
  if (!event.by().empty()) parts.push_back("by " + event.by());
  if (event.took_ms() > 0) parts.push_back(absl::StrCat(event.took_ms(), " ms"));
  if (!parts.empty()) absl::StrAppend(&text, " (", absl::StrJoin(parts, ", "), ")");
  return absl::StrCat(
      absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMillis(event.time_ms()), ZoneOf(style)),
      "  ", Marked(MarkOf(event.kind()), style), " ", Text(text, style), "\n");
}

std::string RenderImages(const control::ImagesReply& images, const Style& style) {
  if (images.images().empty()) return "no images\n";
  std::vector<std::vector<std::string>> rows = {{"NAME", "SIZE", "FETCHED", "IN USE", "URL"}};
  for (const control::CachedImage& image : images.images()) {
    rows.push_back({image.name(), BytesText(static_cast<double>(image.bytes())),
                    image.whole() ? absl::FormatTime("%Y-%m-%d %H:%M",
                                                     absl::FromUnixMillis(image.fetched_ms()),
                                                     absl::LocalTimeZone())
                                  : "in part",
                    image.in_use() ? "yes" : "no", image.url()});
  }
  return Columns(std::move(rows), style);
}

int ExitCode(const Plan& plan) {
  if (!plan.standing().empty()) return 6;
  int code = plan.actions_size() > 0 || plan.asks_size() > 0 ? 4 : 0;
  for (const Change& change : plan.waiting()) {
    code = std::max(code, change.effect() == LIVE_OPT_IN ? 4 : 5);
  }
  return code;
}

int ExitCode(const MachineStatus& status) {
  if (status.phase() != MachineStatus::RUNNING || !status.agent_connected()) return 6;
  if (!status.config_error().empty()) return 1;
  int code = 0;
  for (const Item& item : status.items()) {
    switch (item.state()) {
      case Item::HOLDS:
        break;
      case Item::NEEDS_RESTART:
      case Item::NEEDS_RECREATE:
        code = std::max(code, 5);
        break;
      default:
        code = std::max(code, 4);
    }
  }
  return code;
}

}  // namespace rum
