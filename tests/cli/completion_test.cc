// Completions as the shells themselves have them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <utility>

#include "state/identity.h"
#include "state/state_store.h"
#include "tests/cli/sandbox.h"

namespace rum {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using Words = std::vector<std::string>;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    rum_.env["RUM"] = rum_.program;
    rum_.Write("dev.rum.toml", GoodToml());
    Remember("0123456789ab", "dev", rum_.project() + "/dev.rum.toml");
    Remember("aaaabbbbcccc", "twin", "/elsewhere/twin.rum.toml");
    Remember("ddddeeeeffff", "twin", "/nowhere/twin.rum.toml");
    // What cannot be a line of its own must not become two.
    Remember("999999999999", "a\nb", "/strange/rum.toml");
  }
  // None of it starts a controller.
  void TearDown() override { EXPECT_TRUE(rum_.Controllers().empty()); }

  void Remember(const std::string& id, const std::string& name, const std::string& path) {
    auto store = OpenFileStateStore(rum_.state());
    ASSERT_TRUE(store.ok()) << store.status();
    MachineRecord record;
    record.set_format(1);
    record.set_id(id);
    record.set_name(name);
    record.set_config_path(path);
    record.set_generation(1);
    Port* port = record.mutable_applied()->add_ports();
    port->set_host(8080);
    port->set_guest(80);
    ScriptRun* run = record.add_runs();
    run->set_kind("boot");
    run->set_run_id("boot-of-" + id);
    ASSERT_TRUE((*store)->Save(record).ok());
  }
  // The words alone; of what rum itself says to a shell.
  Words Complete(Words words) {
    words.insert(words.begin(), "__complete");
    const Result result = rum_.Rum(words);
    EXPECT_EQ(result.exit_status, 0);
    EXPECT_EQ(result.err, "");
    return Lines(result.out);
  }
  static Words Lines(const std::string& text) {
    Words lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
      lines.push_back(line.substr(0, line.find('\t')));
    return lines;
  }
  Words InShell(const std::string& shell, const Words& options, const std::string& script) {
    const std::string rum = std::exchange(rum_.program, shell);
    Words words = options;
    words.push_back(script);
    const Result result = rum_.Rum(words);
    rum_.program = rum;
    EXPECT_EQ(result.exit_status, 0) << shell;
    EXPECT_EQ(result.err, "") << shell;
    return Lines(result.out);
  }
  Words InBash(const std::string& line) {
    return InShell("/bin/bash", {"--norc", "-c"},
                   "PATH=$(dirname $RUM):$PATH\n"
                   ". /usr/share/bash-completion/bash_completion\n"
                   ". <(rum completion bash)\n"
                   "COMP_LINE='" +
                       line +
                       "' COMP_POINT=${#COMP_LINE} COMP_TYPE=9 COMP_KEY=9\n"
                       "words=($COMP_LINE); [[ $COMP_LINE != *' ' ]] || words+=('')\n"
                       // As readline cuts them.
                       "mapfile -t COMP_WORDS < <(for word in \"${words[@]}\"; do "
                       "sed 's/[=:]/\\n&\\n/g' <<<\"$word\"; done)\n"
                       "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
                       "_rum; ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"");
  }
  Words InFish(const std::string& line) {
    return InShell(
        "/usr/bin/fish", {"--no-config", "-c"},
        "set PATH (dirname $RUM) $PATH; rum completion fish | source; complete -C '" + line + "'");
  }
  Words InZsh(const std::string& line) {
    return InShell("/bin/zsh", {"-f", "-c"},
                   "PATH=${RUM:h}:$PATH\n"
                   "compdef() { :; }\n"  // which belongs to the line editor, as these two
                   "_describe() { print -l -- ${found//\\\\:/:} | sed 's/\\(.*\\):/\\1\\t/'; }\n"
                   "_files() { print :files; }\n"
                   "source <(rum completion zsh)\n"
                   "line='" +
                       line +
                       "'; words=(${=line}); [[ $line != *' ' ]] || words+=('')\n"
                       "CURRENT=$#words; _rum; true");
  }

  Sandbox rum_;
};

