// The ways in which a first try ends, each made for real, and what is said then: failures.cc.
#include "tests/cli/failures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr char kTyped[] = "-- typed\n";
constexpr char kStatus[] = "-- status ";

// A server of images, in some folders of which something is wrong. It prints where it is.
constexpr char kServed[] = R"py(
import http.server

DISK = bytes(510) + b"\x55\xaa" + bytes((1 << 20) - 512)
PAGE = b"<!DOCTYPE html><html><title>Log in</title></html>"


class Images(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        folder = self.path.split("/")[1]
        if folder.isdigit():
            return self.send_error(int(folder))
        body = PAGE if folder == "page" else DISK
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body[:1000] if folder == "cut" else body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Images)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
)py";

// What faults are made of.
constexpr char kShellWords[] = R"sh(
ip link set lo up
rum() { $RUM "$@"; }
good() {
  printf '[image]\nbase = "%s"\n[resources]\ncpus = 1\nmemory_mb = 512\n' "${1-/images/debian.qcow2}"
  [ "${1-}" = ../disk.img ] || printf '[advanced]\nlibvirt_uri = "test:///default"\n'
}
serve() {
  mkfifo at
  python3 -I $SERVED >at &
  read -r AT <at
}
listen() {
  python3 -I -c 'import socket, sys, time
at = sys.argv[1]
s = socket.socket(socket.AF_UNIX) if "/" in at else socket.socket()
s.bind(at if "/" in at else ("127.0.0.1", int(at)))
s.listen()
open("listens", "w").close()
time.sleep(1000)' "$1" &
  while [ ! -e listens ]; do sleep 0.05; done
}
)sh";

std::string FolderOf(const Failure& failure) {
  std::string name = failure.name;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  return name;
}

class FailuresTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(getuid(), 0u) << "only root can make faults of a host";
    rum_.Install();  // where nobody may read it
    rum_.env["RUM"] = rum_.program;
    rum_.env["CONTROLLER"] = fs::path(rum_.program).replace_filename("rum-controller");
    rum_.env["STATE"] = rum_.state();
    rum_.env["RUM_CACHE_DIR"] = rum_.project() + "/cache";
    rum_.env["LIBVIRT_DEFAULT_URI"] = "test:///default";
    rum_.env["SERVED"] = rum_.Write("served.py", kServed);
  }

  // Makes each after the other, and types what there is to type.
  static std::string ScriptOf(const std::vector<Failure>& failures) {
    std::string script = absl::StrCat("set +e\n", kShellWords);
    for (const Failure& failure : failures) {
      absl::StrAppend(&script, "( set -e; mkdir ", FolderOf(failure), "; cd ", FolderOf(failure),
                      "; good >rum.toml\n", failure.fault, "\nset +e; echo '-- typed'\n",
                      failure.typed, "\n) 2>&1; echo \"", kStatus, "$?\"\n");
    }
    return script;
  }
  void ExpectSaid(const std::vector<Failure>& failures, const std::string& printed) const {
    const std::vector<std::string> parts = absl::StrSplit(printed, kStatus);
    ASSERT_EQ(parts.size(), failures.size() + 1) << printed;
    for (size_t i = 0; i < failures.size(); ++i) {
      const Failure& failure = failures[i];
      SCOPED_TRACE(failure.name);
      const size_t typed = parts[i].find(kTyped);
      if (typed == std::string::npos) {
        ADD_FAILURE() << "it was not made: " << parts[i];
        continue;
      }
      const std::string said = parts[i].substr(typed);
      for (const std::string& part : {failure.what, failure.where, failure.next})
        EXPECT_THAT(said, HasSubstr(absl::StrReplaceAll(part, {{"$STATE", rum_.state()}})));
      EXPECT_NE(parts[i + 1][0], '0') << said;
    }
  }
  // In namespaces of their own, one controller for all.
  void ExpectFailures(const std::vector<Failure>& failures, const std::string& before = "") {
    rum_.patience *= static_cast<int>(failures.size());
    const Result result = rum_.ShellApart(absl::StrCat(before, ScriptOf(failures)));
    ExpectSaid(failures, result.out);
    EXPECT_EQ(result.err, "");
  }

  Sandbox rum_;
};

