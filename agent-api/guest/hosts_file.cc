#include "agent-api/guest/hosts_file.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace rum::guest {
namespace {

constexpr char kOwnAddress[] = "127.0.1.1";
constexpr char kWhite[] = " \t\r\n\f\v";

struct Word {
  std::string space;  // before it
  std::string text;
};

// One line, in pieces that make it up again.
struct Line {
  std::vector<Word> words;  // the address first
  std::string rest;         // white space, comment and end

  std::string address() const { return words.empty() ? "" : words[0].text; }
  std::string text() const {
    std::string text;
    for (const Word& word : words) absl::StrAppend(&text, word.space, word.text);
    return text + rest;
  }
};

Line ParseLine(const std::string& text) {
  Line line;
  const size_t end = std::min(text.find('#'), text.size());
  size_t at = 0;
  while (at < end) {
    const size_t begin = std::min(text.find_first_not_of(kWhite, at), end);
    if (begin == end) break;
    const size_t after = std::min(text.find_first_of(kWhite, begin), end);
    line.words.push_back({text.substr(at, begin - at), text.substr(begin, after - begin)});
    at = after;
  }
  line.rest = text.substr(at);
  return line;
}

bool Mentions(const std::string& text, const std::string& name) {
  const auto same = [](char a, char b) { return absl::ascii_tolower(a) == absl::ascii_tolower(b); };
  return std::search(text.begin(), text.end(), name.begin(), name.end(), same) != text.end();
}

// Line by line, until `take` has enough and says false.
void ForEachLine(const std::string& hosts, const std::function<bool(const std::string&)>& take) {
  for (size_t begin = 0; begin < hosts.size();) {
    const size_t end = std::min(hosts.find('\n', begin), hosts.size() - 1) + 1;
    if (!take(hosts.substr(begin, end - begin))) return;
    begin = end;
  }
}

// The lines of other hosts, of which a list may have half a million, are not taken to pieces.
std::vector<Line> ParseLines(const std::string& hosts, const std::string& hostname) {
  std::vector<Line> lines;
  ForEachLine(hosts, [&](const std::string& text) {
    const bool own = absl::StrContains(text, "127.0.") || Mentions(text, hostname);
    lines.push_back(own ? ParseLine(text) : Line{{}, text});
    return true;
  });
  return lines;
}

bool IsAddress(const std::string& text) {
  in6_addr bytes{};
  return inet_pton(AF_INET, text.c_str(), &bytes) == 1 ||
         inet_pton(AF_INET6, text.substr(0, text.find('%')).c_str(), &bytes) == 1;
}

bool Same(const std::string& one, const std::string& other) {
  return absl::EqualsIgnoreCase(one, other);
}

bool GivesAddress(const Line& line, const std::string& name) {
  return IsAddress(line.address()) &&
         std::any_of(line.words.begin() + 1, line.words.end(),
                     [&](const Word& word) { return Same(word.text, name); });
}

std::string FirstLabel(const std::string& name) { return name.substr(0, name.find('.')); }

bool IsFull(const std::string& name) { return absl::StrContains(name, "."); }

// Whether `full` is "SHORT.DOMAIN".
bool IsFullNameOf(const std::string& full, const std::string& shorter) {
  return full.size() > shorter.size() + 1 && full[shorter.size()] == '.' &&
         Same(full.substr(0, shorter.size()), shorter);
}

class OwnNames {
 public:
  OwnNames(std::string hostname, const std::vector<std::string>& before)
      : hostname_(std::move(hostname)) {
    for (const std::string& name : before) {
      if (name.empty() || Same(name, "localhost")) continue;
      old_.push_back(name);
      if (IsFull(name)) old_.push_back(FirstLabel(name));
    }
  }

  // `added`: whether the new name is there already; then old ones only go. False: nothing of the
  // line is left, and it was more than blank.
  bool Replace(Line* line, bool* added) const {
    const std::vector<std::string> names = NewNames(*line);
    std::vector<Word> words = {line->words[0]};
    bool changed = false;
    for (size_t i = 1; i < line->words.size(); ++i) {
      const Word& word = line->words[i];
      if (!IsOwn(*line, i) || (*added && IsNew(word.text))) {
        if (!changed || !IsNew(word.text) || !Stands(words, word.text)) words.push_back(word);
        continue;
      }
      changed = true;
      for (const std::string& name : *added ? std::vector<std::string>() : names) {
        if (!Stands(words, name)) words.push_back({word.space, name});
      }
      *added = true;
    }
    if (!changed) return true;
    line->words = std::move(words);
    if (line->words.size() > 1) return true;
    // An address alone is no line; a comment is kept.
    line->words.clear();
    line->rest.erase(0, std::min(line->rest.find('#'), line->rest.size()));
    return !line->rest.empty();
  }

