// `rum doctor` on a host where one thing is wrong, and again after its cure was typed: both in
// namespaces of their own, where all is gone with the shell.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "cli/doctor.pb.h"
#include "tests/cli/sandbox.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using doctor::Finding;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class DoctorTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(getuid(), 0u) << "only root can make faults of a host";
    rum_.env["RUM"] = rum_.program;
    rum_.env["STATE"] = rum_.state();
    rum_.env["LIBVIRT_DEFAULT_URI"] = "test:///default";  // unless the fault is libvirt's
    // A cure is typed by a person who may become root; here one is.
    const std::string bin = rum_.project() + "/bin";
    fs::create_directory(bin);
    rum_.Write("bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
    chmod((bin + "/sudo").c_str(), 0755);
    fs::create_symlink(rum_.program, bin + "/rum");
    rum_.env["PATH"] = bin + ":" + rum_.env["PATH"];
  }

  static doctor::Report Parse(const std::string& json) {
    doctor::Report report;
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &report).ok()) << json;
    return report;
  }
  static Finding Of(const doctor::Report& report, const std::string& check) {
    for (const Finding& finding : report.findings()) {
      if (finding.check() == check) return finding;
    }
    ADD_FAILURE() << "nothing is said of " << check << ":\n" << report.DebugString();
    return {};
  }
  // The findings of `checks`, one after the other cured by what they say is to be typed, on a host
  // where `fault` was made; and all is well then.
  // `well`: false where the cure only goes so far on any host.
  std::vector<Finding> Cured(const std::vector<std::string>& checks, const std::string& fault,
                             const std::string& doctor = "$RUM doctor -o json", bool well = true) {
    std::string script = fault + "\n";
    for (const std::string& check : checks) {
      script +=
          doctor + " >report.json || true\ncat report.json; echo ----\n" +
          "eval \"$(python3 -c 'import json, sys\n"
          "for finding in json.load(open(\"report.json\"))[\"findings\"]:\n"
          "    if finding[\"check\"] == sys.argv[1]: print(*finding[\"cures\"], sep=\"\\n\")' '" +
          check + "')\" >&2\n";
    }
    const Result result = rum_.ShellApart(script + doctor);
    const std::vector<std::string> reports = absl::StrSplit(result.out, "----\n");
    std::vector<Finding> findings;
    if (reports.size() != checks.size() + 1) {
      ADD_FAILURE() << result.out << result.err;
      return std::vector<Finding>(checks.size());
    }
    const doctor::Report last = Parse(reports.back());
    EXPECT_EQ(result.exit_status, last.worst() == Finding::BROKEN    ? 1
                                  : last.worst() == Finding::WARNING ? 4
                                                                     : 0)
        << result.err;
    for (size_t i = 0; i < checks.size(); ++i) {
      findings.push_back(Of(Parse(reports[i]), checks[i]));
      const Finding now = Of(last, checks[i]);
      EXPECT_NE(now.seen(), findings[i].seen()) << result.err;
      if (!well) continue;
      EXPECT_EQ(now.level(), Finding::FINE)
          << last.DebugString() << findings[i].DebugString() << result.err;
    }
    return findings;
  }

  Sandbox rum_;
};

TEST_F(DoctorTest, LooksAndLeavesNothingBehind) {
  rum_.Write("rum.toml", GoodToml());  // whose libvirt counts
  rum_.env.erase("LIBVIRT_DEFAULT_URI");
  const Result json = rum_.Rum({"doctor", "-o", "json"});
  EXPECT_EQ(json.err, "");
  const doctor::Report report = Parse(json.out);
  EXPECT_EQ(report.version(), 1);
  EXPECT_THAT(Of(report, "libvirt test:///default").seen(), StartsWith("your default; libvirt "));
  EXPECT_EQ(Of(report, "rum-controller").level(), Finding::FINE);
  EXPECT_EQ(Of(report, "rum-agent").level(), Finding::FINE) << report.DebugString();
  EXPECT_EQ(Of(report, "controller").level(), Finding::FINE);
  const Result text = rum_.Rum({"doctor"});
  EXPECT_EQ(text.exit_status, json.exit_status);
  EXPECT_EQ(text.err, "");
  EXPECT_THAT(text.out, AllOf(HasSubstr(" rum-controller "), HasSubstr(" libvirt test:///default "),
                              HasSubstr(" kvm "), HasSubstr(" inotify ")));
  EXPECT_TRUE(rum_.Controllers().empty());
  EXPECT_FALSE(fs::exists(rum_.state()));
  EXPECT_FALSE(fs::exists(rum_.runtime()));
}

