#include "state/authorized_key.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "state/names.h"

namespace rum {
namespace {

constexpr char kCertificate[] = "-cert-v01@openssh.com";

// How many strings (a number is one as well) follow the type in the data of a key: sshkey.c of
// OpenSSH, and PROTOCOL.u2f there.
const std::map<std::string, int>& KeyTypes() {
  static const std::map<std::string, int> types = {{"ssh-ed25519", 1},
                                                   {"ssh-rsa", 2},
                                                   {"ssh-dss", 4},
                                                   {"ecdsa-sha2-nistp256", 2},
                                                   {"ecdsa-sha2-nistp384", 2},
                                                   {"ecdsa-sha2-nistp521", 2},
                                                   {"sk-ssh-ed25519@openssh.com", 2},
                                                   {"sk-ecdsa-sha2-nistp256@openssh.com", 3}};
  return types;
}

// The type of the key in a certificate: "ssh-rsa" of "ssh-rsa-cert-v01@openssh.com".
std::optional<std::string> CertifiedType(const std::string& type) {
  if (!absl::EndsWith(type, kCertificate)) return std::nullopt;
  std::string plain = type.substr(0, type.size() - std::strlen(kCertificate));
  if (absl::StartsWith(plain, "sk-")) plain += "@openssh.com";
  if (KeyTypes().count(plain) == 0) return std::nullopt;
  return plain;
}

bool IsKeyType(const std::string& word) {
  return KeyTypes().count(word) > 0 || CertifiedType(word).has_value();
}

bool IsSpace(char c) { return c == ' ' || c == '\t'; }

std::string Trimmed(const std::string& line) {
  return std::string(absl::StripAsciiWhitespace(line));
}

// The next word from `*at` on; with `quotes`, spaces inside double quotes belong to it.
std::string NextWord(const std::string& line, bool quotes, size_t* at) {
  while (*at < line.size() && IsSpace(line[*at])) ++*at;
  const size_t begin = *at;
  bool quoted = false;
  for (; *at < line.size() && (quoted || !IsSpace(line[*at])); ++*at) {
    if (!quotes) continue;
    if (line[*at] == '\\' && *at + 1 < line.size() && line[*at + 1] == '"') {
      ++*at;
    } else if (line[*at] == '"') {
      quoted = !quoted;
    }
  }
  *at = std::min(*at, line.size());
  return line.substr(begin, *at - begin);
}

// Bytes of a key, read from the front: RFC 4251 section 5.
class Blob {
 public:
  explicit Blob(std::string bytes) : bytes_(std::move(bytes)) {}

