#include "tests/controller/valid_files.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace rum {
namespace {

// Text as a basic string of TOML.
std::string Toml(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : std::string(1, c);
  }
  return out + "\"";
}

constexpr char kKey[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ";
constexpr char kOtherKey[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBSecond000000000000000000000000000000000000";

std::string List(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  for (const std::string& word : words) quoted.push_back(Toml(word));
  return absl::StrCat("[", absl::StrJoin(quoted, ", "), "]");
}

}  // namespace

std::string ValidFiles::Next() {
  text_.clear();
  Add("[image]", {{"base", Toml(Any({"/i/a.qcow2", "debian-12", "./my disk.img", "file:///a"}))}});
  Add("[resources]",
      {{"cpus", Any({"1", "4", "0x10", "4096"})},
       {"memory_mb", Any({"256", "1_024", "65536"})},
       {"disk", Any({"\"64M\"", "\"20 GiB\"", "\"1tb\"", "21474836480", "\"2048T\""})}});
  AddNetwork();
  AddPorts();
  AddUser();
  AddStorage();
  if (OneIn(2))
    Add("[provision.boot]", {{"script", Toml(Any({"", "true", "#!/bin/sh\necho\r\n", "é\t"}))}});
  if (OneIn(2))
    Add("[provision.system]",
        {{"script", Toml(Any({"", "echo \"'$(x)'", "#!/usr/bin/env -S python3 -u\n"}))}});
  if (OneIn(3))
    Add("[guest]", {{"timezone", Toml(Any({"", "UTC", "Europe/Berlin", "Etc/GMT+1"}))}});
  if (OneIn(3))
    Add("[advanced]", {{"libvirt_uri", Toml(Any({"test:///default", "qemu:///session"}))},
                       {"domain_type", Toml(Any({"auto", "qemu"}))}});
  return text_;
}

ValidFiles::Words ValidFiles::Some(Words words, size_t most) {
  std::shuffle(words.begin(), words.end(), random_);
  words.resize(Below(std::min(most, words.size()) + 1));
  return words;
}

void ValidFiles::Add(const std::string& header,
                     const std::vector<std::pair<std::string, std::string>>& values) {
  absl::StrAppend(&text_, header, "\n");
  for (const auto& [name, value] : values) absl::StrAppend(&text_, name, " = ", value, "\n");
}

void ValidFiles::AddNetwork() {
  if (OneIn(4)) return;  // the default, of the file's name
  const std::string label(63, 'h');
  Add("[network]", {{"hostname", Toml(Any({"a", "Dev", "dev.example", "node.1", "3com", label,
                                           label.substr(1) + ".x", "x--y", "xn--nxasmq6b"}))},
                    {"nat", Any({"true", "false"})}});
  int subnet = 40;
  for (const std::string& name : Some({"lan", "lab 1", "a'b", "<&\">", "größe", "default"}, 2)) {
    Add("[[network.interfaces]]",
        {{"network", Toml(name)}, {"ip", Toml(absl::StrCat("192.168.", subnet++, ".9"))}});
  }
}

void ValidFiles::AddPorts() {
  for (const std::string& bind :
       Some({"127.0.0.1", "127.1.2.3", "::1", "fe80::1%eth0", "2001:DB8:0::1", "192.0.2.1"}, 3)) {
    Add("[[ports]]",
        {{"host", Any({"8080", "1", "\"9000-9003\""})}, {"guest", "80"}, {"bind", Toml(bind)}});
  }
  if (OneIn(3)) {
    for (const char* bind : {"0.0.0.0", "::"}) {
      Add("[[ports]]", {{"host", "65535"}, {"guest", "65535"}, {"bind", Toml(bind)}});
    }
  }
  if (OneIn(3)) Add("[[ports]]", {{"auto", "true"}, {"guest", "7"}});
}

void ValidFiles::AddUser() {
  Add("[user]", {{"name", Toml(Any({"rum", "ada", "_x", "root", std::string(32, 'u')}))},
                 {"groups", List(Some({"docker", "Debian-exim", "samba$", "a.b", "9p", "größe",
                                       "_ssh", std::string(32, 'g'), "x\\y", "q\"q"},
                                      5))}});
  const Words keys = {absl::StrCat(kKey, "\n"),
                      absl::StrCat(kKey, "  me  too "),
                      absl::StrCat("no-pty,command=\"a  b\"\t", kKey, " x"),
                      absl::StrCat("cert-authority ", kOtherKey),
                      absl::StrCat(kOtherKey, "\r\n"),
                      absl::StrCat(kOtherKey, " größe # \"c")};
  Add("[ssh]", {{"authorized_keys", List(Some(keys, 4))}});
}

void ValidFiles::AddStorage() {
  Words targets = {"/home",  "/home/rum", "/srv/my 'data'", "/var/lib/docker",
                   "/opt/",  "/mnt//x",   "/d\"q\\",        "/#",
                   "/größe", "/tmp",      "/usr/local/bin"};
  std::shuffle(targets.begin(), targets.end(), random_);
  if (std::find(targets.begin(), targets.begin() + 6, "/home") != targets.begin() + 6) {
    targets.erase(std::find(targets.begin(), targets.end(), "/home/rum"));  // nested
  }
  const auto target = [&] {
    const std::string next = targets.back();
    targets.pop_back();
    return Toml(next);
  };
  std::reverse(targets.begin(), targets.end());  // the first ones are used first
  if (OneIn(2))
    Add("[[mounts]]", {{"source", "\".\""},
                       {"target", target()},
                       {"readonly", Any({"true", "false"})},
                       {"tag", Toml(Any({"", "a,b", "t t", std::string(36, 't')}))}});
  Add("[drives.a]", {{"size", Any({"\"1M\"", "1048577", "1000000000"})}});
  Add("[drives." + std::string(64, 'd') + "]", {{"size", Any({"\"300M\"", "\"1 T\""})}});
  if (OneIn(2))
    Add(absl::StrCat("[[fs.", Any({"ext2", "ext4", "vfat"}), "]]"),
        {{"drive", "\"a\""}, {"target", target()}});
  if (OneIn(2))
    Add(absl::StrCat("[[fs.", Any({"xfs", "f2fs", "ntfs", "exfat"}), "]]"),
        {{"drive", Toml(std::string(64, 'd'))}, {"target", target()}});
  if (!OneIn(2)) return;
  Add("[drives.p-1]", {{"size", "\"125M\""}});
  Add("[drives.p-2]", {{"size", "\"125M\""}});
  Add("[[fs.btrfs]]", {{"drives", "[\"p-1\", \"p-2\"]"},
                       {"mode", Toml(Any({"", "raid1", "raid0", "single"}))},
                       {"target", target()}});
}

}  // namespace rum
