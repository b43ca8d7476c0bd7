// Commands about machines, with libvirt's driver in memory and without any VM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "state/identity.h"
#include "tests/cli/sandbox.h"

namespace rum {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Words = std::vector<std::string>;

class MachineTest : public testing::Test {
 protected:
  MachineTest() { rum_.Write("dev.rum.toml", GoodToml()); }

  Result Rum(Words words, const std::string& file = "dev.rum.toml") {
    words.insert(words.begin(), {"-c", file});
    return rum_.Rum(words);
  }
  // Nothing is remembered of machines that were only asked about.
  void ExpectNothingStays() {
    EXPECT_THAT(rum_.Rum({"controller", "status"}).out, HasSubstr("machines up: 0"));
    for (const auto& entry : std::filesystem::directory_iterator(rum_.state())) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(name == "lock" || name == "controller.log" || name == "run") << name;
    }
  }

  Sandbox rum_;
};

TEST_F(MachineTest, StatusOfOneThatNeverExisted) {
  Result status = Rum({"status"});
  EXPECT_EQ(status.exit_status, 0);
  EXPECT_EQ(status.out, "dev  not defined  `rum up` makes it\n");
  EXPECT_EQ(status.err, "");
  EXPECT_EQ(Rum({"status", "--exit-code"}).exit_status, 6);
  status = Rum({"status", "-o", "json"});
  EXPECT_EQ(status.exit_status, 0);
  EXPECT_THAT(status.out, HasSubstr("\"phase\": \"NOT_DEFINED\""));
  EXPECT_THAT(status.out, HasSubstr("\"name\": \"dev\""));
  ExpectNothingStays();
}

TEST_F(MachineTest, DownAndDestroyOfOneThatNeverExistedHaveNothingToDo) {
  Result result = Rum({"down"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(result.out, "nothing to do: dev is not running\n");
  result = Rum({"-q", "destroy"});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(result.out, "nothing to do: dev is not defined\n");
  EXPECT_EQ(result.err, "");
  result = Rum({"destroy", "-o", "json", "-q"});
  EXPECT_THAT(result.out, HasSubstr("\"removed\": []"));
  ExpectNothingStays();
}

TEST_F(MachineTest, ApplyAndExecNeedOneThatExists) {
  for (const Words& words : {Words{"apply"}, {"reload"}, {"apply", "--dry-run"}}) {
    const Result result = Rum(words);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.err, "rum: dev does not exist: `rum up` makes it\n");
  }
  const Result exec = Rum({"exec", "true"});
  EXPECT_EQ(exec.exit_status, 1);
  EXPECT_EQ(exec.out, "");
  EXPECT_THAT(exec.err, HasSubstr("dev does not exist: `rum up` makes it"));
}

TEST_F(MachineTest, AMissingFileWithoutAMachineIsNamedAsItWasTyped) {
  for (const Words& words : {Words{"status"},
                             {"down"},
                             {"destroy"},
                             {"restart"},
                             {"exec", "true"},
                             {"up", "-d"},
                             {"apply"},
                             {"apply", "--dry-run"}}) {
    const Result result = Rum(words, "./nowhere.toml");
    EXPECT_EQ(result.exit_status, 1) << words[0];
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err,
              "rum: ./nowhere.toml does not exist, and no machine was made from it: `rum init -f "
              "./nowhere.toml` writes a first one\n"
              "  here is ./dev.rum.toml: `rum -c ./dev.rum.toml COMMAND`\n");
  }
  const Result folder = Rum({"status"}, "no/where.toml");
  EXPECT_EQ(folder.exit_status, 1);
  EXPECT_THAT(folder.err, StartsWith("rum: no/where.toml: its folder: No such file"));
  const Result name = Rum({"status"}, "rum.yaml");
  EXPECT_EQ(name.exit_status, 1);
  EXPECT_THAT(name.err, HasSubstr("must end in .toml"));
  ExpectNothingStays();
}