  bool Skip(size_t size) {
    if (bytes_.size() - at_ < size) return false;
    at_ += size;
    return true;
  }
  bool Text(std::string* text) {
    uint32_t size = 0;
    for (int i = 0; i < 4; ++i) {
      if (at_ >= bytes_.size()) return false;
      size = size << 8 | static_cast<unsigned char>(bytes_[at_++]);
    }
    const size_t begin = at_;
    if (!Skip(size)) return false;
    *text = bytes_.substr(begin, size);
    return true;
  }
  bool Texts(int count, std::vector<std::string>* texts) {
    for (; count > 0; --count) {
      if (std::string text; Text(&text)) {
        texts->push_back(std::move(text));
      } else {
        return false;
      }
    }
    return true;
  }
  bool ended() const { return at_ == bytes_.size(); }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

// What is wrong with the numbers of a key of `type`; `parts` are its strings after the type.
std::string PartsProblem(const std::string& type, const std::vector<std::string>& parts) {
  if (absl::StrContains(type, "ed25519") && parts[0].size() != 32) {
    return absl::StrCat("holds an ed25519 key of ", parts[0].size(), " bytes in place of 32");
  }
  if (absl::StartsWith(type, "ssh-rsa") && parts[1].size() < 128) {
    return absl::StrCat("holds an RSA key of ", parts[1].size() * 8,
                        " bits: sshd takes none below 1024");
  }
  static const std::map<std::string, size_t> points = {
      {"nistp256", 65}, {"nistp384", 97}, {"nistp521", 133}};
  for (const auto& [curve, size] : points) {
    if (!absl::StrContains(type, curve)) continue;
    if (parts[0] != curve) return absl::StrCat("holds a key of another curve than ", curve);
    if (parts[1].size() != size) return "holds a point that is not of its curve";
  }
  return "";
}

// A certificate has a nonce before the key, and after it what PROTOCOL.certkeys of OpenSSH lists.
bool ReadParts(bool certificate, int count, Blob* blob, std::vector<std::string>* parts) {
  std::vector<std::string> rest;
  if (certificate && !blob->Texts(1, &rest)) return false;  // nonce
  if (!blob->Texts(count, parts)) return false;
  if (!certificate) return true;
  return blob->Skip(8 + 4) && blob->Texts(2, &rest) && blob->Skip(8 + 8) && blob->Texts(5, &rest);
}

std::string DataProblem(const std::string& type, const std::string& data) {
  const size_t end = data.find_last_not_of('=') + 1;
  const bool plain = absl::c_all_of(absl::string_view(data).substr(0, end), [](char c) {
    return absl::ascii_isalnum(c) || c == '+' || c == '/';
  });
  std::string bytes;
  if (!plain) return "has characters in its key that base64 has not";
  if (data.size() % 4 != 0 || data.size() - end > 2 || !absl::Base64Unescape(data, &bytes)) {
    return absl::StrCat("is cut off: its key ends in the middle, after ", data.size(),
                        " characters");
  }
  Blob blob(bytes);
  std::string inner;
  if (!blob.Text(&inner)) return absl::StrCat("is cut off after ", data.size(), " characters");
  if (inner != type) {
    return absl::StrCat("says ", Quoted(type), ", and its key is one of type ", Quoted(inner));
  }
  const std::optional<std::string> certified = CertifiedType(type);
  const int count = KeyTypes().at(certified.value_or(type));
  std::vector<std::string> parts;
  if (!ReadParts(certified.has_value(), count, &blob, &parts)) {
    return absl::StrCat("is cut off: its key goes on after the ", data.size(),
                        " characters that are there");
  }
  if (!blob.ended()) return "has more in its key than a key of its type";
  return PartsProblem(type, parts);
}

// Options by their name in lower case, and whether they have a value: auth-options.c of OpenSSH.
const std::map<std::string, bool>& KeyOptions() {
  static const std::map<std::string, bool> options = {{"agent-forwarding", false},
                                                      {"cert-authority", false},
                                                      {"command", true},
                                                      {"environment", true},
                                                      {"expiry-time", true},
                                                      {"from", true},
                                                      {"no-agent-forwarding", false},
                                                      {"no-port-forwarding", false},
                                                      {"no-pty", false},
                                                      {"no-touch-required", false},
                                                      {"no-user-rc", false},
                                                      {"no-x11-forwarding", false},
                                                      {"permitlisten", true},
                                                      {"permitopen", true},
                                                      {"port-forwarding", false},
                                                      {"principals", true},
                                                      {"pty", false},
                                                      {"restrict", false},
                                                      {"tunnel", true},
                                                      {"user-rc", false},
                                                      {"verify-required", false},
                                                      {"x11-forwarding", false}};
  return options;
}

// Options are split at commas that stand in no quotes; nullopt: a quote is not closed.
std::optional<std::vector<std::string>> SplitOptions(const std::string& options) {
  std::vector<std::string> list(1);
  bool quoted = false;
  for (size_t i = 0; i < options.size(); ++i) {
    if (options[i] == '\\' && i + 1 < options.size() && options[i + 1] == '"') {
      list.back() += options[i++];
    } else if (options[i] == '"') {
      quoted = !quoted;
    } else if (options[i] == ',' && !quoted) {
      list.emplace_back();
      continue;
    }
    list.back() += options[i];
  }
  if (quoted) return std::nullopt;
  return list;
}

std::string OptionsProblem(const std::string& options, std::set<std::string>* names) {
  const auto list = SplitOptions(options);
  if (!list) return "has an option whose quotes do not end";
  for (const std::string& option : *list) {
    const size_t equals = std::min(option.find('='), option.size());
    const std::string name = absl::AsciiStrToLower(option.substr(0, equals));
    const auto known = KeyOptions().find(name);
    if (known == KeyOptions().end()) {
      return absl::StrCat("has the option ", Quoted(option.substr(0, equals)),
                          ", which sshd does not know");
    }
    const std::string value = option.substr(equals);
    const bool has_value = value.size() >= 3 && value[1] == '"' && value.back() == '"';
    if (known->second && !has_value) {
      return absl::StrCat("has the option ", name, ", which needs a value in quotes: ", name,
                          "=\"...\"");
    }
    if (!known->second && !value.empty()) {
      return absl::StrCat("has the option ", name, ", which takes no value");
    }
    names->insert(name);
  }
  return "";
}

// What people paste in place of such a line.
std::string OtherThingProblem(const std::string& line) {
  if (absl::StrContains(line, "PRIVATE KEY") || absl::StartsWith(line, "PuTTY-User-Key-File")) {
    return "is a private key, which belongs nowhere but to its owner: put the line of its .pub "
           "file here, and make a new key if this file was shown to anybody";
  }
  if (absl::StartsWith(line, "---- BEGIN SSH2")) {
    return "is in the format of RFC 4716: `ssh-keygen -i -f FILE` prints it as OpenSSH has it";
  }
  if (line.find_first_of("\r\n") != std::string::npos) {
    return "has more than one line: each key is a string of its own";
  }
  if (absl::StartsWith(line, "#")) return "is a comment: one of TOML stands outside of the string";
  if (line.find_first_of(" \t") == std::string::npos && absl::EndsWith(line, ".pub")) {
    return "is the name of a file: put the line that stands in it here";
  }
  return "";
}

}  // namespace

bool SplitKeyLine(const std::string& line, AuthorizedKey* key) {
  *key = {};
  size_t at = 0;
  std::string word = NextWord(line, false, &at);
  if (!IsKeyType(word)) {
    at = 0;
    std::string options = NextWord(line, true, &at);
    word = NextWord(line, false, &at);
    if (!IsKeyType(word)) return false;
    key->options = std::move(options);
  }
  key->type = std::move(word);
  key->data = NextWord(line, false, &at);
  while (at < line.size() && IsSpace(line[at])) ++at;
  key->comment = line.substr(at);
  return true;
}

std::string KeyLineProblem(const std::string& text) {
  const std::string line = Trimmed(text);
  if (const std::string other = OtherThingProblem(line); !other.empty()) return other;
  if (line.find('\0') != std::string::npos) return "has a byte 0 in it";
  AuthorizedKey key;
  if (!SplitKeyLine(line, &key) || key.data.empty()) {
    return "is not an OpenSSH public key (a line such as `ssh-ed25519 AAAA... comment`)";
  }
  std::set<std::string> options;
  if (!key.options.empty()) {
    if (std::string wrong = OptionsProblem(key.options, &options); !wrong.empty()) return wrong;
  }
  if (CertifiedType(key.type).has_value() && options.count("cert-authority") == 0) {
    return "is a certificate, with which nobody is let in here: name the key that signs, with the "
           "option cert-authority";
  }
  return DataProblem(key.type, key.data);
}

std::string PlainKeyLine(const std::string& text) {
  const std::string line = Trimmed(text);
  AuthorizedKey key;
  if (line.find_first_of("\r\n") != std::string::npos || !SplitKeyLine(line, &key) ||
      key.data.empty()) {
    return text;
  }
  return absl::StrCat(key.options, key.options.empty() ? "" : " ", key.type, " ", key.data,
                      key.comment.empty() ? "" : " ", key.comment);
}

std::string KeyOptionsOf(const std::string& line) {
  AuthorizedKey key;
  return SplitKeyLine(line, &key) ? key.options : "";
}

bool IsOpenSshKey(const std::string& text) { return KeyLineProblem(text).empty(); }

std::string KeyWithoutComment(const std::string& line) {
  AuthorizedKey key;
  if (SplitKeyLine(line, &key)) return absl::StrCat(key.type, " ", key.data);
  const size_t data = std::min(line.find(' '), line.size() - 1) + 1;
  return line.substr(0, line.find(' ', data));
}

std::string KeyName(const std::string& line) {
  AuthorizedKey key;
  if (!SplitKeyLine(line, &key)) return line;
  if (!key.comment.empty()) {
    for (char& c : key.comment) {  // what a terminal would obey
      if ((c >= 0 && c < ' ') || c == '\x7f') c = '?';
    }
    return key.comment;
  }
  constexpr size_t kLast = 8;
  return absl::StrCat(key.type, " …",
                      key.data.substr(key.data.size() - std::min(kLast, key.data.size())));
}

}  // namespace rum
