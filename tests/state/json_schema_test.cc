// The schema for editors and what rum itself says of files, held against each other by a validator
// of others (Debian's python3-jsonschema).
#include "state/json_schema.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "state/field_rules.h"
#include "state/schema.h"
#include "state/toml_reader.h"
#include "tests/controller/valid_files.h"
#include "tests/testdata/bad_files.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Struct;
using google::protobuf::Value;

// What no schema of draft 4 can say, or only by a pattern that nobody can read: two values that do
// not go together, sums of sizes, bytes of a key, what is on the host.
const std::set<std::string>& BeyondASchema() {
  static const std::set<std::string> names = {
      "size: beyond 64 bits",
      "range: room for fewer vCPUs than there are",
      "range: room for less memory than there is",
      "drive: no bytes",
      "size: a root disk for nobody",
      "size: more than an image holds",
      "size: too small for xfs",
      "size: too small for a mirror",
      "interface: a network twice",
      "network: two fixed addresses in one subnet",
      "port: twice",
      "port: a wildcard and an address",
      "port: the same address in two spellings",
      "port: a range that ends before it begins",
      "port: a range that is too long",
      "port: ranges of two lengths",
      "port: a range onto one port",
      "port: a range that goes beyond the last port in the guest",
      "port: a range over another forward",
      "port: all addresses and one of IPv4",
      "port: an IPv4 address in IPv6",
      "port: a link-local address",
      "port: any one of an interface",
      "socket: of many ports",
      "socket: twice",
      "socket: a path that is too long",
      "ssh: a key with a second line",
      "ssh: a key that is cut off",
      "ssh: a key of another type",
      "ssh: an option that sshd does not know",
      "mount: a source that is not there",
      "mount: git outside of a repository",
      "mount: nested targets",
      "mount: a tag twice",
      "mount: two defaults",
      "fs: no such drive",
      "fs: a drive used twice",
      "fs: a mount's target",
      "fs: two of one pool",
  };
  return names;
}

constexpr char kSmall[] =
    "image.base = \"debian.qcow2\"\nresources = { cpus = 1, memory_mb = 512 }\n";

class JsonSchemaTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "json_schema";
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "project");
    std::ofstream(folder_ / "schema.json") << JsonSchema();
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Add(const std::string& name, const std::string& toml) {
    const std::string file = absl::StrCat("f", names_.size());
    names_[file] = name;
    std::ofstream(folder_ / (file + ".toml"), std::ios::binary) << toml;
  }
  bool RumTakes(const std::string& toml) const {
    return ReadToml(toml, fs::canonical(folder_ / "project") / "rum.toml").problems.empty();
  }
  // Name to verdict.
  std::map<std::string, std::string> Verdicts() const {
    const std::string command =
        absl::StrCat("/usr/bin/python3 -I tests/state/check_by_schema.py ", folder_.string());
    FILE* python = popen(command.c_str(), "r");
    std::string said;
    char buffer[4096];
    while (const size_t n = fread(buffer, 1, sizeof buffer, python)) said.append(buffer, n);
    EXPECT_EQ(pclose(python), 0);
    std::map<std::string, std::string> verdicts;
    for (const absl::string_view line : absl::StrSplit(said, '\n', absl::SkipEmpty())) {
      const std::vector<std::string> words = absl::StrSplit(line, '\t');
      verdicts[names_.at(words[0])] = words[1];
    }
    EXPECT_EQ(verdicts.size(), names_.size());
    return verdicts;
  }

  fs::path folder_;
  std::map<std::string, std::string> names_;  // of files
};

TEST_F(JsonSchemaTest, RefusesEveryBadFileThatASchemaCanRefuse) {
  const auto files = ReadBadFiles("tests/testdata/bad_files.txt", folder_ / "project");
  ASSERT_GE(files.size(), 140u);
  for (const BadFile& file : files) Add(file.name, file.toml);
  for (const auto& [name, verdict] : Verdicts()) {
    EXPECT_EQ(verdict == "ok", BeyondASchema().count(name) > 0) << name << ": " << verdict;
  }
}