TEST_F(MachineTest, ABadFileTouchesNothingAndEveryProblemIsTold) {
  rum_.Write("dev.rum.toml", "[image]\nbase = \"\"\n[resources]\ncpus = 0\nmemory_mb = 1\n");
  for (const Words& words : {Words{"up", "-d"}, {"apply"}, {"apply", "--dry-run"}}) {
    const Result result = Rum(words);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.out, "");
    for (const char* place :
         {"dev.rum.toml:2:8: error", "dev.rum.toml:4:8: error", "dev.rum.toml:5:13: error"}) {
      EXPECT_THAT(result.err, HasSubstr(place));
    }
  }
  const Result status = Rum({"status"});
  EXPECT_THAT(status.out, HasSubstr("✗ ConfigInvalid: nothing can be made of this file\n"));
  EXPECT_THAT(status.out, HasSubstr("dev.rum.toml:4:8: error"));
}

TEST_F(MachineTest, AFileThatIsNotUtf8IsAProblemOfTheFile) {
  rum_.Write("dev.rum.toml", GoodToml() + "# \xFF\xFE\033[2J\n");
  const Result up = Rum({"up", "-d"});
  EXPECT_EQ(up.exit_status, 1);
  EXPECT_THAT(up.err, HasSubstr("dev.rum.toml:8:"));
  const Result status = Rum({"status"});
  EXPECT_EQ(status.exit_status, 0) << status.err;
  EXPECT_THAT(status.out, HasSubstr("dev.rum.toml:8:"));
  EXPECT_THAT(up.err + status.out, Not(HasSubstr("\033")));
}

TEST_F(MachineTest, WordsAndPathsThatAreNotUtf8AreRefusedWithAReason) {
  const Result exec = Rum({"exec", "--user", "\xFF", "true"});
  EXPECT_EQ(exec.exit_status, 1);
  EXPECT_EQ(exec.err, "rum: --user: not UTF-8: \\xff\n");
  std::filesystem::create_directory(rum_.project() + "/\xFF");
  rum_.Write("\xFF/dev.rum.toml", GoodToml());
  const Result status = Rum({"status"}, "\xFF/dev.rum.toml");
  EXPECT_EQ(status.exit_status, 1);
  EXPECT_THAT(status.err, HasSubstr("the path of the file is not UTF-8"));
}

TEST_F(MachineTest, LibvirtThatIsAwayIsNamed) {
  std::string text = GoodToml();
  const size_t uri = text.find("libvirt_uri");
  text.erase(uri, text.find('\n', uri) - uri);
  rum_.Write("dev.rum.toml", text);
  rum_.env["LIBVIRT_DEFAULT_URI"] =
      "qemu+unix:///system?socket=" + rum_.project() + "/libvirt-sock";
  const Result status = Rum({"status"});
  EXPECT_THAT(status.out, HasSubstr("✗ libvirt at qemu+unix:///system"));
  EXPECT_THAT(status.out, HasSubstr("dev  unreachable"));
  EXPECT_EQ(Rum({"status", "--exit-code"}).exit_status, 6);
  for (const Words& words : {Words{"down"}, {"destroy"}, {"up", "-d"}, {"exec", "true"}}) {
    const Result result = Rum(words);
    EXPECT_EQ(result.exit_status, 1) << words[0];
    EXPECT_THAT(result.err, HasSubstr("libvirt at ")) << words[0];
  }
}

// Machines as records have them; libvirt's driver in memory has none of them.
class PlacesTest : public MachineTest {
 protected:
  std::string AddRecord(const std::string& name, const std::string& path,
                        const std::string& text = "") {
    const std::string id = NewMachineId(path);
    const std::string json =
        "{\"format\": 1, \"id\": \"" + id + "\", \"name\": \"" + name + "\", \"config_path\": \"" +
        path + "\", \"generation\": \"1\", \"identity_rule\": 1, \"text_hash\": \"" +
        Sha256Hex(text) +
        "\", \"desired\": {\"advanced\": {\"libvirt_uri\": \"test:///default\"}}}";
    std::filesystem::create_directories(rum_.state());
    std::ofstream(rum_.state() + "/" + id + ".record")
        << "rum-record 1 sha256=" << Sha256Hex(json) << "\n"
        << json;
    return id;
  }
  std::string Gone(const std::string& folder) {
    return std::filesystem::canonical(rum_.project()).string() + "/" + folder + "/dev.rum.toml";
  }
};