  std::string NewLine(const std::string& end) const {
    return absl::StrCat(kOwnAddress, "\t", hostname_,
                        IsFull(hostname_) ? "\t" + FirstLabel(hostname_) : "", end);
  }

 private:
  static bool Stands(const std::vector<Word>& words, const std::string& name) {
    return std::any_of(words.begin() + 1, words.end(),
                       [&](const Word& word) { return Same(word.text, name); });
  }

  bool IsOld(const std::string& name) const {
    return std::any_of(old_.begin(), old_.end(),
                       [&](const std::string& old) { return Same(old, name); });
  }

  bool IsNew(const std::string& name) const {
    return Same(name, hostname_) || Same(name, FirstLabel(hostname_));
  }

  // Whether word `i` of the line is the full name beside the old one, as the line's first two.
  bool IsFullOfOld(const Line& line, size_t i) const {
    if (line.words.size() < 3 || (i != 1 && i != 2)) return false;
    const std::string& other = line.words[3 - i].text;
    return IsOld(other) && !IsFull(other) && IsFullNameOf(line.words[i].text, other);
  }

  bool IsOwn(const Line& line, size_t i) const {
    return IsOld(line.words[i].text) || IsFullOfOld(line, i);
  }

  // A new name without a domain keeps that of the line.
  std::vector<std::string> NewNames(const Line& line) const {
    if (IsFull(hostname_)) return {hostname_, FirstLabel(hostname_)};
    for (const size_t i : {size_t{1}, size_t{2}}) {
      if (!IsFullOfOld(line, i) || IsOld(line.words[i].text)) continue;
      const std::string full = hostname_ + line.words[i].text.substr(line.words[i].text.find('.'));
      return i == 1 ? std::vector<std::string>{full, hostname_}
                    : std::vector<std::string>{hostname_, full};
    }
    return {hostname_};
  }

  const std::string hostname_;
  std::vector<std::string> old_;
};

std::string Joined(const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) absl::StrAppend(&text, line.text());
  return text;
}

// After the line of 127.0.0.1, else as the last one.
std::string WithNewLine(const std::vector<Line>& lines, const OwnNames& own) {
  const auto loopback = std::find_if(
      lines.begin(), lines.end(), [](const Line& line) { return line.address() == "127.0.0.1"; });
  const auto place = loopback == lines.end() ? loopback : loopback + 1;
  std::string before = Joined({lines.begin(), place});
  const std::string end = absl::EndsWith(before, "\r\n") ? "\r\n" : "\n";
  if (!before.empty() && before.back() != '\n') before += end;
  return absl::StrCat(before, own.NewLine(end), Joined({place, lines.end()}));
}

}  // namespace

std::string WithOwnName(const std::string& hosts, const std::string& hostname,
                        const std::vector<std::string>& before) {
  std::vector<Line> lines = ParseLines(hosts, hostname);
  // Names that were not old before this call, wherever they stand, are the user's.
  std::vector<std::string> old = before;
  old.erase(std::remove_if(old.begin(), old.end(),
                           [&](const std::string& name) { return Same(name, hostname); }),
            old.end());
  const OwnNames own(hostname, old);
  bool added = std::any_of(lines.begin(), lines.end(),
                           [&](const Line& line) { return GivesAddress(line, hostname); });
  for (auto line = lines.begin(); line != lines.end();) {
    const bool left = line->address() != kOwnAddress || own.Replace(&*line, &added);
    line = left ? line + 1 : lines.erase(line);
  }
  return added ? Joined(lines) : WithNewLine(lines, own);
}

bool NamesHost(const std::string& hosts, const std::string& hostname) {
  bool found = false;
  ForEachLine(hosts, [&](const std::string& text) {
    found = Mentions(text, hostname) && GivesAddress(ParseLine(text), hostname);
    return !found;
  });
  return found;
}

}  // namespace rum::guest
