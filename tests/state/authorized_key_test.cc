#include "state/authorized_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "state/names.h"

namespace rum {
namespace {

using testing::HasSubstr;

constexpr char kEd[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ";

// A string as the data of a key has it.
std::string Text(const std::string& bytes) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    text.push_back(static_cast<char>(bytes.size() >> shift & 0xFF));
  }
  return text + bytes;
}

std::string Line(const std::string& type, const std::string& parts) {
  return absl::StrCat(type, " ", absl::Base64Escape(Text(type) + parts));
}

std::string Ec(const std::string& curve, size_t size) {
  return Text(curve) + Text("\x04" + std::string(size - 1, 'p'));
}

// One of each type that sshd knows.
std::vector<std::string> EveryType() {
  const std::string number(129, '\x01');
  return {kEd,
          Line("ssh-rsa", Text("\x01\x01") + Text(number)),
          Line("ssh-dss", Text(number) + Text("q") + Text("g") + Text("y")),
          Line("ecdsa-sha2-nistp256", Ec("nistp256", 65)),
          Line("ecdsa-sha2-nistp384", Ec("nistp384", 97)),
          Line("ecdsa-sha2-nistp521", Ec("nistp521", 133)),
          Line("sk-ssh-ed25519@openssh.com", Text(std::string(32, 'k')) + Text("ssh:")),
          Line("sk-ecdsa-sha2-nistp256@openssh.com", Ec("nistp256", 65) + Text("ssh:"))};
}

// ed25519's, with what PROTOCOL.certkeys says.
std::string Certificate() {
  return Line("ssh-ed25519-cert-v01@openssh.com",
              Text("nonce") + Text(std::string(32, 'k')) + std::string(12, '\0') + Text("id") +
                  Text("") + std::string(16, '\xff') + Text("") + Text("") + Text("") +
                  Text("key") + Text("signature"));
}

TEST(AuthorizedKey, EveryTypeIsTakenHoweverItIsSpaced) {
  for (const std::string& line : EveryType()) {
    const size_t space = line.find(' ');
    const std::string type = line.substr(0, space), data = line.substr(space + 1);
    for (const std::string& spelling :
         {line, line + " me@here", line + "\n", line + " me\r\n", "  " + line, line + " ",
          type + "  " + data + "   a b", type + "\t" + data + "\tc", line + " größe \"x # y"}) {
      EXPECT_EQ(KeyLineProblem(spelling), "") << spelling;
      EXPECT_EQ(KeyWithoutComment(PlainKeyLine(spelling)), line) << spelling;
    }
  }
}

TEST(AuthorizedKey, OptionsAreTakenAsSshdTakesThem) {
  for (const char* options :
       {"no-pty", "no-pty,command=\"a b\"", "restrict,pty", "cert-authority", "CERT-AUTHORITY",
        "cert-authority,principals=\"ada,bob\"", "from=\"10.0.0.0/8,!10.1.0.1\"",
        "command=\"echo \\\"hi, you\\\"\",no-X11-forwarding", "environment=\"A=b c\"",
        "permitopen=\"[::1]:80\",permitlisten=\"8080\"", "expiry-time=\"20300101\"", "tunnel=\"0\"",
        "verify-required,no-touch-required"}) {
    const std::string line = absl::StrCat(options, " ", kEd, " c");
    EXPECT_EQ(KeyLineProblem(line), "") << line;
    EXPECT_EQ(PlainKeyLine(absl::StrCat(options, " \t", kEd, "  c\n")), line);
    EXPECT_EQ(KeyWithoutComment(line), kEd);
    EXPECT_EQ(KeyName(line), "c");
  }
  const std::vector<std::pair<const char*, const char*>> wrong = {
      {"no-ptty", "the option \"no-ptty\", which sshd does not know"},
      {"command=\"a b", "is not an OpenSSH public key"},
      {"command=x", "needs a value in quotes"},
      {"command", "needs a value in quotes"},
      {"no-pty=\"x\"", "takes no value"},
      {"no-pty,,restrict", "the option \"\""},
      {"no-pty,", "the option \"\""}};
  for (const auto& [options, why] : wrong) {
    EXPECT_THAT(KeyLineProblem(absl::StrCat(options, " ", kEd)), HasSubstr(why)) << options;
  }
}

TEST(AuthorizedKey, ACertificateNeedsTheWordThatMakesItOne) {
  EXPECT_THAT(KeyLineProblem(Certificate()), HasSubstr("is a certificate"));
  EXPECT_EQ(KeyLineProblem("cert-authority " + Certificate()), "");
  const std::string cut = Certificate().substr(0, Certificate().size() - 8);
  EXPECT_THAT(KeyLineProblem("cert-authority " + cut), HasSubstr("is cut off"));
}

// "accepted = can converge": whatever is cut off or exchanged lets nobody in.
TEST(AuthorizedKey, EveryBeginningOfAKeyIsCutOff) {
  for (const std::string& line : EveryType()) {
    const size_t data = line.find(' ') + 1;
    for (size_t size = line.size() - 1; size > data; --size) {
      if (line[size] == '=') continue;  // of the base64 of a key the last ones may be padding
      ASSERT_NE(KeyLineProblem(line.substr(0, size)), "") << line.substr(0, size);
    }
    EXPECT_NE(KeyLineProblem(line + "AAAA"), "") << line;
  }
  EXPECT_THAT(KeyLineProblem(std::string(kEd).substr(0, 60)), HasSubstr("is cut off"));
  EXPECT_THAT(KeyLineProblem("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"), HasSubstr("is cut off"));
}

TEST(AuthorizedKey, TheTypeIsThatOfTheKey) {
  const std::string data = std::string(kEd).substr(12);
  EXPECT_EQ(KeyLineProblem("ssh-rsa " + data),
            "says \"ssh-rsa\", and its key is one of type \"ssh-ed25519\"");
  EXPECT_THAT(KeyLineProblem(Line("ecdsa-sha2-nistp256", Ec("nistp384", 65))),
              HasSubstr("another curve"));
  EXPECT_THAT(KeyLineProblem(Line("ecdsa-sha2-nistp256", Ec("nistp256", 64))),
              HasSubstr("not of its curve"));
  EXPECT_THAT(KeyLineProblem(Line("ssh-ed25519", Text(std::string(31, 'k')))),
              HasSubstr("31 bytes in place of 32"));
  EXPECT_THAT(KeyLineProblem(Line("ssh-rsa", Text("\x03") + Text(std::string(96, 'n')))),
              HasSubstr("768 bits"));
}

TEST(AuthorizedKey, WhatPeoplePasteInItsPlaceIsNamed) {
  const std::vector<std::pair<std::string, const char*>> pasted = {
      {"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "is a private key"},
      {"-----BEGIN RSA PRIVATE KEY-----", "is a private key"},
      {"PuTTY-User-Key-File-3: ssh-ed25519", "is a private key"},
      {"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "ssh-keygen -i"},
      {absl::StrCat(kEd, "\n", kEd), "more than one line"},
      {absl::StrCat("# ", kEd), "is a comment"},
      {"~/.ssh/id_ed25519.pub", "the name of a file"},
      {"", "is not an OpenSSH public key"},
      {"ssh-ed25519", "is not an OpenSSH public key"},
      {std::string(kEd).substr(12), "is not an OpenSSH public key"},
      {absl::StrCat(kEd, " a\0b", std::string(1, '\0')), "byte 0"},
      {"ssh-ed25519 AAAA_-==", "base64 has not"}};
  for (const auto& [line, why] : pasted) EXPECT_THAT(KeyLineProblem(line), HasSubstr(why)) << line;
}

TEST(AuthorizedKey, AKeyIsTheSameWhateverItsCommentAndItsOptions) {
  EXPECT_EQ(KeyWithoutComment("ssh-rsa AAAA me and more"), "ssh-rsa AAAA");
  EXPECT_EQ(KeyWithoutComment("ssh-rsa AAAA"), "ssh-rsa AAAA");
  EXPECT_EQ(KeyWithoutComment("no-pty,command=\"a  b\" ssh-rsa\tAAAA me"), "ssh-rsa AAAA");
  EXPECT_EQ(KeyName("ssh-rsa AAAA me and more"), "me and more");
  EXPECT_EQ(KeyName("ssh-rsa AAAABBBBCCCC"), "ssh-rsa …BBBBCCCC");
  EXPECT_EQ(KeyName("no-pty ssh-rsa AAAABBBBCCCC"), "ssh-rsa …BBBBCCCC");
  EXPECT_EQ(KeyName("ssh-rsa AAAA a\x1b[31mb"), "a?[31mb");
  EXPECT_EQ(KeyWithoutComment(""), "");
}

TEST(AuthorizedKey, WhatSshKeygenMakesIsTaken) {
  if (std::system("ssh-keygen -? >/dev/null 2>&1") == 127 << 8) GTEST_SKIP() << "no ssh-keygen";
  const std::string folder = testing::TempDir() + "/keys";
  for (const char* type : {"ed25519", "rsa -b 2048", "ecdsa -b 256", "ecdsa -b 521"}) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    const std::string make =
        absl::StrCat("ssh-keygen -q -N '' -C 'a b' -f ", folder, "/key -t ", type);
    ASSERT_EQ(std::system(make.c_str()), 0);
    std::string line;
    std::getline(std::ifstream(folder + "/key.pub"), line);
    EXPECT_EQ(KeyLineProblem(line + "\n"), "") << line;
    EXPECT_EQ(PlainKeyLine(line + "\n"), line);
  }
}

}  // namespace
}  // namespace rum