TEST_F(PlacesTest, ListShowsEveryMachineAlsoOneWhoseFileIsGone) {
  EXPECT_EQ(rum_.Rum({"list"}).out, "no machines\n");
  rum_.Rum({"controller", "stop"});
  const std::string id = AddRecord("dev", Gone("old"));
  const Result list = rum_.Rum({"list"});
  EXPECT_EQ(list.exit_status, 0) << list.err;
  EXPECT_THAT(list.out, HasSubstr("dev   " + id + "  not defined  file gone: " + Gone("old")));
  EXPECT_EQ(rum_.Rum({"list", "-q"}).out, id + "\n");
  EXPECT_THAT(rum_.Rum({"list", "-o", "json"}).out, HasSubstr("\"fileGone\": true"));
}

TEST_F(PlacesTest, ListWorksWithoutAnyController) {
  rum_.Install();
  std::filesystem::remove(std::filesystem::path(rum_.program).parent_path() / "rum-controller");
  const std::string id = AddRecord("dev", Gone("old"));
  const Result list = rum_.Rum({"list"});
  EXPECT_EQ(list.exit_status, 0) << list.err;
  EXPECT_THAT(list.out, HasSubstr("dev   " + id + "  unknown  file gone: " + Gone("old")));
  EXPECT_THAT(list.out, HasSubstr("rum-controller"));
  EXPECT_EQ(rum_.Rum({"list", "-q"}).out, id + "\n");
}

TEST_F(PlacesTest, AMachineIsNamedByItsNameOrIdInPlaceOfItsFile) {
  const std::string id = AddRecord("dev", Gone("old"));
  const std::string web = AddRecord("web", Gone("web"));
  for (const std::string& name : {std::string("web"), web, web.substr(0, 4)}) {
    const Result status = rum_.Rum({"-m", name, "status"});
    EXPECT_EQ(status.exit_status, 0) << status.err;
    EXPECT_THAT(status.out, StartsWith("web  not defined\n"));
    EXPECT_THAT(status.out, HasSubstr("its file is gone: " + Gone("web")));
  }
  EXPECT_EQ(rum_.Rum({"down", "-m", "web"}).out, "nothing to do: web is not running\n");
  EXPECT_THAT(rum_.Rum({"exec", "-m", "web", "true"}).err, HasSubstr("web does not exist"));
  const Result destroy = rum_.Rum({"destroy", "-m", "web"});
  EXPECT_EQ(destroy.exit_status, 0) << destroy.err;
  EXPECT_EQ(rum_.Rum({"list", "-q"}).out, id + "\n");
}

TEST_F(PlacesTest, TheDoctorLooksAtAMachineToo) {
  rum_.env["LIBVIRT_DEFAULT_URI"] = "test:///default";
  AddRecord("web", Gone("web"));
  const Result doctor = rum_.Rum({"doctor", "-m", "web"});
  EXPECT_EQ(doctor.err, "");
  EXPECT_THAT(doctor.out, HasSubstr(" machine web "));
  EXPECT_THAT(doctor.out, HasSubstr("not defined\n      # `rum up` makes it\n"));
  EXPECT_THAT(doctor.out, HasSubstr("its file is gone: " + Gone("web")));
}

TEST_F(PlacesTest, NamesThatMeanSeveralMachinesOrNoneAreRefused) {
  const std::string one = AddRecord("dev", Gone("one"));
  const std::string two = AddRecord("dev", Gone("two"));
  const Result several = rum_.Rum({"-m", "dev", "destroy"});
  EXPECT_EQ(several.exit_status, 1);
  EXPECT_THAT(several.err, HasSubstr(one + "  file gone: " + Gone("one")));
  EXPECT_THAT(several.err, HasSubstr(two + "  file gone: " + Gone("two")));
  const Result none = rum_.Rum({"-m", "dve", "status"});
  EXPECT_EQ(none.exit_status, 1);
  EXPECT_THAT(none.err, HasSubstr("there is no machine dve (did you mean `dev`?)"));
  EXPECT_EQ(Rum({"-m", "dev", "status"}).exit_status, 2) << "-c and -m";
  EXPECT_EQ(rum_.Rum({"-m", "dev", "check"}).exit_status, 1);
  EXPECT_THAT(rum_.Rum({"list", "-q"}).out, HasSubstr(two)) << "nothing was destroyed";
}