TEST_F(JsonSchemaTest, TakesEveryGoodFile) {
  for (const auto& entry : fs::directory_iterator("tests/testdata/hostile")) {
    const std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    // Some name a libvirt that no file may name.
    if (RumTakes(text.str())) Add(entry.path().filename(), text.str());
  }
  ASSERT_GT(names_.size(), 10u);
  ValidFiles valid(21);
  for (int i = 0; i < 60; ++i) {
    const std::string toml = valid.Next();
    ASSERT_TRUE(RumTakes(toml)) << toml;
    Add(absl::StrCat("valid file ", i, "\n", toml), toml);
  }
  const std::string socket =
      absl::StrCat(kSmall, "[[ports]]\nguest = 80\nbind = \"unix:/run/app.sock\"\n");
  ASSERT_TRUE(RumTakes(socket));
  Add("a unix socket", socket);
  const std::ifstream docs("docs/rum-toml.md");
  std::stringstream text;
  text << docs.rdbuf();
  std::string example;
  for (const absl::string_view line : absl::StrSplit(text.str(), '\n')) {
    if (line.substr(0, 4) == "    ") absl::StrAppend(&example, line.substr(4), "\n");
    if (line.substr(0, 3) == "`ru") break;
  }
  ASSERT_TRUE(RumTakes(example)) << example;
  Add("example of docs/rum-toml.md", example);
  for (const auto& [name, verdict] : Verdicts()) EXPECT_EQ(verdict, "ok") << name;
}

// Texts at the edges of all the rules, in each field that takes a text: what rum takes, the schema
// takes too.
TEST_F(JsonSchemaTest, IsNeverStricterThanRum) {
  const std::string key =
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzzpIIkMdRmfnopXH6odGLyDS4kHRm511No822IvLRZ";
  const std::vector<std::string> texts = {
      "",
      "-",
      ".",
      "A.b-c_d",
      "größe",
      "a b",
      "07",
      "20 gIB",
      "64Mi",
      "8000-8010",
      "0.0.0.0",
      "10.0.0.2",
      "223.255.9.9",
      "::1.2.3.4",
      "fe80::1%eth0.1",
      "/a/./b",
      "/...",
      "//x//",
      "/etc/nginx",
      "/usr/lib/x",
      "on-crash",
      "kvm",
      "test:///default",
      "qemu+ssh://me@[::1]:022/system",
      "localhost.example",
      "root",
      "systemd",
      "_x",
      "a@b",
      "raid1",
      "spares",
      std::string(36, 't'),
      std::string(63, 'h'),
      "no-pty,command=\"a\"\t" + key,
      key + "\n",
  };
  const auto add = [&](const std::string& table, const std::string& field,
                       const std::string& value) {
    const std::string toml = absl::StrCat(table, field, " = ", value, "\n");
    if (RumTakes(absl::StrCat(kSmall, toml))) Add(toml, absl::StrCat(kSmall, toml));
  };
  for (const std::string& text : texts) {
    std::string quoted = "\"";
    for (const char c : text) {
      absl::StrAppend(&quoted, c == '"' || c == '\\' ? "\\" : "",
                      c == '\n'   ? "\\n"
                      : c == '\t' ? "\\t"
                                  : std::string(1, c));
    }
    quoted += "\"";
    const std::string drives = "drives.a.size = \"2G\"\ndrives.b.size = \"2G\"\n";
    for (const char* field :
         {"image.sha256", "network.hostname", "provision.boot.script", "user.name", "ssh.user",
          "ssh.command", "ssh.interface", "advanced.libvirt_uri", "advanced.domain_type",
          "advanced.machine", "reconcile.restart"}) {
      add("", field, quoted);
    }
    add("", "user.groups", "[" + quoted + "]");
    add("", "ssh.authorized_keys", "[" + quoted + "]");
    add("[drives.d]\n", "size", quoted);
    add("[[ports]]\nguest = 1\n", "host", quoted);
    add("[[ports]]\nguest = 1\nhost = 1\n", "bind", quoted);
    add("[[network.interfaces]]\n", "network", quoted);
    add("[[network.interfaces]]\nnetwork = \"a\"\n", "ip", quoted);
    add("[[mounts]]\nsource = \".\"\n", "target", quoted);
    add("[[mounts]]\nsource = \".\"\ntarget = \"/x\"\n", "tag", quoted);
    add(drives + "[[fs.ext4]]\ndrive = \"a\"\n", "target", quoted);
    add(drives + "[[fs.ext4]]\ndrive = \"a\"\ntarget = \"/x\"\n", "mode", quoted);
    add(drives + "[[fs.zfs]]\ndrives = [\"a\"]\ntarget = \"/x\"\n", "pool", quoted);
    add(drives + "[[fs.zfs]]\ndrives = [\"a\", \"b\"]\ndrive = \"\"\ntarget = \"/x\"\n", "mode",
        quoted);
    add(drives + "[[fs.btrfs]]\ndrives = [\"a\", \"b\"]\ntarget = \"/x\"\n", "mode", quoted);
  }
  ASSERT_GT(names_.size(), 150u);
  for (const auto& [name, verdict] : Verdicts()) EXPECT_EQ(verdict, "ok") << name;
}

