#include "cli/completion.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace rum {
namespace {

bool IsOption(const std::string& word) { return word.size() > 1 && word[0] == '-'; }

// The parser's own answer, for the innermost command and those around it.
const CLI::Option* FindOption(const CLI::App* app, const std::string& name) {
  for (; app != nullptr; app = app->get_parent()) {
    if (const CLI::Option* option = app->get_option_no_throw(name); option != nullptr)
      return option;
  }
  return nullptr;
}

const CLI::App* FindCommand(const CLI::App& app, const std::string& name) {
  const auto found =
      app.get_subcommands([&](const CLI::App* one) { return one->check_name(name); });
  return found.empty() ? nullptr : found[0];
}

bool TakesValue(const CLI::Option* option) {
  return option != nullptr && option->get_expected_max() > 0;
}

// Where a value comes from, by the name that help texts have for it.
Completes KindOf(const CLI::App& command, const std::string& name) {
  const std::string& of = command.get_name();
  if (name == "machine" || name == "MACHINE" || (of == "adopt" && name == "ID"))
    return Completes::kMachines;
  if (name == "run") return Completes::kRuns;
  if (name == "trust" || (of == "trust" && name == "FIELD")) return Completes::kReaches;
  if (name == "FIELD") return Completes::kFields;
  if (of == "delete" && name == "NAME") return Completes::kImages;
  if (name == "PORT") return Completes::kPorts;
  if (name == "image" || name == "IMAGE") return Completes::kBaseImages;
  for (const char* file : {"config", "file", "mount", "path", "FILE"}) {
    if (name == file) return Completes::kFiles;
  }
  return Completes::kNothing;
}

// "TEXT:a|b" of OneOf().
void AddMembers(const CLI::Option& option, std::vector<Candidate>* to) {
  const std::string type = option.get_type_name();
  if (!absl::StrContains(type, '|') || absl::StrContains(type, "NAME|ID")) return;
  for (const absl::string_view word : absl::StrSplit(type.substr(type.rfind(':') + 1), '|'))
    to->push_back({std::string(word), ""});
}

void CompleteValue(const CLI::App& command, const CLI::Option& option, Completion* completion) {
  AddMembers(option, &completion->candidates);
  if (completion->candidates.empty()) completion->more = KindOf(command, option.get_single_name());
}

void AddOptions(const CLI::App* app, std::vector<Candidate>* to) {
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_group().empty()) continue;
      for (const std::string& name : option->get_lnames())
        to->push_back({"--" + name, option->get_description()});
      if (!option->get_lnames().empty()) continue;
      for (const std::string& name : option->get_snames())
        to->push_back({"-" + name, option->get_description()});
    }
  }
}

void AddCommands(const CLI::App& app, std::vector<Candidate>* to) {
  for (const CLI::App* one :
       app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); })) {
    to->push_back({one->get_name(), one->get_description()});
    for (const std::string& alias : one->get_aliases())
      to->push_back({alias, one->get_description()});
  }
}

// What stands before the cursor.
struct Place {
  const CLI::App* command;
  const CLI::Option* awaits = nullptr;  // the option whose value comes next
  size_t values = 0;                    // of the command, that are no options
  bool foreign = false;                 // the words are another program's
};

void TakeWord(const std::string& word, Place* place, Completion* completion) {
  if (place->awaits != nullptr) {
    if (place->awaits->check_lname("config")) completion->file = word;
    if (place->awaits->check_lname("machine")) completion->machine = word;
    place->awaits = nullptr;
  } else if (IsOption(word)) {
    const size_t equals = word.find('=');
    const CLI::Option* option = FindOption(place->command, word.substr(0, equals));
    // A value that may be left out can only be said with "=".
    const bool with_value = equals != std::string::npos;
    if (!TakesValue(option) || (!with_value && option->get_expected_min() == 0)) return;
    place->awaits = option;
    if (with_value) TakeWord(word.substr(equals + 1), place, completion);
  } else if (const CLI::App* next = FindCommand(*place->command, word);
             next != nullptr && place->values == 0) {
    place->command = next;
  } else {
    ++place->values;
    // From here on they are words for the guest, or for ssh (cut_command.h).
    const std::string& name = place->command->get_name();
    place->foreign = name == "exec" || name == "ssh";
  }
}

}  // namespace

Completion CompleteWords(const CLI::App& app, const std::vector<std::string>& words) {
  Completion completion;
  Place place{&app};
  for (size_t i = 0; i + 1 < words.size() && !place.foreign; ++i)
    TakeWord(words[i], &place, &completion);
  completion.beginning = words.empty() ? "" : words.back();
  if (place.foreign) return completion;
  if (place.awaits != nullptr) {
    CompleteValue(*place.command, *place.awaits, &completion);
  } else if (IsOption(completion.beginning) || completion.beginning == "-") {
    const size_t equals = completion.beginning.find('=');
    if (equals == std::string::npos) {
      AddOptions(place.command, &completion.candidates);
    } else if (const CLI::Option* option =
                   FindOption(place.command, completion.beginning.substr(0, equals));
               option != nullptr) {
      completion.before = completion.beginning.substr(0, equals + 1);
      completion.beginning.erase(0, equals + 1);
      CompleteValue(*place.command, *option, &completion);
    }
  } else {
    if (place.values == 0) AddCommands(*place.command, &completion.candidates);
    const auto positional = place.command->get_options(
        [](const CLI::Option* option) { return option->get_positional(); });
    if (completion.candidates.empty() && !positional.empty())
      CompleteValue(*place.command, *positional[std::min(place.values, positional.size() - 1)],
                    &completion);
  }
  return completion;
}

std::string CompletionScript(const std::string& shell) {
  if (shell == "bash") {
    return R"sh(# bash completion for rum: the program itself says what can stand there.
_rum() {
    local cur prev words cword line word before
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n =: cur prev words cword
    else
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}
    fi
    # What readline takes for words of their own.
    before=${cur%"${cur##*[=:]}"}
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default 2>/dev/null
        else
            word=${line%%$'\t'*}
            COMPREPLY+=("$(printf %q "${word#"$before"}")")
        fi
    done < <("${words[0]}" __complete "${words[@]:1:cword}" 2>/dev/null)
}
complete -F _rum rum
)sh";
  }
  if (shell == "zsh") {
    return R"sh(#compdef rum
# zsh completion for rum: the program itself says what can stand there.
_rum() {
    local line files
    local -a found
    for line in "${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            files=yes
        elif [[ -n $line ]]; then
            found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( $#found )) && _describe 'rum' found
    [[ -n $files ]] && _files
}
if [[ ${funcstack[1]} == _rum ]]; then
    _rum "$@"
else
    compdef _rum rum
fi
)sh";
  }
  if (shell == "fish") {
    return R"sh(# fish completion for rum: the program itself says what can stand there.
function __rum_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l cursor (commandline -ct)
    for line in ($program __complete $words "$cursor" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$cursor"
        else
            echo $line
        end
    end
end
complete -c rum -f -a '(__rum_complete)'
)sh";
  }
  return "";
}

}  // namespace rum