TEST_F(PlacesTest, AMovedFolderSaysWhichMachineItLooksLikeAndAdoptsIt) {
  const std::string id = AddRecord("old", Gone("old"), GoodToml());
  const std::string looks = "this looks like machine old (" + id + ") that was made in ";
  EXPECT_THAT(Rum({"status"}).out, HasSubstr(looks));
  for (const Words& words :
       {Words{"up", "-d"}, {"apply"}, {"down"}, {"destroy"}, {"exec", "true"}}) {
    const Result result = Rum(words);
    EXPECT_EQ(result.exit_status, 1) << words[0];
    EXPECT_THAT(result.err, HasSubstr(looks)) << words[0];
  }
  const Result by_old_path = Rum({"status"}, "old/dev.rum.toml");
  EXPECT_EQ(by_old_path.exit_status, 0) << by_old_path.err;
  EXPECT_THAT(by_old_path.out, StartsWith("old  not defined\n"));
  const Result adopt = Rum({"adopt"});
  EXPECT_EQ(adopt.exit_status, 0) << adopt.err;
  EXPECT_THAT(adopt.out, HasSubstr("Adopted old (" + id + "): its file is "));
  EXPECT_THAT(Rum({"status"}).out, StartsWith("old  not defined"));
  rum_.Rum({"controller", "stop"});
  EXPECT_THAT(rum_.Rum({"list"}).out, Not(HasSubstr("file gone")));
  EXPECT_THAT(Rum({"adopt"}).err, Not(HasSubstr("looks like")));
}

class MarksTest : public MachineTest {
 protected:
  MarksTest() { rum_.Write("dev.rum.toml", "[image\n"); }
};

TEST_F(MarksTest, AreColoredOnATerminal) {
  const Words words = {"-c", "dev.rum.toml", "status"};
  EXPECT_THAT(rum_.RumOnTerminal(words).out, HasSubstr("\033[31m✗\033[0m ConfigInvalid"));
  EXPECT_THAT(rum_.Rum(words).out, Not(HasSubstr("\033")));
  Words always = words;
  always.insert(always.begin(), {"--color", "always"});
  EXPECT_THAT(rum_.Rum(always).out, HasSubstr("\033[31m✗\033[0m"));
}

TEST_F(MarksTest, AreColoredOnNoTerminalThatCannotOrUserThatWillNot) {
  const Words words = {"-c", "dev.rum.toml", "status"};
  const Words never = {"-c", "dev.rum.toml", "--color", "never", "status"};
  const Words always = {"-c", "dev.rum.toml", "--color", "always", "status"};
  EXPECT_THAT(rum_.RumOnTerminal(never).out, Not(HasSubstr("\033")));
  rum_.env["TERM"] = "dumb";
  EXPECT_THAT(rum_.RumOnTerminal(words).out, Not(HasSubstr("\033")));
  rum_.env["TERM"] = "xterm";
  rum_.env["NO_COLOR"] = "";
  EXPECT_THAT(rum_.RumOnTerminal(words).out, HasSubstr("\033[31m"));
  rum_.env["NO_COLOR"] = "1";
  EXPECT_THAT(rum_.RumOnTerminal(words).out, Not(HasSubstr("\033")));
  EXPECT_THAT(rum_.RumOnTerminal(always).out, HasSubstr("\033[31m"));
}

TEST_F(MarksTest, AreAsciiWithoutAUtf8Locale) {
  rum_.env["LC_ALL"] = "C";
  const Result status = Rum({"status"});
  EXPECT_THAT(status.out, HasSubstr("  x ConfigInvalid"));
  for (const char c : status.out) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
}

}  // namespace
}  // namespace rum