TEST_F(CompletionTest, KnowsWhatTheParserKnows) {
  EXPECT_THAT(Complete({"st"}), ElementsAre("status", "stats"));
  EXPECT_THAT(Complete({""}), IsSupersetOf({"up", "down", "reload", "controller"}));
  EXPECT_THAT(Complete({""}), Not(Contains("proxy"))) << "which is for ssh alone";
  EXPECT_THAT(Complete({"-q", "controller", "re"}), ElementsAre("restart"));
  EXPECT_THAT(Complete({"status", "--wa"}), ElementsAre("--watch", "--wait"));
  EXPECT_THAT(Complete({"status", "--col"}), ElementsAre("--color")) << "of rum itself";
  EXPECT_THAT(Complete({"status", "--wait", "S"}), ElementsAre("Synced"));
  EXPECT_THAT(Complete({"status", "--wait=S"}), ElementsAre("--wait=Synced"));
  EXPECT_THAT(Complete({"-o", ""}), ElementsAre("text", "json", "plain"));
  EXPECT_THAT(Complete({"up", "--trust", "-"}), Contains("--detach"));
  EXPECT_THAT(Complete({"check", ""}), ElementsAre(":files"));
  EXPECT_THAT(Complete({"completion", "f"}), ElementsAre("fish"));
  EXPECT_THAT(Complete({"exec", "ls", "-"}), IsEmpty()) << "words for the guest";
  EXPECT_THAT(Complete({"no-command", ""}), Not(Contains("no-command")));
  EXPECT_THAT(Complete({}), Not(IsEmpty()));
}

TEST_F(CompletionTest, KnowsMachinesFieldsAndRuns) {
  EXPECT_THAT(Complete({"-m", ""}), ElementsAre("dev", "aaaabbbbcccc", "ddddeeeeffff"));
  EXPECT_THAT(Complete({"status", "-m", "d"}), ElementsAre("dev", "ddddeeeeffff"));
  EXPECT_THAT(Complete({"--machine=de"}), ElementsAre("--machine=dev"));
  EXPECT_THAT(Complete({"status", "--wait", "Ready", "de"}), ElementsAre("dev"));
  EXPECT_THAT(Complete({"status", "--wait", "Ready", "dev", "a"}), ElementsAre("aaaabbbbcccc"));
  EXPECT_THAT(Complete({"init", "--image", "debian-1"}), IsSupersetOf({"debian-12", ":files"}));
  EXPECT_THAT(Complete({"image", "pull", "ubuntu-24"}), IsSupersetOf({"ubuntu-24.04", ":files"}));
  EXPECT_THAT(Complete({"adopt", "aaaa"}), ElementsAre("aaaabbbbcccc"));
  EXPECT_THAT(Complete({"explain", "resources.me"}), ElementsAre("resources.memory_mb"));
  EXPECT_THAT(Complete({"explain", "po"}), ElementsAre("ports"));
  EXPECT_THAT(Complete({"trust", "im"}), ElementsAre("image.base"));
  EXPECT_THAT(Complete({"up", "--trust=mou"}), ElementsAre("--trust=mounts"));
  EXPECT_THAT(Complete({"-m", "dev", "log", "--run", ""}), ElementsAre("boot-of-0123456789ab"));
  EXPECT_THAT(Complete({"-c", "dev.rum.toml", "log", "--run", ""}),
              ElementsAre("boot-of-0123456789ab"));
  EXPECT_THAT(Complete({"log", "--run", ""}), IsEmpty()) << "there is no machine here";
}

TEST_F(CompletionTest, InBash) {
  EXPECT_THAT(InBash("rum tr"), ElementsAre("trust"));
  EXPECT_THAT(InBash("rum -m "), ElementsAre("dev", "aaaabbbbcccc", "ddddeeeeffff"));
  EXPECT_THAT(InBash("rum status --wait=S"), ElementsAre("Synced")) << "behind what is there";
  EXPECT_THAT(InBash("rum check "), IsEmpty()) << "readline has the files";
}

TEST_F(CompletionTest, InZsh) {
  EXPECT_THAT(InZsh("rum des"), ElementsAre("destroy"));
  EXPECT_THAT(InZsh("rum -m "), ElementsAre("dev", "aaaabbbbcccc", "ddddeeeeffff"));
  EXPECT_THAT(InZsh("rum check "), ElementsAre(":files"));
}

TEST_F(CompletionTest, InFish) {
  EXPECT_THAT(InFish("rum tr"), ElementsAre("trust"));
  EXPECT_THAT(InFish("rum -m "),
              testing::UnorderedElementsAre("dev", "aaaabbbbcccc", "ddddeeeeffff"));
  EXPECT_THAT(InFish("rum check d"), Contains("dev.rum.toml"));
}

}  // namespace
}  // namespace rum
