#ifndef RUM_STATE_AUTHORIZED_KEY_H_
#define RUM_STATE_AUTHORIZED_KEY_H_

#include <string>

namespace rum {

// A line of authorized_keys in its parts, as sshd(8) takes them apart: white space between them is
// of no account, and white space inside the quotes of an option is not between them.
struct AuthorizedKey {
  std::string options;  // without, empty
  std::string type;
  std::string data;     // base64
  std::string comment;  // may be empty, and may be anything
};

// Takes a line apart. False, without options, type and data: it has no word that may be a key's
// type where one has to be.
bool SplitKeyLine(const std::string& line, AuthorizedKey* key);

// What keeps `line` from letting anybody in, for a message after "ssh.authorized_keys[0] "; empty:
// nothing does. White space around the line (a final newline) is no fault.
std::string KeyLineProblem(const std::string& line);

// The one spelling of a line: one space between its parts, none around it. What is no line of a
// key stays as it is.
std::string PlainKeyLine(const std::string& line);

// What a line lets its key do: its options; empty: everything.
std::string KeyOptionsOf(const std::string& line);

}  // namespace rum

#endif  // RUM_STATE_AUTHORIZED_KEY_H_