TEST_F(FailuresTest, OfWordsAndFiles) { ExpectFailures(FailuresOfFiles()); }

TEST_F(FailuresTest, OfImages) {
  ExpectFailures(FailuresOfImages(), absl::StrCat(kShellWords, "serve\n"));
}

TEST_F(FailuresTest, OfMachines) { ExpectFailures(FailuresOfMachines()); }

class HostFailuresTest : public FailuresTest, public testing::WithParamInterface<Failure> {};

TEST_P(HostFailuresTest, IsSaid) { ExpectFailures({GetParam()}); }

INSTANTIATE_TEST_SUITE_P(EachAlone, HostFailuresTest, testing::ValuesIn(FailuresOfHosts()),
                         [](const auto& info) {
                           return absl::StrReplaceAll(FolderOf(info.param), {{"-", "_"}});
                         });

// Where /dev/kvm is, it is none.
TEST_F(FailuresTest, OfLibvirt) {
  const std::string tool = absl::StrCat(std::getenv("TEST_SRCDIR"), "/",
                                        std::getenv("TEST_WORKSPACE"), "/tools/isolated-libvirtd");
  rum_.env["LIBVIRT_DEFAULT_URI"] = "qemu:///system";
  rum_.env["SCRIPT"] = rum_.Write(
      "failures.sh",
      absl::StrCat("qemu-img create -q -f qcow2 disk.img 1M\n", ScriptOf(FailuresOfLibvirt())));
  rum_.patience *= static_cast<int>(FailuresOfLibvirt().size());
  rum_.program = "/usr/bin/unshare";
  const Result result = rum_.Rum({"--mount", "--propagation", "private", "/bin/sh", "-ec",
                                  "[ ! -e /dev/kvm ] || mount --bind /dev/null /dev/kvm\n"
                                  "exec " +
                                      tool + " --no-network /bin/sh $SCRIPT"});
  ExpectSaid(FailuresOfLibvirt(), result.out);
  EXPECT_EQ(result.err, "");
}

// What only a VM can show, or another test makes.
const std::set<std::string>& FailuresElsewhere() {
  static const auto* const names = new std::set<std::string>{
      "the agent never comes",          // tests/controller/reconcile/reconciler_test.cc
      "the disk in the guest is full",  // tests/e2e/inside_test.cc
      "the guest's kernel panicked",    // tests/e2e/drift_test.cc
      "nothing listens in the guest",   // tests/cli/render_test.cc
      "the machine is another user's",  // tests/controller/hypervisor/ownership_test.cc
  };
  return *names;
}

TEST(Troubleshooting, HasEachFailureAndNoOther) {
  std::ifstream file(absl::StrCat(std::getenv("TEST_SRCDIR"), "/", std::getenv("TEST_WORKSPACE"),
                                  "/docs/troubleshooting.md"));
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  std::set<std::string> wanted = FailuresElsewhere();
  for (const auto& failures : {FailuresOfFiles(), FailuresOfImages(), FailuresOfMachines(),
                               FailuresOfHosts(), FailuresOfLibvirt()}) {
    for (const Failure& failure : failures) {
      EXPECT_TRUE(wanted.insert(failure.name).second) << failure.name << ", twice";
      EXPECT_THAT(page,
                  HasSubstr(absl::StrCat("\n| ", failure.name, " | `", failure.what, "` | ")));
    }
  }
  EXPECT_GE(wanted.size(), 40u);
  const std::vector<std::string> lines = absl::StrSplit(page, '\n');
  for (const std::string& line : lines) {
    if (line == "## Not what you think") break;
    const std::vector<std::string> cells = absl::StrSplit(line, " | ");
    if (cells.size() < 3 || line == "| what happened | you see | do |") continue;
    EXPECT_EQ(wanted.count(std::string(absl::StripPrefix(cells[0], "| "))), 1u)
        << line << "\nno test makes it";
  }
}

}  // namespace
}  // namespace rum