// Every field, at its place, with what `rum explain` says of it.
void ExpectDocumented(const Descriptor& table, const Struct& schema, int* fields) {
  const Struct& properties = schema.fields().at("properties").struct_value();
  EXPECT_FALSE(schema.fields().at("additionalProperties").bool_value()) << table.full_name();
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    ASSERT_EQ(properties.fields().count(field.name()), IsKey(field) ? 1u : 0u) << field.full_name();
    if (!IsKey(field)) continue;
    const Struct& of = properties.fields().at(field.name()).struct_value();
    if (field.is_map()) continue;  // below another keyword
    if (const Descriptor* inner = TableOf(field); inner != nullptr) {
      ExpectDocumented(*inner, field.is_repeated() ? of.fields().at("items").struct_value() : of,
                       fields);
      continue;
    }
    ++*fields;
    EXPECT_EQ(of.fields().at("description").string_value(),
              field.options().GetExtension(rum::about));
    const Struct& docs =
        of.fields().at("x-taplo").struct_value().fields().at("docs").struct_value();
    EXPECT_THAT(docs.fields().at("main").string_value(),
                testing::HasSubstr("Effect of a change: "));
    EXPECT_EQ(of.fields().count("default") > 0,
              !field.options().GetExtension(rum::default_text).empty() ||
                  (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL))
        << field.full_name();
  }
}

TEST(JsonSchema, DocumentsEveryField) {
  Struct schema;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(JsonSchema(), &schema).ok());
  int fields = 0;
  ExpectDocumented(*Config::descriptor(), schema, &fields);
  EXPECT_GT(fields, 30);
  EXPECT_EQ(schema.fields().at("$schema").string_value(),
            "http://json-schema.org/draft-04/schema#");
}

TEST(JsonSchema, IsTheSameTextEachTime) { EXPECT_EQ(JsonSchema(), JsonSchema()); }

// An integer without a range would go unchecked.
void ExpectRanges(const Descriptor& table) {
  for (int i = 0; i < table.field_count(); ++i) {
    const FieldDescriptor& field = *table.field(i);
    if (const Descriptor* inner = TableOf(field); inner != nullptr) {
      ExpectRanges(*inner);
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32 ||
               field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
      EXPECT_GT(RuleOf(field).most, 0u) << field.full_name();
    }
  }
}

TEST(FieldRules, EveryIntegerHasARange) { ExpectRanges(*Config::descriptor()); }

}  // namespace
}  // namespace rum