TEST_F(DoctorTest, AMachineThatNobodyKnows) {
  const Result result = rum_.Rum({"doctor", "-m", "dev"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("there is no machine dev"));
}

TEST_F(DoctorTest, AStateFolderThatIsReadOnly) {
  const Finding finding =
      Cured({"state folder"},
            "mkdir -p $STATE; mount -t tmpfs none $STATE; mount -o remount,ro $STATE")[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("mounted read-only"));
}

TEST_F(DoctorTest, AStateFolderThatIsAFile) {
  EXPECT_EQ(Cured({"state folder"}, "touch $STATE")[0].level(), Finding::BROKEN);
}

TEST_F(DoctorTest, NoRuntimeFolderIsNamed) {
  rum_.env.erase("XDG_RUNTIME_DIR");
  rum_.env["XDG_STATE_HOME"] = "/run/state";  // short enough for a socket
  const Finding finding =
      Cured({"runtime folder"}, "mount -t tmpfs none /run; mkdir -p -m 700 /run/user/0")[0];
  EXPECT_EQ(finding.level(), Finding::WARNING);
  EXPECT_THAT(finding.seen(), HasSubstr("XDG_RUNTIME_DIR is not set"));
}

TEST_F(DoctorTest, ARuntimeFolderOfSomebodyElse) {
  const Finding finding = Cured({"runtime folder"},
                                "mount -t tmpfs none /run; mkdir -p /run/user/0 /run/user/9;"
                                "chown 9 /run/user/9; export XDG_RUNTIME_DIR=/run/user/9")[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("belongs to user 9"));
}

TEST_F(DoctorTest, ASocketsPathThatIsTooLong) {
  const Finding finding = Cured({"runtime folder"},
                                "mount -t tmpfs none /run; mkdir -p -m 700 /run/user/0;"
                                "export XDG_RUNTIME_DIR=/run/" +
                                    std::string(100, 'x') + "; mkdir -m 700 $XDG_RUNTIME_DIR")[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("107 are possible"));
}

TEST_F(DoctorTest, AnAgentThatIsNone) {
  const Finding finding = Cured({"rum-agent"}, "export RUM_AGENT=/bin/false")[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("does not run here"));
}

// A libvirt of nobody else's, that is not running.
constexpr char kNoLibvirt[] =
    "export LIBVIRT_DEFAULT_URI=qemu:///system XDG_RUNTIME_DIR=/run/user/0\n"
    "mkdir etc; cp -a /etc/libvirt/. etc\n"
    "for d in /run /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/libvirt; do\n"
    "  mount -t tmpfs -o mode=755 none $d; done\n"
    "cp -a etc/. /etc/libvirt; rm -rf etc\n"
    "rm -rf /etc/libvirt/qemu/*.xml /etc/libvirt/qemu/autostart /etc/libvirt/qemu/networks/*\n"
    "mkdir -p -m 700 /run/user/0; mkdir -p /run/lock\n";

TEST_F(DoctorTest, NoLibvirtRunsAndWhenItDoesItHasNoDefaultNetwork) {
  const std::vector<Finding> findings =
      Cured({"libvirt qemu:///system", "default network"}, kNoLibvirt);
  EXPECT_EQ(findings[0].level(), Finding::BROKEN);
  EXPECT_THAT(findings[0].seen(), HasSubstr("there is no socket /run/libvirt/libvirt-sock"));
  EXPECT_EQ(findings[1].level(), Finding::BROKEN);
  EXPECT_THAT(findings[1].seen(), HasSubstr("no network"));
}

// As nobody, with a copy of rum that he can read.
constexpr char kAsNobody[] =
    "mount -t tmpfs -o mode=755 none /run; mkdir -p /run/libvirt /run/h; chown nobody /run/h\n"
    "cp -L $RUM /run/rum\n"
    "export HOME=/run/h LIBVIRT_DEFAULT_URI=qemu:///system\n"
    "export XDG_STATE_HOME=/run/h/s XDG_DATA_HOME=/run/h/d XDG_RUNTIME_DIR=/run/h\n"
    "cd /run\n";
constexpr char kNobodysDoctor[] =
    "setpriv --reuid=nobody --regid=nogroup --init-groups /run/rum doctor -o json";

TEST_F(DoctorTest, LibvirtsSocketIsForAGroupThatOneIsNotIn) {
  const Finding finding = Cured(
      {"libvirt qemu:///system"},
      std::string(kAsNobody) +
          "mkdir /run/etc; cp -a /etc/. /run/etc; mount --bind /run/etc /etc\n"
          "groupadd -f libvirt\n"
          "python3 -c 'import socket, time\n"
          "s = socket.socket(socket.AF_UNIX); s.bind(\"/run/libvirt/libvirt-sock\"); s.listen()\n"
          "open(\"/run/listens\", \"w\").close()\n"
          "time.sleep(1000)' &\n"
          "while [ ! -e /run/listens ]; do sleep 0.05; done\n"
          "chgrp libvirt /run/libvirt/libvirt-sock; chmod 660 /run/libvirt/libvirt-sock",
      kNobodysDoctor)[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("is for the group libvirt, which nobody is not in"));
}

TEST_F(DoctorTest, ARuntimeFolderThatIsNotThereAndCannotBeMade) {
  const Finding finding =
      Cured({"runtime folder"}, std::string(kAsNobody) + "export XDG_RUNTIME_DIR=/run/user/65534",
            kNobodysDoctor)[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("cannot be made: nobody may not write in /run"));
}

TEST_F(DoctorTest, AStateFolderInWhichOneMayNotWrite) {
  const Finding finding =
      Cured({"state folder"}, std::string(kAsNobody) + "mkdir /run/h/s; chown root /run/h/s",
            kNobodysDoctor)[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("nobody may not write in /run/h/s"));
}

TEST_F(DoctorTest, AControllerThatDoesNotAnswer) {
  const Finding finding =
      Cured({"controller"},
            "rum -q list\n"
            "kill -STOP $(rum controller status | sed 's/.* pid \\([0-9]*\\) .*/\\1/')")[0];
  EXPECT_EQ(finding.level(), Finding::BROKEN);
  EXPECT_THAT(finding.seen(), HasSubstr("takes connections and does not answer"));
}

// A host that systemd runs, with what stands in for two programs of its: they do to the files what
// those do that the doctor looks at.
constexpr char kSystemd[] =
    "mkdir -p /run/systemd/system /run/linger /run/etc\n"
    "cp -a /etc/. /run/etc; mount --bind /run/etc /etc\n"
    "mount -t tmpfs none /var/lib/systemd; mkdir /var/lib/systemd/linger\n"
    "mount -t tmpfs none /sys/fs/cgroup\n"
    "own=/sys/fs/cgroup/user.slice/user-65534.slice/user@65534.service\n"
    "mkdir -p $own; echo 'cpu memory pids' >$own/cgroup.controllers\n"
    "bin=${PATH%%:*}\n"
    "printf '#!/bin/sh\\n[ \"$1\" = enable-linger ] && touch \"/var/lib/systemd/linger/$2\"\\n' "
    ">$bin/loginctl\n"
    "printf '#!/bin/sh\\n[ \"$1\" = daemon-reload ] && sed -n s/^Delegate=//p "
    "/etc/systemd/system/user@.service.d/delegate.conf >%s/cgroup.controllers\\n' $own "
    ">$bin/systemctl\n"
    "chmod 755 $bin/loginctl $bin/systemctl\n";

TEST_F(DoctorTest, AServiceThatStartsWhenItsUserLogsInAndNotBefore) {
  const Finding finding = Cured({"user service"},
                                std::string(kAsNobody) + kSystemd +
                                    "wants=/etc/systemd/user/default.target.wants\n"
                                    "mkdir -p $wants; touch /etc/systemd/user/rum.service\n"
                                    "ln -s ../rum.service $wants/rum.service",
                                kNobodysDoctor)[0];
  EXPECT_EQ(finding.level(), Finding::NOTE);
  EXPECT_THAT(finding.seen(), HasSubstr("starts when you log in, not before"));
}

TEST_F(DoctorTest, AControlGroupThatIsNotDelegated) {
  const Finding finding =
      Cured({"cgroups"}, std::string(kAsNobody) + kSystemd + "echo pids >$own/cgroup.controllers",
            kNobodysDoctor)[0];
  EXPECT_EQ(finding.level(), Finding::NOTE);
  EXPECT_THAT(finding.seen(), HasSubstr("the controller cpu is not delegated to you"));
}

TEST_F(DoctorTest, ControlGroupsThatAreReadOnlyWhereTheSystemsLibvirtIsWanted) {
  const Finding finding = Cured({"cgroups"},
                                "export LIBVIRT_DEFAULT_URI=qemu:///system\n"
                                "mount -t tmpfs -o ro none /sys/fs/cgroup")[0];
  EXPECT_EQ(finding.level(), Finding::WARNING);
  EXPECT_EQ(finding.seen(), "/sys/fs/cgroup is read-only");
}

// The kernel's number, as a file that stands in its place.
std::string Number(const std::string& name, int value) {
  const std::string own = "number." + name;
  return "echo " + std::to_string(value) + " >" + own + "; mount --bind " + own +
         " /proc/sys/fs/inotify/" + name + "\n" +
         "mkdir etc; cp -a /etc/. etc; mount --bind etc /etc\n";
}

TEST_F(DoctorTest, InotifyHasTooFewInstances) {
  const Finding finding = Cured({"inotify"}, Number("max_user_instances", 3))[0];
  EXPECT_EQ(finding.level(), Finding::WARNING);
  EXPECT_THAT(finding.seen(), HasSubstr(" of 3 instances"));
}

}  // namespace
}  // namespace rum
